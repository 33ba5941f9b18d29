"""`nasproxy compare` and what it leaves: small, but all of it."""

import csv
import json
import signal
import threading
import time
import urllib.request
from pathlib import Path

import pytest

import nasproxy as nap
from nasproxy.condensing import METHODS
from nasproxy.config import CompareConfig, make_config
from nasproxy.images import DATASETS
from nasproxy.proxies import PROXIES
from nasproxy.rundir import list_runs
from nasproxy.runs.loading import load_trials
from nasproxy.runs.presets import PRESETS, start_from_preset
from nasproxy.spacefile import load_space
from tests.cli.shell import Shell, count_records

ARCHS = [
    f"w32-d{depth}-{norm}-relu-{pooling}"
    for depth in (1, 2)
    for norm in ("none", "instance")
    for pooling in ("max", "avg")
]
SMALL = [
    "--proxies", "random,params,early-stop", "--space", "convnet-mini", "compare.archs=archs.txt", "--ipc", "4",
    "--seeds", "2", "--epochs", "20", "--truth-epochs", "1", "--top", "50%", "threads_per_worker=1",
]  # fmt: skip


@pytest.fixture(scope="module")
def compared(local_ray: None, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A folder with the comparison 'first'."""
    shell = Shell(tmp_path_factory.mktemp("compared"))
    (shell.cwd / "archs.txt").write_text("\n".join(ARCHS))
    planned = json.loads(shell.run("compare", *SMALL, "--dry-run", "--json").stdout)
    assert [step["what"] for step in planned] == [
        "condense random", "search by random", "search by params", "search by early-stop", "the truth",
    ]  # fmt: skip
    assert not any(step["is_done"] for step in planned)
    assert all(step["seconds"] > 0 for step in planned if step["what"] in ("search by random", "the truth"))
    assert list_runs(shell.cwd / "runs") == []
    shell.run("compare", *SMALL, "--combine", "average", "--name", "first")
    return shell


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def rhos(shell: Shell, name: str) -> dict[str, float]:
    rows = rows_of(shell.run_dir(name).path / "comparison.csv")
    return {row["label"]: float(row["spearman_value"]) for row in rows}


def num_runs(shell: Shell) -> int:
    return len(list_runs(shell.cwd / "runs"))


def test_a_comparison_leaves_page_figures_and_tables(compared: Shell) -> None:
    folder = compared.run_dir("first").path
    labels = {"random-4", "params", "early-stop", "average of 3 proxies"}
    assert set(rhos(compared, "first")) == labels
    table = rows_of(folder / "architectures.csv")
    assert sorted(row["arch_id"] for row in table) == sorted(ARCHS)
    assert [int(row["truth_rank"]) for row in table] == sorted(int(row["truth_rank"]) for row in table)
    page = (folder / "report.html").read_text()
    for text in (*labels, "What this says", "nasproxy dashboard first", "http://127.0.0.1:8080/dashboard/studies/0"):
        assert text in page
    assert str(compared.cwd) not in page
    for name in ("table.md", "table.tex", "figures/forest.png", "figures/scatter.png"):
        assert (folder / name).stat().st_size > 100


def test_the_network_to_use_is_the_first_thing_that_is_said(compared: Shell) -> None:
    said = compared.run("compare", *SMALL, "--name", "said").stdout.splitlines()
    truth = next(run for run in list_runs(compared.cwd / "runs") if run.name.endswith("whole"))
    best = load_trials(truth).best
    assert best is not None
    page = (compared.run_dir("said").path / "report.html").read_text()
    (place,) = [number for number, line in enumerate(said) if line.startswith(f"Use {best.arch_id}: ")]
    assert all("tell" in line or "Seed noise" in line for line in said[:place])
    assert said[place] in page
    assert said[place + 2].startswith(f"next: nasproxy search --proxy whole --archs top:{truth.name}:")


def test_tables_call_proxies_as_the_report_does(compared: Shell) -> None:
    header = rows_of(compared.run_dir("first").path / "architectures.csv")[0]
    for label in rhos(compared, "first"):
        assert f"{label} score" in header


def test_early_stopping_gets_as_many_updates_as_a_proxy_set(compared: Shell) -> None:
    by_early_stop = next(run for run in list_runs(compared.cwd / "runs") if run.name.endswith("early-stop"))
    assert load_trials(by_early_stop).info.recipe["steps"] == 20
    by_random = next(run for run in list_runs(compared.cwd / "runs") if run.name.endswith("mini-random-4"))
    assert load_trials(by_random).info.recipe["epochs"] == 20


def test_the_same_comparison_again_is_read_from_the_runs_there_are(compared: Shell) -> None:
    before = num_runs(compared)
    plan = compared.run("compare", *SMALL, "--dry-run").stdout
    assert plan.count("done") == 5
    done = compared.run("compare", *SMALL, "--combine", "average", "--name", "again")
    assert done.stderr.count("read from") == 5
    assert num_runs(compared) == before + 1
    assert rhos(compared, "again") == rhos(compared, "first")
    assert "average of 3 proxies" in done.stdout


def test_another_formula_or_seed_is_not_taken_for_an_equal_run(compared: Shell) -> None:
    other = [*SMALL[2:], "--proxies", "flops,params", "--dry-run", "--json"]
    flops, params, truth = json.loads(compared.run("compare", *other).stdout)
    assert (flops["run"], params["is_done"], truth["is_done"]) == (None, True, True)
    reseeded = json.loads(compared.run("compare", *SMALL, "--seed", "7", "--dry-run", "--json").stdout)
    assert [step["run"] for step in reseeded] == [None] * 5


def test_each_set_of_a_method_has_its_own_seed_and_the_first_is_the_one_there_is(compared: Shell) -> None:
    plan = json.loads(compared.run("compare", *SMALL, "--sets", "2", "--dry-run", "--json").stdout)
    assert [(step["what"], step["is_done"]) for step in plan] == [
        ("condense random (set 1)", True), ("search by random (set 1)", True),
        ("condense random (set 2)", False), ("search by random (set 2)", False),
        ("search by params", True), ("search by early-stop", True), ("the truth", True),
    ]  # fmt: skip
    compared.run("compare", *SMALL, "--sets", "2", "--name", "sets")
    seeds = [
        run.read_config()["condense"]["seed"] for run in list_runs(compared.cwd / "runs") if run.command == "condense"
    ]
    assert sorted(seeds) == [0, 1]
    assert len(rhos(compared, "sets")) == 4


def test_a_truth_for_some_is_taken_from_a_truth_for_all_and_weighted(compared: Shell) -> None:
    done = compared.run("compare", *SMALL, "--truth-for", "sample:5", "--name", "sampled")
    assert done.stderr.count("read from") == 5
    weights = rows_of(compared.run_dir("sampled").path / "truth_archs.csv")
    assert len(weights) == 5
    assert sum(float(row["weight"]) for row in weights) == pytest.approx(8)
    for row in rows_of(compared.run_dir("sampled").path / "comparison.csv"):
        assert row["num_archs"] == "5"
        assert "strata" in row["spearman_note"]
        assert "not of the whole space" in row["regret_note"]
    with_truth = [row for row in rows_of(compared.run_dir("sampled").path / "architectures.csv") if row["truth_rank"]]
    assert {row["arch_id"] for row in with_truth} == {row["arch_id"] for row in weights}


def test_the_truth_of_each_proxys_best_is_said_to_be_that(compared: Shell) -> None:
    compared.run("compare", *SMALL, "--truth-for", "top:25%", "--name", "topped")
    topped = compared.run_dir("topped")
    chosen = {row["arch_id"] for row in rows_of(topped.path / "truth_archs.csv")}
    searches = [load_trials(compared.run_dir(name)) for name in topped.meta["parts"]["proxies"]]
    assert len(searches) == 3
    assert chosen == {arch_id for trials in searches for arch_id in trials.top(0.25)}
    assert "top:25%" in (topped.path / "report.html").read_text()


def test_a_table_of_accuracies_serves_as_the_truth(compared: Shell) -> None:
    truth = next(run.name for run in list_runs(compared.cwd / "runs") if run.name.endswith("whole"))
    table = str(compared.cwd / "truth.csv")
    compared.call("export", truth, "-o", table)
    compared.run("compare", *SMALL, "--truth", table, "--name", "from-table")
    expected = {label: rho for label, rho in rhos(compared, "first").items() if "average" not in label}
    assert rhos(compared, "from-table") == pytest.approx(expected)
    searched = next(run.name for run in list_runs(compared.cwd / "runs") if run.name.endswith("early-stop"))
    ranked = compared.json("rank", searched, "--truth", table)
    assert ranked[0]["spearman_value"] == pytest.approx(expected["early-stop"])


def test_a_comparison_is_exported_and_reported_again(compared: Shell) -> None:
    exported = list(csv.DictReader(compared.call("export", "first").splitlines()))
    assert exported == rows_of(compared.run_dir("first").path / "architectures.csv")
    page = compared.run_dir("first").report_path
    before = page.read_bytes()
    result = compared.json("report", "first", "-o", str(compared.cwd / "elsewhere"))
    assert Path(result["report"]).read_bytes() == before
    assert result["report"] == str(compared.cwd / "elsewhere" / "report.html")


def test_searches_are_reported_without_a_comparison_and_combined(compared: Shell) -> None:
    runs = {
        run.meta["created"]: run.name for run in list_runs(compared.cwd / "runs") if run.meta["command"] == "search"
    }
    *proxies, truth = [name for _, name in sorted(runs.items())][:4]
    combined = compared.json("combine", *proxies, "--how", "average", "--name", "mixed")
    assert combined["num_trials"] == 8
    result = compared.json("report", *proxies, "mixed", "--truth", truth, "--top", "50%")
    assert [row["label"] for row in rows_of(compared.cwd / result["table"])].count("average of 3 proxies") == 1
    assert "average of 3 proxies" in (compared.cwd / result["report"]).read_text()
    assert compared.json("rank", "mixed", "--truth", truth, "--top", "50%")[0]["num_archs"] == 8
    assert compared.json("show", "mixed")["config"]["combine"]["runs"] == proxies
    done = compared.run("search", "--proxy", "params", "--archs", "top:mixed:2", "--name", "best-of-mixed")
    assert "best-of-mixed" in done.stdout
    assert len(load_trials(compared.run_dir("best-of-mixed"))) == 2


def test_the_dashboard_shows_truth_and_proxies_together(compared: Shell) -> None:
    run = compared.run_dir("first")
    with nap.Runs(run.path.parent).dashboard([run]) as server:
        thread = threading.Thread(target=server.serve, daemon=True)
        thread.start()
        base = server.address.partition("/dashboard")[0]
        with urllib.request.urlopen(f"{base}/api/studies") as answer:
            studies = json.load(answer)["study_summaries"]
        server.stop()
        thread.join()
    names = [study["study_name"] for study in studies]
    assert names[0] == "first: proxies beside the truth"
    assert len(names) == 6
    assert names[1].endswith("whole")


def test_signals_of_a_search_are_compared_beside_it(compared: Shell) -> None:
    before = num_runs(compared)
    proxies = "random,random:cross-entropy,early-stop:training-loss"
    compared.run("compare", *SMALL[2:], "--proxies", proxies, "--combine", "average", "--name", "signals")
    assert num_runs(compared) == before + 1
    found = rhos(compared, "signals")
    assert set(found) == {
        "random-4",
        "random-4 by cross-entropy",
        "early-stop by training-loss",
        "average of 3 proxies",
    }
    compared.run("report", "signals", "--output", "page")
    search = compared.run_dir("first").meta["parts"]["proxies"][0]
    compared.run("rank", f"{search}:cross-entropy", "--truth", compared.run_dir("first").meta["parts"]["truth"])
    (row,) = rows_of(compared.run_dir(search).path / "ranking-cross-entropy.csv")
    assert float(row["spearman_value"]) == found["random-4 by cross-entropy"]
    values = json.loads(compared.run("export", f"{search}:cross-entropy", "--json").stdout)
    assert all(row["score"] < 0 for row in values)
    refused = compared.run("compare", *SMALL[2:], "--proxies", "random,params:cross-entropy", expect=2)
    assert "params trains no nets" in refused.stderr
    wrong = compared.run("rank", f"{search}:cross-entropies", "--truth", "truth.csv", expect=4)
    assert wrong.stderr.endswith("the signal is called 'cross-entropy'\n")


def test_an_interrupted_comparison_goes_on(compared: Shell) -> None:
    table = compared.cwd / "truth-of-all.csv"
    truth = next(run.name for run in list_runs(compared.cwd / "runs") if run.name.endswith("whole"))
    compared.call("export", truth, "-o", str(table))
    slow = ["--proxies", "early-stop", "--truth", str(table), "--epochs", "60", "--seeds", "1", "--name", "cut"]
    process = compared.start("compare", *SMALL[2:], *slow)
    deadline = time.monotonic() + 180
    while num_done(compared) == 0:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    assert compared.run_dir("cut").meta["status"] == "interrupted"
    kept = num_done(compared)
    assert 0 < kept < 8
    done = compared.run("compare", "--resume", "cut")
    assert "going on with" in done.stderr
    assert num_done(compared) == 8
    assert set(rhos(compared, "cut")) == {"early-stop"}


def num_done(shell: Shell) -> int:
    """Trials of the newest search that the interrupted comparison started."""
    newest = [run for run in list_runs(shell.cwd / "runs") if run.meta["command"] == "search"][-1]
    is_its = newest.study_path.is_file() and "steps = 60" in newest.config_path.read_text()
    return count_records(newest) if is_its else 0


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_a_comparison_of_known_proxies_in_a_shipped_space(name: str) -> None:
    config = make_config(CompareConfig, start_from_preset(name, {}))
    assert set(config.compare.proxies) <= METHODS.keys() | PROXIES.keys()
    assert len(load_space(config.compare.space)) in (24, 60, 720)
    assert config.images.dataset in DATASETS


def test_a_preset_can_be_narrowed_to_some_of_its_proxies() -> None:
    given = {"compare": {"proxies": "dsa, params"}}
    config = make_config(CompareConfig, start_from_preset("two-cores", given))
    assert config.compare.proxies == ("dsa", "params")
    assert set(config.compare.per_method) == {"dsa"}
    assert make_config(CompareConfig, start_from_preset("two-cores", {})).compare.per_method.keys() == {"dm", "dsa"}


def test_table_5_has_the_papers_settings() -> None:
    config = make_config(CompareConfig, start_from_preset("table5", {}))
    assert set(config.compare.proxies) == {"random", "dsa", "dm", "early-stop"}
    assert (config.compare.seeds, config.compare.top, config.compare.truth_for) == (5, 0.05, "all")
    assert (config.condense.images_per_class, config.recipe.epochs, config.truth_recipe.epochs) == (50, 200, 100)
    assert (config.recipe.batch_size, config.recipe.lr, config.recipe.augmentation) == (250, 0.01, "auto")
