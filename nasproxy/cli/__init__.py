"""The command line: one file a command, each only parses, calls and prints."""

from nasproxy.cli.app import main

__all__ = ["main"]
