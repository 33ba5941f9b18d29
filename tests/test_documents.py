"""What README and documentation show runs: every block of shell and Python, in order, in a folder of the page's own.

A block of a file begins with its name in a comment (`# my_space.toml`). One behind `<!-- not run: why -->` needs what a
test has not, such as a cluster: that its commands and options exist is checked all the same.
"""

import re
import shlex
from functools import partial
from pathlib import Path

import pytest
from sybil import Document, Example
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.markdown import CodeBlockParser

from tests.cli.shell import Shell
from tests.conftest import make_image_folder

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LONG = {"tutorial"}
"""Pages that condense and train for minutes."""
FILE_NAME = re.compile(r"# ([\w.-]+\.(?:toml|py))\b.*\n")
NOT_RUN = re.compile(r"<!-- not run: .+ -->\s*\Z")


def run_shell(shell: Shell, example: Example) -> None:
    """Each line is a command of ours."""
    is_run = NOT_RUN.search(example.document.text[: example.region.start]) is None
    for line in example.parsed.replace("\\\n", " ").splitlines():
        program, *arguments = shlex.split(line, comments=True) or ["", ""]
        if not program:
            continue
        assert program == "nasproxy", f"{example.path}:{example.line}: {line}"
        shell.run(*arguments, *(() if is_run else ("--help",)))


def run_python(example: Example) -> None:
    if FILE_NAME.match(example.parsed):
        write_file(example)
    else:
        PythonEvaluator()(example)


def write_file(example: Example) -> None:
    named = FILE_NAME.match(example.parsed)
    assert named is not None, f"{example.path}:{example.line}: a block of a file begins with its name"
    Path(named[1]).write_text(example.parsed, encoding="utf-8")


@pytest.mark.parametrize(
    "page", [pytest.param(page, marks=[pytest.mark.slow] * (page.stem in LONG), id=page.stem) for page in PAGES]
)
def test_the_blocks_of_a_page_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, local_ray: None) -> None:
    make_image_folder(tmp_path / "pets", num_images=30, size=(40, 32))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NASPROXY_RUNS", raising=False)
    parsers = [
        CodeBlockParser("shell", partial(run_shell, Shell(tmp_path))),
        CodeBlockParser("python", run_python),
        CodeBlockParser("toml", write_file),
    ]
    document = Document.parse(str(page), *parsers)
    for example in document.examples():
        example.evaluate()
