"""The dashboard as a browser asks it: real servers, real HTTP requests."""

import json
import math
import socket
import threading
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from PIL import Image

import nasproxy as nap
from nasproxy.comparing import Comparison, compare_trials
from nasproxy.dashboard import Dashboard
from nasproxy.dashboard.snapshot import Snapshot
from nasproxy.errors import InputError, SettingsError, StudyNotFoundError
from nasproxy.factors import FactorValue
from nasproxy.ranking import Estimate
from nasproxy.rundir import RunDir, create_run
from nasproxy.space import SearchSpace
from nasproxy.store import create_store, sqlite_url
from nasproxy.trials import VALIDATION_ACCURACY, ProxyKind, Rung, State, Trial, Trials, factors_of
from tests import records

INFO = replace(records.INFO, name="by-dm", num_seeds=2, recipe={"epochs": 200, "steps": 5, "lr": 0.01}, device="cpu")
RHO = Estimate(0.874, 0.72, 0.951, 4)
NO_RHO = Estimate(None, None, None, 1, note="one architecture")


@pytest.fixture
def by_dm(mini_space: SearchSpace) -> Trials:
    """Seven architectures: accuracies fall from the first to the sixth, which is at chance; the seventh failed."""
    archs = mini_space.archs()[:7]
    items = [
        Trial(
            arch.id,
            arch.factors,
            State.COMPLETE,
            (Rung((0.9 - number / 10,) * 2, (0.8 - number / 10, 0.7 - number / 10)),),
            num_params=1234,
            flops=56_789,
        )
        for number, arch in enumerate(archs)
    ]
    items[5] = replace(items[5], state=State.AT_CHANCE)
    items[6] = Trial(archs[6].id, archs[6].factors, State.FAILED, reason="MemoryError: `x` | 17 GiB")
    return Trials(INFO, tuple(items))


@pytest.fixture
def by_naswot(by_dm: Trials) -> Trials:
    """The same architectures in the opposite order; the first has no finite score."""
    items = [
        replace(trial, state=State.COMPLETE, rungs=(Rung((100.0 * number,) * 2, (100.0 * number,) * 2),))
        for number, trial in enumerate(by_dm)
    ]
    rung = Rung((math.inf, 1.0), (math.inf, 1.0))
    items[0] = replace(items[0], state=State.NOT_FINITE, rungs=(rung,), reason="not finite")
    info = replace(INFO, name="by-naswot", proxy="naswot", kind=ProxyKind.FORMULA, score_name="naswot")
    return Trials(info, tuple(items))


@pytest.fixture
def truth(by_dm: Trials) -> Trials:
    """Full training of the first five architectures; the second is the best."""
    accuracies = (0.91, 0.95, 0.89, 0.85, 0.7)
    items = [
        replace(trial, rungs=(Rung((0.5, 0.5), (accuracy, accuracy), 20),))
        for trial, accuracy in zip(by_dm, accuracies, strict=False)
    ]
    return Trials(replace(INFO, name="by-whole", proxy="whole", kind=ProxyKind.FULL_TRAINING), tuple(items))


@pytest.fixture
def comparison(truth: Trials, by_dm: Trials, by_naswot: Trials) -> Comparison:
    return _comparison(truth, by_dm, by_naswot)


def _comparison(truth: Trials, *proxies: Trials) -> Comparison:
    comparison = compare_trials(proxies, truth)
    first, *others = comparison.rankings
    rankings = (replace(first, spearman=RHO), *(replace(ranking, spearman=NO_RHO) for ranking in others))
    return replace(comparison, rankings=rankings)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "proxy.png"
    Image.new("RGB", (4, 4), (1, 2, 3)).save(path)
    return path


class Browser:
    """Asks a dashboard that serves."""

    def __init__(self, address: str) -> None:
        self.base = address.partition("/dashboard/")[0]

    def get(self, path: str) -> bytes:
        with urllib.request.urlopen(self.base + path, timeout=10) as answer:
            content: bytes = answer.read()
        return content

    def json(self, path: str) -> Any:
        return json.loads(self.get(path))

    def study(self, number: int) -> Any:
        return self.json(f"/api/studies/{number}?after=0")


@contextmanager
def browsing(dashboard: Dashboard) -> Iterator[Browser]:
    """Serves a dashboard until left."""
    with dashboard:
        thread = threading.Thread(target=dashboard.serve, daemon=True)
        thread.start()
        yield Browser(dashboard.address)
        dashboard.stop()
        thread.join(10)
        assert not thread.is_alive()


def attributes(trial: Mapping[str, Any]) -> dict[str, str]:
    return {pair["key"]: pair["value"] for pair in trial["user_attrs"]}


def can_connect(address: str) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", int(address.split(":")[2].split("/")[0]))) == 0


def test_one_search_is_shown_live_with_accuracy_by_updates(
    tmp_path: Path, mini_space: SearchSpace, truth: Trials
) -> None:
    url = sqlite_url(tmp_path / "study.db")
    store = create_store(INFO, mini_space.factors, url)
    store.add(truth[0])
    with browsing(Dashboard.of_search(INFO.name, url, 0)) as browser:
        store.add(truth[1])
        shown = browser.study(1)
    assert [trial["values"] for trial in shown["trials"]] == [[0.5], [0.5]]
    assert shown["trials"][0]["intermediate_values"] == [{"step": 40, "value": 0.5}]


def test_several_searches_stand_side_by_side_before_each_of_them(by_dm: Trials, by_naswot: Trials) -> None:
    with browsing(Dashboard.of_searches([by_dm, by_naswot], 0)) as browser:
        studies = browser.json("/api/studies")["study_summaries"]
        both, dm, naswot = (browser.study(number) for number in range(3))
    assert [(study["study_id"], study["study_name"]) for study in studies] == [
        (0, "2 searches side by side"),
        (1, "by-dm"),
        (2, "by-naswot"),
    ]
    assert [study["objective_names"] for study in (both, dm, naswot)] == [
        ["by-dm", "by-naswot"],
        [VALIDATION_ACCURACY],
        ["naswot"],
    ]
    assert [study["directions"] for study in (both, dm)] == [["maximize"] * 2, ["maximize"]]
    assert [len(study["trials"]) for study in (both, dm, naswot)] == [7, 7, 7]


def test_one_search_as_a_snapshot_is_the_only_study(by_dm: Trials) -> None:
    with browsing(Dashboard.of_searches([by_dm], 0)) as browser:
        assert [study["study_name"] for study in browser.json("/api/studies")["study_summaries"]] == ["by-dm"]


def test_notes_of_a_search_say_what_was_run_and_measured(by_dm: Trials, by_naswot: Trials) -> None:
    with browsing(Dashboard.of_searches([by_dm, by_naswot], 0)) as browser:
        dm, naswot = browser.study(1), browser.study(2)
    note = dm["note"]["body"]
    assert "| architectures\N{EM SPACE} | 7: 5 complete, 1 at-chance, 1 failed\N{EM SPACE} |" in note
    assert "steps 5, lr 0.01" in note
    assert "epochs" not in note
    assert {"key": "proxy", "value": "digits-dm"} in dm["user_attrs"]
    first, failed = dm["trials"][0]["note"]["body"], dm["trials"][6]["note"]["body"]
    assert first.startswith(f"## {by_dm[0].arch_id}\n\ncomplete; rank 1 of 6; 1,234 parameters; 56,789 FLOPs per image")
    assert (
        "| test accuracy\N{EM SPACE} | 75.00\xa0%\N{EM SPACE} | 80.00\xa0%\N{EM SPACE} | 70.00\xa0%\N{EM SPACE} |"
        in first
    )
    assert "failed; rank none; size not known" in failed
    assert "Reason: `MemoryError: x | 17 GiB`" in failed
    assert (
        "| naswot\N{EM SPACE} | 600\N{EM SPACE} | 600\N{EM SPACE} | 600\N{EM SPACE} |"
        in naswot["trials"][6]["note"]["body"]
    )


def test_archs_of_a_comparison_are_sorted_by_the_truth_then_by_the_best_proxy(
    comparison: Comparison, by_dm: Trials
) -> None:
    with browsing(Dashboard.of_comparison("digits", comparison, {}, 0)) as browser:
        shown = browser.study(0)
    assert shown["name"] == "digits: proxies beside the truth"
    assert shown["objective_names"] == ["true test accuracy", "by-dm", "by-naswot"]
    order = [by_dm[number].arch_id for number in (1, 0, 2, 3, 4, 5, 6)]
    assert [attributes(trial)["arch_id"] for trial in shown["trials"]] == order


def test_only_an_arch_with_all_values_is_complete(comparison: Comparison) -> None:
    """The second of all has no finite naswot score, the sixth and the seventh have no truth, the seventh failed."""
    with browsing(Dashboard.of_comparison("digits", comparison, {}, 0)) as browser:
        trials = browser.study(0)["trials"]
    assert [trial["state"] for trial in trials] == ["Complete", "Fail", *["Complete"] * 3, "Pruned", "Fail"]
    assert trials[0]["values"] == pytest.approx([0.95, 0.8, 100.0])
    assert "values" not in trials[5]
    pruned = attributes(trials[5])
    assert (pruned["by-dm: rank"], pruned["by-naswot: rank"]) == ("6", "2")
    assert float(pruned["by-dm: value"]) == pytest.approx(0.4)
    assert not [name for name in pruned if name.startswith("true")]
    assert (
        "| by-dm\N{EM SPACE} | 6 of 6\N{EM SPACE} | 40.00\xa0%\N{EM SPACE} | at-chance\N{EM SPACE} |"
        in trials[5]["note"]["body"]
    )
    assert "Reason: `not finite`" in trials[1]["note"]["body"]


def test_architectures_that_only_the_truth_has_are_in_its_own_study(truth: Trials, by_dm: Trials) -> None:
    """And those that no proxy could score are beside the others, as failed."""
    few = replace(by_dm, items=(*by_dm.items[1:4], by_dm.items[6]))
    with browsing(Dashboard.of_comparison("digits", compare_trials([few], truth), {}, 0)) as browser:
        beside, alone = (browser.study(number)["trials"] for number in range(2))
    assert [attributes(trial)["arch_id"] for trial in beside] == [by_dm[number].arch_id for number in (1, 2, 3, 6)]
    assert [trial["state"] for trial in beside] == ["Complete", "Complete", "Complete", "Fail"]
    assert len(alone) == 5


def test_equal_scores_share_the_better_rank(by_dm: Trials) -> None:
    same = replace(by_dm, items=tuple(replace(trial, rungs=by_dm[1].rungs) for trial in by_dm.items[:3]))
    with browsing(Dashboard.of_searches([same], 0)) as browser:
        notes = [trial["note"]["body"] for trial in browser.study(0)["trials"]]
    assert all("; rank 1 of 3;" in note for note in notes)


def test_a_comparison_says_how_proxies_rank(comparison: Comparison) -> None:
    with browsing(Dashboard.of_comparison("digits", comparison, {}, 0)) as browser:
        shown = browser.study(0)
        importances = browser.json("/api/studies/0/param_importances")["param_importances"]
    assert "0.87 [0.72, 0.95], n = 4" in shown["note"]["body"]
    assert {"key": "by-naswot: Spearman ρ with the truth", "value": "– (one architecture)"} in shown["user_attrs"]
    assert len(importances) == 3


def test_more_proxies_than_objectives_are_user_attributes(truth: Trials, by_dm: Trials) -> None:
    proxies = [Trials(replace(INFO, name=f"proxy-{number}"), by_dm.items) for number in range(6)]
    with browsing(Dashboard.of_comparison("many", _comparison(truth, *proxies), {}, 0)) as browser:
        shown = browser.study(0)
    assert shown["objective_names"] == ["true test accuracy", "proxy-0", "proxy-1", "proxy-2", "proxy-3"]
    assert (
        "User attributes only, because more objectives would tell nothing apart: proxy-4, proxy-5."
        in (shown["note"]["body"])
    )
    assert attributes(shown["trials"][0])["proxy-5: rank"] == "2"


def test_every_study_has_the_address_that_is_promised(comparison: Comparison) -> None:
    with Dashboard.of_comparison("digits", comparison, {}, 0) as dashboard:
        names = ["digits: proxies beside the truth", "by-whole", "by-dm", "by-naswot"]
        ids = [dashboard.address_of(name).rpartition("/dashboard/studies/")[2] for name in names]
        assert ids == ["0", "1", "2", "3"]
        assert dashboard.address == dashboard.address_of(names[0])
        with pytest.raises(StudyNotFoundError, match="no study 'by-dsa' in the dashboard; it has digits: proxies"):
            dashboard.address_of("by-dsa")


def test_pictures_are_shown_with_the_comparison_and_their_search(comparison: Comparison, picture: Path) -> None:
    with browsing(Dashboard.of_comparison("digits", comparison, {"by-dm": picture}, 0)) as browser:
        for number in (0, 2):
            shown = browser.study(number)
            assert [artifact["filename"] for artifact in shown["artifacts"]] == ["by-dm.png"]
            path = f"/artifacts/{number}/{shown['artifacts'][0]['artifact_id']}"
            assert browser.get(path) == picture.read_bytes()
        assert f"![digits-dm]({path})" in shown["note"]["body"]
        assert browser.study(3)["artifacts"] == []


def test_closing_frees_the_port_and_leaves_no_file(
    comparison: Comparison, picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    with Dashboard.of_comparison("digits", comparison, {"by-dm": picture}, 0) as dashboard:
        assert len(list(scratch.iterdir())) == 1
        assert can_connect(dashboard.address)
    assert list(scratch.iterdir()) == []
    assert not can_connect(dashboard.address)
    with pytest.raises(InputError, match=r"cannot read picture .*none\.png: No such file"):
        Dashboard.of_comparison("digits", comparison, {"by-dm": tmp_path / "none.png"}, 0)
    assert list(scratch.iterdir()) == []


def test_searches_that_cannot_share_a_study_are_refused(by_dm: Trials, by_naswot: Trials) -> None:
    with pytest.raises(SettingsError, match="search by-dm is given twice"):
        Dashboard.of_searches([by_dm, by_naswot, by_dm], 0)
    elsewhere = Trials(replace(INFO, name="other", space="mobile", space_hash="dd"), by_dm.items)
    with pytest.raises(InputError, match="runs by-dm and other cannot be compared: their space differs"):
        Dashboard.of_searches([by_dm, elsewhere], 0)


def test_factors_are_sorted_numbers_first() -> None:
    rows: list[tuple[FactorValue, FactorValue]] = [(128, "max"), (32, 0.5), (64, "avg"), (32, False)]
    trials = [Trial(f"w{width}", {"width": width, "pool": pool}, State.COMPLETE) for width, pool in rows]
    assert factors_of(trials) == {"width": [32, 64, 128], "pool": [False, 0.5, "avg", "max"]}


def test_dashboard_listens_on_the_wanted_port_unless_it_is_taken(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "study.db")
    create_store(INFO, {}, url)
    with Dashboard.of_search(INFO.name, url, 0) as first:
        taken = int(first.address.split(":")[2].split("/")[0])
        with Dashboard.of_search(INFO.name, url, taken) as second:
            assert second.address.startswith("http://127.0.0.1:")
            assert second.address != first.address
    with Dashboard.of_search(INFO.name, url, taken) as third:
        assert third.address == first.address


def test_dashboard_of_an_unknown_study_is_refused(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "study.db")
    create_store(INFO, {}, url)
    with pytest.raises(StudyNotFoundError, match="no study 'other'"):
        Dashboard.of_search("other", url, 0)


@pytest.fixture
def runs(tmp_path: Path, mini_space: SearchSpace, by_dm: Trials, by_naswot: Trials) -> list[RunDir]:
    """Run folders of two searches."""
    folders = []
    for trials in (by_dm, by_naswot):
        settings = '[search]\nproxy = "naswot"\n'
        run = create_run(tmp_path, trials.info.name, "", command="search", config_text=settings, parents={})
        store = create_store(trials.info, mini_space.factors, sqlite_url(run.study_path))
        for trial in trials:
            store.add(trial)
        folders.append(run)
    return folders


@pytest.mark.parametrize(
    ("count", "snapshot", "names"),
    [
        (1, False, ["by-dm"]),
        (1, True, ["by-dm"]),
        (2, False, ["2 searches side by side", "by-dm", "by-naswot"]),
    ],
)
def test_runs_open_one_search_live_and_more_as_a_snapshot(
    count: int, snapshot: bool, names: list[str], runs: list[RunDir]
) -> None:
    opened = nap.Runs(runs[0].path.parent).dashboard([run.name for run in runs[:count]], port=0, snapshot=snapshot)
    with browsing(opened) as browser:
        studies = browser.json("/api/studies")["study_summaries"]
        note = browser.study(studies[0]["study_id"])["note"]["body"]
    assert [study["study_name"] for study in studies] == names
    is_live = note == ""
    assert is_live == (count == 1 and not snapshot)


def test_a_screen_that_is_not_over_is_shown_with_what_scored_each_architecture(tmp_path: Path, by_dm: Trials) -> None:
    rungs = (Rung((312.5,), (312.5,), metric="naswot"), Rung((0.9,), (0.8,), 10))
    waiting = replace(by_dm[0], state=State.WAITING, rungs=rungs)
    pruned = replace(by_dm[1], state=State.PRUNED, rungs=rungs[:1], place=2, reason="cut after rung 1 of 3")
    snapshot = Snapshot(tmp_path)
    snapshot.add_searches([replace(by_dm, items=(waiting, pruned))])
    study = optuna.load_study(study_name=by_dm.name, storage=snapshot.storage)
    assert [trial.state.name for trial in study.trials] == ["RUNNING", "PRUNED"]
    kept = snapshot.storage.get_study_system_attrs(study._study_id)
    notes = [str([text for key, text in kept.items() if key.startswith(f"dashboard:{number}:")]) for number in (0, 1)]
    assert "waiting; rank 1" in notes[0]
    assert "mean validation accuracy" in notes[0]
    assert f"{90:.2f}\\xa0%" in notes[0]
    assert "pruned; rank 2" in notes[1]
    assert "naswot" in notes[1]
    assert "cut after rung 1 of 3" in notes[1]
