"""`python -m nasproxy`: the command line."""

from nasproxy.cli import main

if __name__ == "__main__":
    main()
