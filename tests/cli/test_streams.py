"""What goes to stderr while a command works, and what does not go to stdout. Nothing here needs Ray."""

import json
from pathlib import Path

import pytest

from tests.cli.shell import Shell
from tests.conftest import make_image_folder


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def test_what_was_read_is_said_once_and_kept_in_the_run(shell: Shell, tmp_path: Path) -> None:
    make_image_folder(tmp_path / "pets")
    for number in range(6):
        (tmp_path / "pets" / "test" / "dog" / f"x{number}.png").write_bytes(b"no picture")
    images = ["--dataset", "pets", "--data-dir", "cache", "--skip-broken", "--val-fraction", "0.5"]
    read = "6 train, 6 validation (±40 points), 12 test, 2 classes, 3x8x8; 6 file(s) skipped"
    names = "; ".join(f"{tmp_path}/pets/test/dog/x{number}.png: it is no image" for number in range(5))
    skipped = f"left out 6 file(s) that cannot be decoded: {names}; and 1 more"

    def check(*arguments: str) -> None:
        lines, wanted = shell.run(*arguments).stderr.splitlines(), [f"warning: {skipped}", f"pets: {read}"]
        assert [line for line in lines if line in wanted] == wanted

    ids = [f"w32-d{depth}-{norm}-relu-avg" for depth in (1, 2) for norm in ("none", "instance")]
    rows = [f"{arch_id},0.{number}\n" for number, arch_id in enumerate(ids, start=5)]
    (tmp_path / "true.csv").write_text("arch_id,test_accuracy\n" + "".join(rows))
    space = ["--space", "convnet-mini", "--seeds", "1"]
    check("condense", *images, "--method", "random", "--ipc", "2", "--name", "few")
    check("search", *images, *space, "--proxy", "params", "--archs", "true.csv", "--name", "s")
    check("evaluate", "few", "--nets", "mlp", "--num-nets", "1", "--epochs", "1")
    check("compare", *images, *space, "--proxies", "params,flops", "--truth", "true.csv", "--name", "c")
    for run in ("few", "s", "c"):
        assert f"images: {read}\n" in shell.call("show", run)
        assert shell.json("show", run)["config"]["images"]["skip_broken"]


TALKATIVE = """
from torch import nn

print("a module")

def canonical(factors):
    print("a form")
    return tuple(factors.items())

def build(arch, image_shape, num_classes):
    print("a net")
    width = arch.factors["width"]
    return nn.Sequential(nn.Flatten(), nn.Linear(256, width), nn.ReLU(), nn.Linear(width, num_classes))
"""


def test_what_a_builder_prints_does_not_reach_stdout(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "b.py").write_text(TALKATIVE)
    functions = 'builder = "b.py:build"\ncanonical = "b.py:canonical"\n'
    (tmp_path / "s.toml").write_text(f"size = 3\n{functions}[factors]\nwidth = [4, 8, 12]\n")
    (tmp_path / "t.csv").write_text("arch_id,test_accuracy\nwidth=4,0.5\nwidth=8,0.6\nwidth=12,0.7\n")
    space = ["--space", "s.toml", "--seeds", "1"]
    done = shell.run("search", "--proxy", "params", *space, "--name", "s", "--json")
    assert json.loads(done.stdout)["num_trials"] == 3
    for printed in ("a module\n", "a form\n", "a net\n"):
        assert printed in done.stderr
    compare = ["compare", "--proxies", "params,flops", *space, "--truth", "t.csv"]
    plan = shell.json(*compare, "--dry-run")
    assert [step["what"] for step in plan] == ["search by params", "search by flops"]
    assert len(shell.json(*compare, "--name", "c")) == 2
    for command in (["export", "s", "--truth", "t.csv"], ["rank", "s", "--truth", "t.csv"], ["report", "c"]):
        assert shell.json(*command)
