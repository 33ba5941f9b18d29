"""Searches and comparisons of a sample: drawn once, kept, reused, and the same when they are read again."""

import csv
from pathlib import Path
from typing import Any

import pytest

import nasproxy as nap
from nasproxy.comparing import SAMPLED
from nasproxy.errors import RunNotFoundError, SettingsError
from nasproxy.runs.pieces import Searching
from nasproxy.runs.place import Place
from nasproxy.runs.reporting import load_comparison
from nasproxy.searching.cluster import RaySession
from nasproxy.spacefile import load_space
from nasproxy.talk import Silence
from nasproxy.trials import SampleInfo, Trials

SPACE = load_space("convnet-mini")
ONE: dict[str, Any] = {"seeds": 1}


@pytest.fixture
def runs(tmp_path: Path) -> nap.Runs:
    return nap.Runs(tmp_path / "runs")


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    """A table of made accuracies of the whole space."""
    rows = [f"{arch.id},{0.4 + (number * 37 % 101) / 200}\n" for number, arch in enumerate(SPACE.archs())]
    (tmp_path / "truth.csv").write_text("arch_id,test_accuracy\n" + "".join(rows))
    return tmp_path / "truth.csv"


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def weights_of(trials: Trials) -> dict[str, float]:
    return {trial.arch_id: trial.weight for trial in trials}


def search(runs: nap.Runs, proxy: str = "params", **settings: Any) -> Trials:
    return runs.search("convnet-mini", proxy, "digits", **ONE, **settings)


def test_a_search_of_a_sample_keeps_its_weights_and_goes_on_with_them(runs: nap.Runs) -> None:
    trials = search(runs, sample="12:flops", name="some")
    assert trials.run is not None
    assert sum(weights_of(trials).values()) == pytest.approx(len(SPACE))
    table = {row["arch_id"]: float(row["weight"]) for row in rows_of(trials.run.path / "trials.csv")}
    assert table == weights_of(trials)
    assert {row["arch_id"]: float(row["weight"]) for row in rows_of(trials.run.sample_path)} == table
    trials.run.study_path.unlink()
    trials.run.update_meta(has_study=False, status="interrupted")
    again = runs.search(resume="some")
    assert weights_of(again) == weights_of(trials)
    assert again.info == trials.info
    whole = search(runs, name="all")
    assert "weight" not in runs.export(whole)
    assert whole.run is not None
    assert not whole.run.sample_path.exists()
    assert whole.run.study_path.is_file()


def test_the_best_of_a_sample_stand_for_themselves(runs: nap.Runs) -> None:
    trials = search(runs, sample=12, name="some")
    best = search(runs, "flops", archs="top:some:25%")
    assert set(best.by_id) == set(trials.top(3))
    assert (set(weights_of(best).values()), best.info.sample) == ({1.0}, None)


def test_strata_are_of_the_scores_of_a_search(runs: nap.Runs) -> None:
    search(runs, "flops", name="by-flops")
    named, counted = (search(runs, sample=f"10:{by}") for by in ("@last", "flops"))
    assert weights_of(named) == weights_of(counted)
    assert named.run is not None
    assert named.run.read_config()["search"]["sample"] == "10:by-flops"
    assert named.info.sample is not None
    assert named.info.sample.by == "by-flops"
    twice = search(runs, sample=f"5:{named.run.name}")  # a sample of a sample
    assert set(twice.by_id) < set(named.by_id)
    assert twice.info.sample is not None
    with pytest.raises(RunNotFoundError, match="did you mean 'by-flops'"):
        search(runs, sample="5:by-flop")
    with pytest.raises(SettingsError, match=r"cannot go on with other settings .*search.sample: 10:flops -> 12:flops"):
        runs.search(resume=counted.run, sample="12:flops")


def test_a_sample_is_of_the_architectures_that_are_named(runs: nap.Runs, tmp_path: Path) -> None:
    named = [arch.id for arch in SPACE.archs()[:9]]
    (tmp_path / "archs.txt").write_text("\n".join(named))
    for archs in (named, tmp_path / "archs.txt"):
        trials = search(runs, sample=6, archs=archs)
        assert len(trials) == 6
        assert set(trials.by_id) < set(named)
        assert set(weights_of(trials).values()) == {1.5}


def test_a_comparison_of_a_sample_is_the_same_when_it_is_read_again(runs: nap.Runs, truth: Path) -> None:
    made = runs.compare(
        "digits", ["params", "flops"], "convnet-mini", truth, sample="14:params", combine="average", name="strata",
        top="25%", **ONE,
    )  # fmt: skip
    assert made.run is not None
    assert len(made.truth) == made.alignment.num_scored == 14
    assert {ranking.spearman.note for ranking in made.rankings} == {SAMPLED}
    assert len(made.rankings) == 3
    frame = runs.export("strata")
    assert frame["weight"].sum() == pytest.approx(len(SPACE))
    words = f"a weighted sample of 14 of {len(SPACE)} architectures by strata of params"
    page = made.run.report_path.read_text()
    assert page.count(words) == 2
    again, _ = load_comparison(made.run, Place(runs.root, Silence()))
    assert again.rankings == made.rankings
    assert again.differences == made.differences
    assert again.alignment.sample == made.alignment.sample
    resumed = runs.compare(resume="strata")
    assert resumed.rankings == made.rankings
    assert made.run.report_path.read_text() == page
    searches = runs.rank([trials.run for trials in made.proxies if trials.run], truth, top="25%")
    assert {ranking.name: ranking.spearman for ranking in searches.rankings} == {
        ranking.name: ranking.spearman for ranking in made.rankings if ranking.name != "average"
    }


def perform(plan: nap.ComparisonPlan) -> list[Trials]:
    """The searches of a comparison, as they enter it."""
    pieces = [piece for piece in plan.pieces if isinstance(piece, Searching)]
    with RaySession(plan.experiment.config.machine, plan.experiment.place.root / "ray.log", pytest.fail) as ray:
        for piece in pieces:
            piece.perform(ray)
    return [plan.experiment.asked.part_of(piece.trials) for piece in pieces]


def test_a_larger_sample_or_the_whole_space_serves_a_smaller_one(runs: nap.Runs, truth: Path) -> None:
    larger, whole = search(runs, sample=16), search(runs, "flops")
    given: tuple[Any, ...] = ("digits", ["params", "flops"], "convnet-mini", truth)
    smaller = perform(runs.plan(*given, sample=8, **ONE))
    assert [trials.run for trials in smaller] == [larger.run, whole.run]
    drawn = dict.fromkeys(search(runs, "flops", sample=8).by_id, len(SPACE) / 8)
    assert drawn.keys() < weights_of(larger).keys()
    for trials in smaller:
        assert weights_of(trials) == drawn
        assert trials.info.sample == SampleInfo(8, len(SPACE))
    seeded = runs.plan(*given, sample=8, seed=3, **ONE)  # other nets of the same architectures
    assert set(seeded.experiment.asked.arch_ids or ()) == drawn.keys()
    assert [step.run for step in seeded.steps()] == [None, None]
    of_all = runs.plan(*given, **ONE).steps()
    assert [step.run for step in of_all] == [None, whole.run.name if whole.run else None]


def test_a_sample_is_extended_by_what_it_lacks(runs: nap.Runs, truth: Path) -> None:
    smaller = search(runs, sample="6:params")
    plan = runs.plan("digits", ["params"], "convnet-mini", truth, sample="16:params", **ONE)
    assert [(step.run, step.is_done) for step in plan.steps()] == [(None, False)]
    (larger,) = perform(plan)
    assert larger.run is not None
    assert larger.run != smaller.run
    assert weights_of(larger) == weights_of(search(runs, sample="16:params"))
    for trial in smaller:
        assert larger.by_id[trial.arch_id].started == trial.started
    assert len({trial.started for trial in larger} - {trial.started for trial in smaller}) == 10
    assert "search convnet-mini by params: 16 trials, 6 done before" in larger.run.log_path.read_text()
