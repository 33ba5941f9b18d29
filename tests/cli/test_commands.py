"""The command line: the whole job, what it prints, and what it says to bad input."""

import csv
import json
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open

from nasproxy.cli.ls import What
from nasproxy.condensing import METHODS
from nasproxy.device import num_cores
from nasproxy.images import DATASETS, ImageData
from nasproxy.nets.zoo import ZOO
from nasproxy.rundir import RunDir, hold
from nasproxy.runs.catalog import CATALOG
from nasproxy.runs.loading import load_trials
from tests.cli.shell import Shell, count_records
from tests.conftest import make_image_folder

SMALL = ["images_per_class=4", "real_batch_size=8", "embedding_net=w8-d2-instance-relu-avg", "steps=20"]
QUICK = ["--space", "convnet-mini", "--seeds", "1", "--epochs", "2", "--workers", "1", "threads_per_worker=1"]

pytestmark = pytest.mark.usefixtures("local_ray")


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


@pytest.fixture(scope="module")
def finished(local_ray: None, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A folder where the whole job was done: condense, search by proxy, search by truth."""
    shell = Shell(tmp_path_factory.mktemp("finished"))
    shell.run("condense", *SMALL, "--name", "few")
    shell.run("search", "--proxy", "few", *QUICK, "--num-archs", "8", "--name", "by-proxy")
    archs = ["--archs", "top:@last:6"]
    shell.run("search", "--proxy", "whole", *archs, "--seeds", "1", "--epochs", "2", "--name", "truth")
    return shell


def test_a_condense_run_leaves_the_documented_files(finished: Shell) -> None:
    run = finished.run_dir("few")
    names = {path.name for path in run.path.iterdir() if not path.name.startswith(".")}
    assert names == {"config.toml", "meta.json", "proxy.safetensors", "proxy.png", "metrics.jsonl", "log.txt"}
    assert tens(run) == [10, 20]
    assert run.meta["status"] == "done"
    assert run.meta["versions"]["torch"]
    with safe_open(run.proxy_path, framework="pt") as file:
        assert file.get_tensor("images").shape == (40, 1, 16, 16)
        assert json.loads(file.metadata()["method"]) == "dm"


def tens(run: RunDir) -> list[int]:
    """Steps of the loss curve that are multiples of ten; where steps are slow, there are others as well."""
    steps = [json.loads(line)["step"] for line in run.metrics_path.read_text().splitlines()]
    assert steps == sorted(set(steps))
    return [step for step in steps if step % 10 == 0]


def test_a_runs_own_config_makes_the_same_proxy_set_again(finished: Shell) -> None:
    finished.call("condense", "--config", str(finished.run_dir("few").config_path), "--name", "few-again")
    for name in ("images", "labels"):
        with (
            safe_open(finished.run_dir("few").proxy_path, framework="pt") as one,
            safe_open(finished.run_dir("few-again").proxy_path, framework="pt") as two,
        ):
            assert one.get_tensor(name).equal(two.get_tensor(name))


def test_a_search_takes_its_data_from_the_condense_run(finished: Shell) -> None:
    shown = finished.json("show", "by-proxy")
    assert shown["config"]["search"]["proxy"] == "few"
    assert shown["config"]["images"]["dataset"] == "digits"
    assert shown["config"]["recipe"]["epochs"] == 2
    assert shown["meta"]["parents"]["data"] == finished.json("show", "few")["meta"]["parents"]["data"]


def test_the_truth_covers_the_best_by_proxy(finished: Shell) -> None:
    by_proxy, truth = (load_trials(finished.run_dir(name)) for name in ("by-proxy", "truth"))
    assert len(by_proxy) == 8
    assert sorted(trial.arch_id for trial in truth) == sorted(by_proxy.top(6))
    assert (finished.run_dir("truth").path / "archs.txt").read_text().split() == by_proxy.top(6)


def test_the_best_of_a_search_bring_its_data_and_space_along(finished: Shell) -> None:
    config = finished.json("show", "truth")["config"]
    assert config["search"]["archs"] == "top:by-proxy:6"
    assert config["search"]["space"] == "convnet-mini"
    assert config["images"] == finished.json("show", "by-proxy")["config"]["images"]


def test_rank_prints_the_rows_of_table_5_and_keeps_them(finished: Shell) -> None:
    text = finished.call("rank", "by-proxy", "--truth", "truth", "--top", "50%")
    for row in (
        "selected net",
        "Spearman rho, top 50\N{NO-BREAK SPACE}%",
        "Kendall tau-b, all",
        "time of condensing",
        "stored images",
    ):
        assert row in text
    (row,) = finished.json("rank", "by-proxy", "--truth", "truth", "--top", "50%")
    assert (row["num_archs"], row["top_num_archs"], row["num_stored_images"]) == (6, 4, 40)
    assert row["spearman_low"] <= row["spearman_value"] <= row["spearman_high"]
    with (finished.run_dir("by-proxy").path / "ranking.csv").open() as file:
        assert next(csv.DictReader(file))["selected"] == row["selected"]


def test_a_search_counts_how_trials_ended_and_names_no_net_at_chance(finished: Shell) -> None:
    """One epoch leaves nets with sigmoids and three layers at chance."""
    (finished.cwd / "lost.txt").write_text("w32-d3-none-sigmoid-avg\nw32-d3-none-sigmoid-max\n")
    lost = ["--archs", "lost.txt", "--space", "convnet-mini", "--seeds", "1", "--workers", "1"]
    done = finished.run("search", "--proxy", "few", *lost, "--epochs", "1", "--name", "my lost ones")
    printed = dict(line.split(": ", 1) for line in done.stdout.splitlines())
    assert printed["num_at_chance"] == "2"
    assert (printed["num_diverged"], printed["num_not_finite"], printed["num_failed"]) == ("0", "0", "0")
    assert (printed["best"], printed["best_score"]) == ("none", "none")
    assert "next: train longer" in done.stderr
    assert "2 at-chance, 0 failed" in done.stderr or "searching" not in done.stderr


def test_hints_are_quoted_and_name_ten_architectures_at_least(finished: Shell) -> None:
    archs = ["--archs", "top:by-proxy:25%"]
    done = finished.run("search", "--proxy", "params", *archs, "--name", "my best")
    assert "top:by-proxy:25% is 2 architectures; give a number for more, e.g. top:by-proxy:10" in done.stderr
    assert "next: nasproxy search --proxy whole --archs 'top:my best:10'" in done.stderr
    elsewhere = finished.run("search", "--proxy", "params", "--space", "convnet-mini", "--runs-dir", "my runs")
    assert "--archs top:digits-convnet-mini-params:10 --runs-dir 'my runs'" in elsewhere.stderr


def test_rank_begins_with_the_network_to_use(finished: Shell) -> None:
    lines = finished.call("rank", "by-proxy", "--truth", "truth", "--top", "50%").splitlines()
    truth = load_trials(finished.run_dir("truth"))
    limits = [line for line in lines[:3] if "tell" in line or "Seed noise" in line]
    answer, certainty, following = lines[len(limits) : len(limits) + 3]
    best = truth.best
    assert best is not None
    assert answer.startswith(f"Use {best.arch_id}: {100 * best.evaluation_score:.1f}\N{NO-BREAK SPACE}% [")
    assert " parameters, " in answer
    assert answer.endswith("the best validation accuracy of the 6 architectures with a truth, of 8.")
    assert certainty.startswith(("It is a tie: ", "No other "))
    assert following == "next: nasproxy search --proxy whole --archs top:by-proxy:10"
    text = "\n".join(lines)
    assert "The top 50\N{NO-BREAK SPACE}% of 8 architectures is 4: figures of so few say little" in text
    assert "by-proxy" in text[text.index("search  ") :].splitlines()[0]


def test_a_search_keeps_how_many_images_it_had(finished: Shell, digits: ImageData) -> None:
    data = load_trials(finished.run_dir("truth")).info.data
    assert data is not None
    assert (data.num_train, data.num_val, data.num_test) == (1295, 143, 359)
    assert data.chance == pytest.approx(0.1, abs=0.01)


def test_rank_says_when_there_are_too_few(finished: Shell) -> None:
    assert "too few" in finished.call("rank", "by-proxy", "--truth", "truth")


def test_a_training_free_proxy_is_searched_ranked_and_exported(finished: Shell) -> None:
    archs = ["--archs", "top:by-proxy:8"]
    done = finished.run("search", "--proxy", "naswot", *archs, "--seeds", "2", "--json")
    result = json.loads(done.stdout)
    assert (result["run"], result["num_trials"]) == ("digits-convnet-mini-naswot", 8)
    assert (result["ranked_by"], result["num_not_finite"]) == ("naswot", 0)
    rankings = finished.json("rank", "digits-convnet-mini-naswot", "by-proxy", "--truth", "truth", "--top", "50%")
    first, second = sorted(rankings, key=lambda ranking: ranking["metric"])
    assert rankings[0]["spearman_value"] >= rankings[1]["spearman_value"]
    assert (first["metric"], second["metric"]) == ("naswot", "test accuracy")
    assert (first["num_archs"], first["num_stored_images"]) == (6, 256)
    assert first["spearman_low"] <= first["spearman_value"] <= first["spearman_high"]
    rows = list(csv.DictReader(finished.call("export", result["run"], "--truth", "truth").splitlines()))
    scores = [float(row["score"]) for row in rows]
    assert scores == sorted(scores, reverse=True)
    assert {row["val_accuracy"] for row in rows} == {""}
    assert rows[0]["arch_id"] == result["best"]
    config = finished.run_dir(result["run"]).config_path
    finished.run("search", "--config", str(config), "--name", "naswot-again")
    again = load_trials(finished.run_dir("naswot-again"))
    assert {trial.arch_id: trial.selection_score for trial in again} == {
        row["arch_id"]: float(row["score"]) for row in rows
    }


def test_export_writes_ranked_architectures(finished: Shell) -> None:
    rows = list(csv.DictReader(finished.call("export", "by-proxy", "--truth", "truth").splitlines()))
    assert [row["rank"] for row in rows] == [str(number) for number in range(1, 9)]
    accuracies = [float(row["val_accuracy"]) for row in rows]
    assert accuracies == sorted(accuracies, reverse=True)
    assert sum(row["truth_rank"] != "" for row in rows) == 6
    for suffix in (".csv", ".parquet", ".json"):
        path = finished.cwd / f"out/table{suffix}"
        finished.call("export", "by-proxy", "-o", str(path))
        assert path.stat().st_size > 0


def test_evaluate_reports_test_accuracy_of_every_net_and_keeps_it(finished: Shell) -> None:
    nets, recipe = ["w16-d1-instance-relu-avg", "mlp"], ["--num-nets", "2", "--epochs", "40"]
    results = finished.json("evaluate", "few", "--nets", ",".join(nets), *recipe)
    assert [result["net"] for result in results] == nets
    assert [len(result["test_accuracies"]) for result in results] == [2, 2]
    assert results[0]["mean"] > 0.4
    kept = [json.loads(line) for line in (finished.run_dir("few").path / "evaluations.jsonl").read_text().splitlines()]
    for result, record in zip(results, kept[-2:], strict=True):
        assert (record["net"], record["test_accuracies"]) == (result["net"], result["test_accuracies"])
        assert record["settings"]["evaluate"]["nets"] == nets


def test_evaluate_prints_a_row_a_net_and_says_which_do_not_fit(finished: Shell) -> None:
    done = finished.run("evaluate", "@last", "--nets", "vgg11-batch,lenet,mlp", "--num-nets", "2", "--epochs", "1")
    header, *rows = done.stdout.splitlines()
    assert header.split() == ["net", "test", "accuracy", "(%)", "n", "training"]
    assert [row.split()[0] for row in rows] == ["lenet", "mlp"]
    assert all(row.split()[2] == "±" for row in rows)
    assert "1 net(s) left out: vgg11-batch: layer 13 of 13 leaves no pixel of a 16x16 image" in done.stderr


def test_gradient_matching_in_a_compact_format_goes_all_the_way(finished: Shell) -> None:
    few = [
        "images_per_class=2",
        "real_batch_size=8",
        "embedding_net=w8-d2-instance-relu-avg",
        "outer_loop=2",
        "inner_loop=1",
    ]
    made = finished.json("condense", "--method", "dsa", "--encoding", "low-rank", "--steps", "3", *few)
    assert (made["run"], made["method"]) == ("digits-dsa+low-rank-2", "dsa+low-rank")
    assert (made["num_images"], made["num_stored_images"], made["num_stored_numbers"]) == (80, 20, 20 * 16 * 16)
    config = finished.json("show", made["run"])["config"]["condense"]
    assert (config["rank"], config["init"], config["image_lr"], config["inner_loop"]) == (2, "real", 0.1, 1)
    searched = finished.json("search", "--proxy", made["run"], *QUICK, "--archs", "top:truth:4")
    (row,) = finished.json("rank", searched["run"], "--truth", "truth")
    assert (row["label"], row["num_archs"]) == ("dsa+low-rank-2", 4)
    assert (row["num_images"], row["num_stored_images"], row["num_stored_numbers"]) == (80, 20, 20 * 16 * 16)
    assert "decoded images" in finished.call("rank", searched["run"], "--truth", "truth")
    recipe = ["--recipe", "idc", "--epochs", "2", "--num-nets", "1", "--nets", "w8-d1-instance-relu-avg"]
    assert len(finished.json("evaluate", made["run"], *recipe)) == 1
    record = json.loads((finished.run_dir(made["run"]).path / "evaluations.jsonl").read_text())["settings"]["recipe"]
    assert (record["cutmix"], record["batch_size"], record["epochs"], record["lr_factor"]) == (0.5, 64, 2, 0.2)
    assert record["augmentation"] == "idc"


def test_ls_lists_runs_and_families(finished: Shell) -> None:
    assert {"few", "by-proxy", "truth"} <= {row["name"] for row in finished.json("ls")}
    assert {row["name"] for row in finished.json("ls", "datasets")} == set(DATASETS)
    assert "convnet720" in finished.call("ls", "spaces")
    assert {row["name"] for row in finished.json("ls", "methods")} == set(METHODS)
    assert {"auto", *ZOO} <= {row["name"] for row in finished.json("ls", "nets")}
    summaries = {row["name"]: row["summary"] for row in finished.json("ls", "proxies")}
    assert summaries["naswot"].startswith("training-free, higher is better: ")
    assert summaries["naswot"].endswith("(Mellor et al., ICML 2021)")


def test_ls_shows_what_each_run_is_about_and_its_best(finished: Shell) -> None:
    rows = {row["name"]: row for row in finished.json("ls")}
    search, few, best = rows["by-proxy"], rows["few"], load_trials(finished.run_dir("by-proxy")).best
    assert (search["dataset"], search["space"], search["proxy"]) == ("digits", "convnet-mini", "few")
    assert (few["dataset"], few["space"], few["proxy"], few["best"]) == ("digits", None, "dm", None)
    assert search["seconds"] == finished.run_dir("by-proxy").meta["wall_seconds"] > 0
    if best is None:  # two epochs may be no better than guessing
        assert search["best"] is None
    else:
        assert (search["best"], search["best_score"]) == (best.arch_id, pytest.approx(best.selection_score))
    finished.run("search", "--proxy", "params", "--space", "convnet-mini", "--name", "counted")
    (line,) = [line for line in finished.call("ls").splitlines() if line.startswith("counted ")]
    best = load_trials(finished.run_dir("counted")).best
    assert best is not None
    moment = datetime.fromisoformat(finished.run_dir("counted").meta["created"]).astimezone()
    wanted = ["counted", "search", "done", "digits", "convnet-mini", "params", f"{best.selection_score:,.0f}"]
    assert line.split()[:8] == [*wanted, best.arch_id]
    assert line.rstrip().endswith(f"{moment:%Y-%m-%d %H:%M}")


def test_ls_loads_nothing_heavy(finished: Shell) -> None:
    heavy = "{'torch', 'ray', 'optuna', 'pandas'}"
    code = f"import sys, nasproxy; nasproxy.summarize_runs('runs'); print(sorted({heavy} & {{*sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=finished.cwd, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_rm_keeps_what_other_runs_name_and_asks_first(shell: Shell) -> None:
    shell.run("condense", "--method", "random", "--ipc", "2", "--name", "few")
    url = f"sqlite:///{shell.cwd}/shared.db"
    count = ["search", "--proxy", "params", "--space", "convnet-mini", "--storage", url, "--name", "counted"]
    shell.run(*count)
    shell.run("search", "--proxy", "few", *QUICK, "--sample", "2", "--name", "by-few")
    kept = {"few", "counted", "by-few"}
    assert "named by by-few" in shell.run("rm", "few", "--yes", expect=2).stderr
    assert "--yes" in shell.run("rm", "counted", expect=2).stderr  # nobody can answer here
    with hold(shell.run_dir("counted").path):
        assert "in use by a live process" in shell.run("rm", "counted", "--yes", expect=2).stderr
    assert {row["name"] for row in shell.json("ls")} == kept
    done = shell.run("rm", "counted", "--yes")
    assert done.stdout == ""
    assert f"and its study in {url}" in done.stderr
    assert {row["name"] for row in shell.json("ls")} == kept - {"counted"}
    shell.run(*count)  # its study is gone as well
    shell.run("rm", "few", "by-few", "--yes")
    assert {row["name"] for row in shell.json("ls")} == {"counted"}
    assert "no run 'few'" in shell.run("rm", "few", "--yes", expect=4).stderr


def test_rm_takes_a_named_run_by_force(finished: Shell, shell: Shell) -> None:
    shell.run("condense", "--method", "random", "--ipc", "2", "--name", "few")
    shell.run("search", "--proxy", "few", *QUICK, "--sample", "2", "--name", "by-few")
    shell.run("rm", "few", "--yes", "--force")
    assert [row["name"] for row in shell.json("ls")] == ["by-few"]
    assert shell.json("export", "by-few")


def test_rm_asks_on_a_terminal(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    shell.run("condense", "--method", "random", "--ipc", "2", "--name", "few")
    monkeypatch.setattr("nasproxy.cli.rm.is_terminal", lambda: True)
    assert "nothing is removed" in shell.run("rm", "few", typed="n\n").stderr
    assert shell.run_dir("few").path.is_dir()
    shell.run("rm", "few", typed="y\n")
    assert not shell.run_dir("few").path.exists()


def test_rm_knows_runs_by_their_paths_and_methods_from_runs(shell: Shell) -> None:
    condense = ["condense", "--method", "random", "--ipc", "2", "--name"]
    shell.run(*condense, "few")
    shell.run(*condense, "random")
    count = ["search", *QUICK, "--sample", "2"]
    shell.run(*count, "--proxy", "runs/few/proxy.safetensors", "--dataset", "digits", "--name", "by-file")
    assert "named by by-file" in shell.run("rm", "few", "--yes", expect=2).stderr
    assert "named by by-file" in shell.run("rm", "runs/few", "--runs-dir", "elsewhere", "--yes", expect=2).stderr
    shell.run("rm", "random", "--yes")  # the method of `few` is called so, too
    assert {row["name"] for row in shell.json("ls")} == {"few", "by-file"}


def test_ls_says_what_it_can_of_a_damaged_run(shell: Shell) -> None:
    shell.run("condense", "--method", "random", "--ipc", "2", "--name", "few")
    shell.run_dir("few").config_path.write_text('images = "none"\n')
    (row,) = shell.json("ls")
    assert (row["name"], row["status"], row["dataset"], row["proxy"]) == ("few", "done", None, None)


def test_quiet_says_warnings_only_and_verbose_how_far_it_is(shell: Shell) -> None:
    search = ["search", "--proxy", "params", "--space", "convnet-mini", "--num-archs", "3"]
    quiet = shell.run(*search, "-q", "--name", "q").stderr.splitlines()
    assert [line.partition(":")[0] for line in quiet] == ["warning"] * len(quiet)
    assert any(line.startswith("warning: --num-archs 3 takes the first 3") for line in quiet)
    assert "searching 3/3" not in shell.run(*search, "--name", "n").stderr  # it took no time
    assert "searching 3/3" in shell.run(*search, "-v", "--name", "v").stderr


@pytest.mark.parametrize(
    ("typed", "wanted"),
    [
        (["show", "by-"], {"by-proxy"}),
        (["search", "--proxy", "few"], {"few"}),
        (["compare", "--proxies", "dm,nasw"], {"dm,naswot"}),
        (["condense", "--method", "herd"], {"herding"}),
        (["search", "--space", "convnet-m"], {"convnet-mini"}),
        (["compare", "--preset", "two"], {"two-cores"}),
        (["rank", "few", "--truth", "tru"], {"truth"}),
    ],
)
def test_a_shell_completes_names(finished: Shell, typed: list[str], wanted: set[str]) -> None:
    words = {"COMP_WORDS": " ".join(["nasproxy", *typed]), "COMP_CWORD": str(len(typed))}
    environment = finished.env | words | {"_NASPROXY_COMPLETE": "complete_bash"}
    code = "from nasproxy.cli.app import app; app(prog_name='nasproxy')"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=finished.cwd, env=environment, capture_output=True, text=True, check=False
    )
    found = set(done.stdout.split())
    assert wanted <= found, done.stderr
    assert all(name.startswith(typed[-1]) for name in found)


@pytest.mark.parametrize("command", [[], ["search"], ["rank"], ["rm"], ["ls"]])
def test_help_names_no_types(shell: Shell, command: list[str]) -> None:
    text = shell.call(*command, "--help")
    assert "--help" in text
    assert not re.search(r"<[a-z]", text)


def test_ls_lists_all_that_there_is(finished: Shell) -> None:
    assert {what.value for what in What} == {"runs", "settings", *CATALOG}
    for what in CATALOG:
        rows = finished.json("ls", what)
        assert all(row["name"] and row["summary"] for row in rows)


def test_the_dashboard_answers_on_this_machine_only(finished: Shell) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        process = finished.start("dashboard", "by-proxy", "--port", str(port))
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            base, _, study_id = url.partition("/dashboard/studies/")
            assert base.startswith("http://127.0.0.1:")
            assert not base.endswith(f":{port}")
            studies = fetch_json(f"{base}/api/studies")["study_summaries"]
            assert [(study["study_name"], str(study["study_id"])) for study in studies] == [("by-proxy", study_id)]
            details = fetch_json(f"{base}/api/studies/{study_id}?after=0")
            assert len(details["trials"]) == 8
            assert memory_of(process.pid) < 500e6
        finally:
            process.terminate()
            process.communicate(timeout=30)
        assert process.returncode == 0


def memory_of(pid: int) -> float:
    """Resident bytes of a process, as Linux counts them."""
    (line,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS:")]
    return 1024 * int(line.split()[1])


def fetch_json(url: str, *, patience_seconds: float = 30) -> Any:
    """What a server answers that may still be starting."""
    deadline = time.monotonic() + patience_seconds
    while True:
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return json.load(answer)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def test_a_search_ended_and_killed_goes_on_without_loss_or_repetition(shell: Shell) -> None:
    shell.run("condense", "--method", "random", "--ipc", "5", "--name", "few")
    process = shell.start("search", "--proxy", "few", *QUICK, "--workers", "2", "--name", "s", "epochs=40")
    wait_for_trials(shell.run_dir("s"), 2, process)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert shell.run_dir("s").meta["status"] == "interrupted"

    process = shell.start("search", "--resume", "s")
    wait_for_trials(shell.run_dir("s"), 5, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = {trial.arch_id: trial for trial in load_trials(shell.run_dir("s"))}
    assert 5 <= len(before) < 24

    shell.run("search", "--resume", "s")
    after = load_trials(shell.run_dir("s"))
    ids = [trial.arch_id for trial in after]
    assert len(ids) == len(set(ids)) == 24
    assert {trial.arch_id: trial for trial in after if trial.arch_id in before} == before
    assert count_records(shell.run_dir("s")) == 24
    assert shell.run_dir("s").meta["status"] == "done"


@pytest.mark.parametrize("seconds", [0.0, 1.5])
def test_ctrl_c_while_ray_starts_ends_the_search_and_names_the_run(shell: Shell, seconds: float) -> None:
    process = shell.start("search", "--proxy", "whole", *QUICK, "--name", "s")
    run = shell.run_dir("s")
    wait_until(lambda: run.meta_path.is_file() and run.meta["status"] == "running", process)
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    assert run.meta["status"] == "interrupted"
    assert "what is done is kept in run s; go on with nasproxy search --resume s" in errors


def test_ctrl_c_before_there_is_a_run_says_so(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "b.py").write_text(SLOW)
    functions = 'builder = "b.py:build"\ncanonical = "b.py:canonical"\n'
    (tmp_path / "s.toml").write_text(f"size = 2\n{functions}[factors]\nwidth = [4, 8]\n")
    process = shell.start("search", "--proxy", "params", "--space", "s.toml")
    assert process.stderr is not None
    assert "thinking\n" in iter(process.stderr.readline, "")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=50)
    assert (process.returncode, (shell.cwd / "runs").exists()) == (130, False)
    assert "interrupted: no new run was begun" in errors


SLOW = """
import time

def canonical(factors):
    print("thinking", flush=True)
    time.sleep(60)

def build(arch, image_shape, num_classes):
    raise NotImplementedError
"""


def wait_until(is_so: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if is_so():
            return
        time.sleep(0.05)
    raise AssertionError("it did not get that far")


def wait_for_trials(run: RunDir, count: int, process: subprocess.Popen[str]) -> None:
    wait_until(lambda: run.study_path.is_file() and count_records(run) >= count, process)


def test_an_interrupted_condensation_goes_on_bit_for_bit(shell: Shell) -> None:
    settings = [*SMALL, "steps=200", "checkpoint_every=20"]
    shell.run("condense", *settings, "--name", "uncut")
    process = shell.start("condense", *settings, "--name", "cut")
    wait_for_file(shell.run_dir("cut").checkpoint_path, process)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert shell.run_dir("cut").meta["status"] == "interrupted"
    assert not shell.run_dir("cut").proxy_path.exists()

    shell.run("condense", "--resume", "cut")
    contents = []
    for name in ("uncut", "cut"):
        with safe_open(shell.run_dir(name).proxy_path, framework="pt") as file:
            contents.append(file.get_tensor("images"))
        assert tens(shell.run_dir(name)) == list(range(10, 201, 10))
    assert contents[0].equal(contents[1])
    assert "finished" in shell.run("condense", "--resume", "cut", expect=2).stderr


def wait_for_file(path: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not path.exists():
        assert process.poll() is None, "it ended too early"
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_folder_of_images_goes_all_the_way_and_too_deep_archs_are_left_out(shell: Shell, tmp_path: Path) -> None:
    make_image_folder(tmp_path / "pets", size=(4, 4))
    images = ["--dataset", "pets", "--data-dir", "cache"]
    shell.call("condense", *in_folder(shell, images), *SMALL, "images_per_class=2", "--name", "p")
    (tmp_path / "two.txt").write_text("w32-d3-none-sigmoid-max\nw32-d2-none-sigmoid-max\n")
    done = shell.run("search", "--proxy", "p", "--archs", "two.txt", *QUICK, "--name", "s")
    assert "1 architecture(s) left out, e.g. w32-d3-none-sigmoid-max" in done.stderr
    assert "pooling number 3 of 3 leaves no pixel of a 4x4 image" in done.stderr
    (row,) = shell.json("export", "s")
    assert (row["rank"], row["arch_id"]) == (1, "w32-d2-none-sigmoid-max")


def in_folder(shell: Shell, arguments: list[str]) -> list[str]:
    """Relative names as paths below the shell's folder."""
    return [argument if argument.startswith("-") else str(shell.cwd / argument) for argument in arguments]


def test_a_failed_trial_ends_a_search_with_exit_code_3(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "b.py").write_text(
        "from torch import nn\n"
        "def build(arch, image_shape, num_classes):\n"
        "    if arch.factors['kind'] == 'bad':\n"
        "        raise ValueError('no such layer')\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(256, num_classes))\n"
    )
    (tmp_path / "s.toml").write_text('size = 2\nbuilder = "b.py:build"\n[factors]\nkind = ["bad", "good"]\n')
    arguments = ["--proxy", "whole", "--space", "s.toml", "--seeds", "1", "--epochs", "1", "--name", "s"]
    done = shell.run("search", *arguments, expect=3)
    assert "failed: kind=bad: ValueError: no such layer" in done.stderr
    assert [trial.arch_id for trial in load_trials(shell.run_dir("s")).ranked()] == ["kind=good", "kind=bad"]


def test_more_workers_than_cores_are_one_warning(shell: Shell) -> None:
    archs = shell.cwd / "archs.txt"
    archs.write_text("w32-d1-none-relu-avg\nw32-d2-none-relu-avg\n")
    asked = ["--space", "convnet-mini", "--archs", str(archs), "--seeds", "1", "--workers", str(50 * num_cores())]
    said = shell.run("search", "--proxy", "naswot", *asked).stderr
    (told,) = [line for line in said.splitlines() if line.startswith("warning: ")]
    assert told.endswith(f"give --workers {num_cores()}, or leave it out")
    assert "warning" not in shell.run("search", "--proxy", "params", *asked).stderr


def test_a_grid_that_is_cut_says_that_it_stands_for_nothing(shell: Shell) -> None:
    cut = ["search", "--proxy", "params", "--space", "convnet-mini", "--num-archs", "8"]
    told = "warning: --num-archs 8 takes the first 8 of 24 architectures in the order of the space"
    said = shell.run(*cut).stderr
    assert told in said
    assert "give --sample 8 instead to draw them at random" in said
    for fine in (["--strategy", "random"], ["--sample", "10"], ["--num-archs", "24"]):
        assert "which do not stand for it" not in shell.run(*cut, *fine).stderr


def test_a_run_in_use_is_refused(finished: Shell) -> None:
    with hold(finished.run_dir("by-proxy").path):
        done = finished.run("search", "--resume", "by-proxy", expect=2)
    assert "in use by a live process" in done.stderr


def test_help_takes_little_more_than_its_libraries_and_lists_every_command(shell: Shell) -> None:
    """Both in turn, as a ratio: machines differ by more than help may take."""
    libraries, helped = [], []
    for _ in range(3):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import pydantic.main, typer, rich.console, rich.table"], check=True)
        libraries.append(time.perf_counter() - started)
        started = time.perf_counter()
        done = shell.spawn("--help")
        helped.append(time.perf_counter() - started)
    assert min(helped) < 5 * min(libraries)
    for command in ("condense", "evaluate", "search", "rank", "export", "dashboard", "ls", "show", "demo"):
        assert command in done.stdout


def test_data_goes_to_stdout_and_talk_to_stderr(finished: Shell, digits: ImageData) -> None:
    done = finished.run("condense", "--method", "random", "--ipc", "2", "--json")
    result = json.loads(done.stdout)
    assert result["num_stored_images"] == 2 * digits.num_classes


def test_a_network_is_trained_handed_out_and_used(shell: Shell, tmp_path: Path) -> None:
    shell.run("search", "--proxy", "params", "--space", "convnet-mini", "--name", "by-params")
    printed = shell.json("train", "by-params", "--top", "1", "--epochs", "1", "--name", "best", "--workers", "1")
    assert printed["chosen_of"] == 1
    about = json.loads((tmp_path / printed["model"]).read_text())
    assert printed["test_accuracy"] == f"{about['accuracies']['test']:.4f}"
    folder = make_image_folder(tmp_path / "pets", num_images=3)
    files = sorted(folder.rglob("*.png"))
    rows = list(csv.DictReader(shell.call("predict", "best", str(folder)).splitlines()))
    assert [row["file"] for row in rows] == list(map(str, files))
    assert {row["class"] for row in rows} <= set(about["classes"])
    every = shell.json("predict", "best", str(files[0]))
    assert every[0]["probabilities"][every[0]["class"]] == max(every[0]["probabilities"].values())
    assert f"{every[0]['probability']:.6f}" == rows[0]["probability"]
    files[0].write_text("no image")
    broken = shell.run("predict", printed["model"], *map(str, files[:2]), expect=3)
    assert f"warning: cannot decode {files[0]}: it is no image" in broken.stderr
    assert len(broken.stdout.splitlines()) == 2
