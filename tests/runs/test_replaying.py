"""Searches replayed on published tables and on one's own, in a run folder, without images."""

import csv
from pathlib import Path

import pytest

import nasproxy as nap
from nasproxy.config import ReplayConfig, read_config
from tests.cli.shell import Shell
from tests.replaying.test_replay import SCORES, SPACE, TRUTH

REPLAY = [
    "replay", "--space", "nasbench201", "--truth", "nasbench201", "--repetitions", "4", "--num-archs", "12",
]  # fmt: skip


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A folder with the replay 'both' of two published tables."""
    shell = Shell(tmp_path_factory.mktemp("replay"))
    tables = ["--scores", "table:nasbench201:12-epochs,table:nasbench201", "--costs", "12,200", "cost_unit=epochs"]
    done = shell.run(*REPLAY, *tables, "--strategy", "tpe,random,grid,halving", "--name", "both")
    (shell.cwd / "printed.txt").write_text(done.stdout)
    return shell


def test_a_replay_leaves_curves_and_a_figure(shell: Shell) -> None:
    run = shell.run_dir("both")
    names = {path.name for path in run.path.iterdir() if not path.name.startswith(".")}
    assert names == {"config.toml", "meta.json", "replay.csv", "regret.png", "regret.svg", "regret.pdf"}
    assert run.meta["status"] == "done"
    with (run.path / "replay.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    early, late = "nasbench201:12-epochs:cifar10", "nasbench201:cifar10"
    curves = [(row["strategy"], row["scores"]) for row in rows[::12]]
    each = [(strategy, table) for strategy in ("tpe", "random", "grid") for table in (early, late)]
    assert curves == [*each, ("halving", f"{early} {late}")]
    for row in rows:
        assert 0 <= float(row["low"]) <= float(row["high"]) <= 1
    assert [float(row["cost"]) for row in rows[:3]] == [12, 24, 36]
    assert float(rows[-1]["cost"]) == 12 * 12 + 200
    assert "halving, nasbench201:12-epochs:cifar10" in (run.path / "regret.svg").read_text()


def test_it_prints_what_is_lost_at_budgets(shell: Shell) -> None:
    text = (shell.cwd / "printed.txt").read_text()
    assert "against the best of 6,461 architectures (3-33-s13, 94.37" in text
    heads = text.splitlines()[0]
    assert [part.strip() for part in heads.split("  ") if "epochs" in part][-1] == "2,400 epochs"
    grid = next(line for line in text.splitlines() if line.startswith("grid, nasbench201:12-epochs"))
    assert "[" not in grid


def test_its_settings_are_taken_back(shell: Shell) -> None:
    config = read_config(ReplayConfig, shell.run_dir("both").config_path).replay
    assert config.scores == ("table:nasbench201:12-epochs", "table:nasbench201")
    assert config.costs == (12, 200)
    assert (config.num_archs, config.repetitions, config.dataset) == (12, 4, "cifar10")


def test_the_data_set_can_be_said_with_the_table(shell: Shell) -> None:
    scores = ["--scores", "table:nasbench201:12-epochs:cifar100", "--strategy", "random"]
    rows = shell.json(*REPLAY, *scores, "--dataset", "cifar100")
    assert {row["scores"] for row in rows} == {"nasbench201:12-epochs:cifar100"}
    assert rows[-1]["num_archs"] == 12


def test_tables_of_ones_own_are_replayed_from_files_and_from_memory(tmp_path: Path) -> None:
    space = nap.load_space("convnet-mini")
    lines = [f"{arch.id},{0.5 + number / 100},{number}" for number, arch in enumerate(space.archs())]
    table = tmp_path / "mine.csv"
    table.write_text("\n".join(["arch_id,test_accuracy,guess", *lines]))
    runs = nap.Runs(tmp_path / "runs")
    (found,) = runs.replay([f"{table}:guess"], str(table), space, strategy="grid", num_archs=100)
    assert found.regrets[0, -1] == 0
    replays = runs.replay([SCORES], TRUTH, SPACE, strategy=["random"], repetitions=5)
    assert replays.run is not None
    assert replays[0].regrets.shape == (5, 12)
    assert (replays[0].regrets == nap.replay(SPACE, SCORES, TRUTH, "random", repetitions=5).regrets).all()
