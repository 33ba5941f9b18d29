"""What the site has beyond the pages that lie here: published runs, and tables made from the settings themselves."""

import html
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

import nasproxy as nap

IN_REPOSITORY, ON_SITE = "../runs/published/", "published/"
"""Pages refer to published runs as they lie in the repository; the site has copies."""
SETTINGS = "<!-- settings of {} -->"
"""What is replaced by the table of a command's settings."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the published runs: their pages, tables and figures."""
    root = Path(config.docs_dir, IN_REPOSITORY)
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        uri = ON_SITE + path.relative_to(root).as_posix()
        files.append(File.generated(config, uri, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Points at the copies, and fills in settings."""
    for command, settings in nap.describe_commands().items():
        markdown = markdown.replace(SETTINGS.format(command), _table(settings))
    return markdown.replace(IN_REPOSITORY, ON_SITE)


def _table(settings: list[nap.SettingInfo]) -> str:
    lines = ["| setting | value | default | what |", "|---|---|---|---|"]
    for info in settings:
        cells = (f"`{info.name}`", _plain(info.form), _plain(info.default or ""), _plain(info.meaning))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _plain(text: str) -> str:
    """One cell of a table: no pipes, no markup."""
    return html.escape(text, quote=False).replace("|", "&#124;").replace("*", "\\*")
