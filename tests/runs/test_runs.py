"""The public run-folder layer: names, paths and objects in memory, what is kept, and what a resumed run refuses."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import nasproxy as nap
from nasproxy.config import CompareConfig, make_config
from nasproxy.errors import DivergedError, InputError, RunError, RunNotFoundError, SettingsError, StudyNotFoundError
from nasproxy.images import ImageData
from nasproxy.proxies import COMPOSITES
from nasproxy.runs.pieces import Experiment, RunIndex, Searching
from nasproxy.runs.place import Place
from nasproxy.runs.references import settings_of_search
from nasproxy.searching.plan import config_from_overrides
from nasproxy.space import SearchSpace
from nasproxy.talk import Silence
from nasproxy.trials import ProxyKind, Trials
from tests.records import Notes

COUNTED: dict[str, Any] = {"seeds": 1, "num_archs": 8}


@pytest.fixture
def runs(tmp_path: Path) -> nap.Runs:
    return nap.Runs(tmp_path / "runs")


@pytest.fixture
def two(runs: nap.Runs) -> tuple[Trials, Trials]:
    """Two searches that count, on the digits."""
    first = runs.search("convnet-mini", "params", "digits", **COUNTED)
    return first, runs.search("convnet-mini", "flops", "digits", **COUNTED)


@pytest.fixture
def truth(tmp_path: Path, two: tuple[Trials, Trials]) -> Path:
    """A table of made accuracies of all eight."""
    path = tmp_path / "truth.csv"
    rows = [f"{trial.arch_id},{0.5 + number / 100}\n" for number, trial in enumerate(two[0].ranked())]
    path.write_text("arch_id,test_accuracy\n" + "".join(rows))
    return path


def test_what_is_made_has_its_run_and_is_found_by_name_path_and_last(runs: nap.Runs) -> None:
    proxy = runs.condense("digits", "random", images_per_class=3, name="few")
    assert proxy.run is not None
    assert proxy.run.path == runs.root / "few"
    for reference in ("few", runs.root / "few", nap.LAST, proxy.run):
        assert runs.find(reference).path.resolve() == proxy.run.path.resolve()
    assert [run.name for run in runs.all()] == ["few"]
    assert nap.load_proxy_set(proxy.run.proxy_path).images.images.equal(proxy.images.images)


def test_what_an_interpreter_shows_is_a_line(
    runs: nap.Runs, digits: ImageData, two: tuple[Trials, Trials], truth: Path
) -> None:
    comparison = runs.rank(two, truth)
    replays = runs.replay([two[0]], truth, "convnet-mini", strategy="random", repetitions=2)
    shown = [
        (runs, f"Runs('{runs.root}')"),
        (digits, "<ImageData digits: 1,295 train, 143 validation (±8.2 points), 359 test, 10 classes, 1x16x16>"),
        (digits.train, "<ImageSet: 1,295 images, 10 classes, 1x16x16>"),
        (
            nap.condense(digits, "random", images_per_class=3),
            "<ProxySet random-3 of digits: 30 images, 10 classes, 1x16x16>",
        ),
        (two[0], f"<Trials digits-convnet-mini-params: 8 architectures by params, best {two[0].ranked()[0].arch_id}>"),
        (comparison.rankings[0], "<Ranking params: rho −0.87 [−0.98, −0.30] over 8 architectures, first "),
        (comparison, "<Comparison with truth:\n  <Ranking params: rho −0.87"),
        (replays[0], "<Replay random, digits-convnet-mini-params: 2 repetition(s) over 8 architectures, mean regret "),
    ]
    for thing, line in shown:
        assert repr(thing).startswith(line)
        assert max(map(len, repr(thing).splitlines())) < 160


def test_settings_come_as_keywords_as_flags_and_as_a_tree(runs: nap.Runs) -> None:
    tree: nap.Tree = {"condense": {"method": "random", "images_per_class": 2}, "images": {"dataset": "digits"}}
    by_tree = runs.condense(settings=tree)
    by_keywords = runs.condense("digits", "random", ipc=2)
    assert by_tree.images.content_hash() == by_keywords.images.content_hash()
    assert [proxy.run.name for proxy in (by_tree, by_keywords) if proxy.run] == ["digits-random-2", "digits-random-2-2"]
    with pytest.raises(SettingsError, match=r"unknown setting 'imges_per_class': did you mean 'images_per_class'"):
        runs.condense("digits", imges_per_class=2)


@pytest.mark.parametrize(("proxy", "num_seeds"), [("naswot", 1), ("params", 1), ("early-stop", 5), ("whole", 5)])
def test_a_training_free_score_has_one_seed_where_none_is_asked_for(
    proxy: str, num_seeds: int, digits: ImageData, mini_space: SearchSpace, tmp_path: Path
) -> None:
    assert settings_of_search({"search": {"proxy": proxy}}, tmp_path).search.seeds == num_seeds
    assert settings_of_search({"search": {"proxy": proxy, "seeds": 3}}, tmp_path).search.seeds == 3
    assert config_from_overrides(proxy, {}).search.seeds == num_seeds
    for asked, expected in ((None, num_seeds), (3, 3)):
        compared = make_config(CompareConfig, {"compare": {"proxies": [proxy], "seeds": asked}})
        experiment = Experiment(Place(tmp_path, Silence()), compared, digits, mini_space, RunIndex([]))
        assert Searching(experiment, proxy).num_seeds == expected


def test_a_proxy_set_in_memory_is_kept_where_it_has_no_run(
    runs: nap.Runs, digits: ImageData, mini_space: SearchSpace
) -> None:
    proxy = nap.condense(digits, "random", images_per_class=3)
    with pytest.raises(SettingsError, match="unknown architecture of space convnet-mini"):
        runs.search(mini_space, proxy, digits, archs=["no-such-arch"])
    kept = next(run for run in runs.all() if run.command == "keep")
    assert nap.load_proxy_set(kept.proxy_path).images.images.equal(proxy.images.images)


def test_trials_in_memory_are_combined_ranked_reported_and_exported(
    runs: nap.Runs, digits: ImageData, mini_space: SearchSpace, truth: Path
) -> None:
    alone = nap.search(mini_space, "params", digits, **COUNTED)
    other = nap.search(mini_space, "flops", digits, **COUNTED)
    combined = runs.combine([alone, other], name="both")
    assert combined.run is not None
    assert combined.info.kind is ProxyKind.COMBINATION
    assert len(combined.info.parts) == 2
    comparison = runs.rank([alone, "both"], truth, top="50%")
    assert {ranking.label for ranking in comparison.rankings} == {"params", "average of params, flops"}
    assert comparison.rankings[0].top_fraction == 0.5
    assert (combined.run.path / "ranking.csv").is_file()
    page = runs.report(comparison, folder=runs.root / "page")
    assert "average of params, flops" in page.read_text()
    assert list(runs.export(comparison)["truth_rank"]) == list(range(1, 9))
    frame = runs.export(alone, runs.root / "table.csv", truth=truth)
    assert (runs.root / "table.csv").is_file()
    assert frame["truth_rank"].notna().all()


def test_a_comparison_takes_objects_and_reads_nothing_twice(
    runs: nap.Runs, two: tuple[Trials, Trials], digits: ImageData, mini_space: SearchSpace, truth: Path
) -> None:
    comparison = runs.compare(digits, [two[0], "flops"], mini_space, truth, name="objects", seeds=1, top=0.5)
    assert comparison.run is not None
    assert {ranking.label for ranking in comparison.rankings} == {"params", "flops"}
    again, exported = runs.compare(resume="objects"), runs.export("objects")
    assert again.rankings == comparison.rankings
    assert list(exported.columns) == list(runs.export(comparison).columns)
    assert (comparison.run.path / "report.html").is_file()


def test_data_made_in_memory_go_in_and_a_resume_needs_them_again(runs: nap.Runs, digits: ImageData) -> None:
    made = replace(digits, name="mine", settings=None)
    trials = runs.search("convnet-mini", "params", made, **COUNTED, name="s")
    assert trials.info.dataset == "mine"
    with pytest.raises(SettingsError, match=r"unknown data set .* 'mine'"):
        runs.search(resume="s")
    assert len(runs.search(data=made, resume="s")) == 8


def test_progress_is_shown_on_stderr_where_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    silent, talking = nap.Runs(tmp_path / "a"), nap.Runs(tmp_path / "b", progress=True)
    silent.condense("digits", "random", images_per_class=2)
    assert capsys.readouterr().err == ""
    talking.condense("digits", "random", images_per_class=2)
    assert "digits: 1,295 train, 143 validation" in capsys.readouterr().err


def test_removing_a_run_spares_what_others_name(runs: nap.Runs) -> None:
    runs.search("convnet-mini", "params", "digits", **COUNTED, name="s")
    runs.search("convnet-mini", "flops", "digits", **COUNTED, name="t")
    runs.combine(["s", "t"], name="both")
    with pytest.raises(RunError, match="run s is named by both"):
        runs.remove("s")
    runs.remove("both")
    runs.remove("s")
    assert [run.name for run in runs.all()] == ["t"]


def test_a_renamed_folder_goes_on_with_its_own_study(runs: nap.Runs) -> None:
    runs.search("convnet-mini", "params", "digits", **COUNTED, name="before")
    (runs.root / "before").rename(runs.root / "after")
    notes = Notes()
    trials = nap.Runs(runs.root, progress=notes).search(resume="after")
    assert len(trials) == 8
    assert trials.info.name == "after"
    assert notes.of("searching") == [(8, 8)]  # nothing was scored again
    assert runs.rank(["after"], table_of(trials, runs.root / "t.csv")).rankings[0].name == "after"


@pytest.mark.parametrize("storage", [None, "shared.db"])
def test_a_run_that_lost_its_study_stops_and_keeps_its_table(runs: nap.Runs, storage: str | None) -> None:
    url = f"sqlite:///{runs.root.parent / storage}" if storage else None
    runs.search("convnet-mini", "params", "digits", **COUNTED, name="s", storage=url)
    folder = runs.root / "s"
    before = (folder / "trials.csv").read_bytes()
    if storage is None:
        (folder / "study.db").unlink()
    else:
        (runs.root.parent / storage).unlink()
    problem = "has lost its study.db, and with it all trials" if storage is None else "holds no study 's'"
    with pytest.raises(StudyNotFoundError, match=problem):
        runs.search(resume="s")
    assert (folder / "trials.csv").read_bytes() == before
    with pytest.raises(StudyNotFoundError):
        runs.export("s")


def test_a_run_that_never_had_a_study_begins(runs: nap.Runs) -> None:
    trials = runs.search("convnet-mini", "params", "digits", **COUNTED, name="s")
    assert trials.run is not None
    trials.run.study_path.unlink()
    trials.run.update_meta(has_study=False, status="failed")
    assert len(runs.search(resume="s")) == 8


def test_a_run_of_another_layout_is_refused_by_one_line_that_says_who_wrote_it(runs: nap.Runs) -> None:
    trials = runs.search("convnet-mini", "params", "digits", **COUNTED, name="old")
    assert trials.run is not None
    meta = json.loads(trials.run.meta_path.read_text())
    del meta["layout"]
    meta["versions"]["nasproxy"] = "0.1.0"
    trials.run.meta_path.write_text(json.dumps(meta))
    problem = r"run 'old' was written by nasproxy 0\.1\.0, whose run folders this version cannot read; make it again"
    for use in (lambda: runs.export("old"), lambda: runs.search(resume="old"), lambda: runs.rank(["old"], "x.csv")):
        with pytest.raises(RunError, match=problem):
            use()
    assert [run.name for run in runs.all()] == ["old"]
    assert runs.find("old").meta["versions"]["nasproxy"] == "0.1.0"
    plan = runs.plan("digits", ["params", "flops"], "convnet-mini", seeds=1)
    assert [step.run for step in plan.steps() if step.what == "search by params"] == [None]


def test_what_cannot_be_found_or_told_apart_is_refused(runs: nap.Runs, two: tuple[Trials, Trials], truth: Path) -> None:
    with pytest.raises(RunNotFoundError, match="no run 'nothing'"):
        runs.rank(["nothing"], truth)
    with pytest.raises(SettingsError, match="no truth to compare with"):
        runs.rank([two[0]])
    with pytest.raises(InputError, match="no such file of architecture ids"):
        runs.search("convnet-mini", "params", "digits", archs="none.txt")
    with pytest.raises(SettingsError, match="no proxy: give --proxy"):
        runs.search("convnet-mini")
    runs.compare("digits", [two[0]], "convnet-mini", truth, name="c", top=0.5)
    with pytest.raises(SettingsError, match="c is a comparison with its own proxies and truth"):
        runs.report(["c", two[0]])
    with pytest.raises(SettingsError, match="c is a comparison with a truth of its own"):
        runs.export("c", truth=truth)


def test_objects_of_another_root_and_runs_by_path_stay_where_they_are(
    runs: nap.Runs, two: tuple[Trials, Trials], truth: Path, tmp_path: Path
) -> None:
    elsewhere = nap.Runs(tmp_path / "elsewhere")
    proxy = runs.condense("digits", "random", images_per_class=3, name="few")
    assert len(elsewhere.evaluate(proxy, nets="mlp", num_nets=1, epochs=1)) == 1
    foreign = two[0].run
    assert foreign is not None
    comparison = elsewhere.compare(
        "digits", [two[0], foreign.path.with_name(two[1].name)], "convnet-mini", truth, top=0.5
    )
    assert comparison.run is not None
    again = elsewhere.export(comparison.run.name)
    assert sorted(again["truth_rank"]) == list(range(1, 9))
    combined = elsewhere.combine([two[0], two[1]])
    assert combined.run is not None
    assert combined.run.read_config()["combine"]["runs"] == [str(trials.run.path) for trials in two if trials.run]


def test_a_part_of_a_search_is_no_longer_that_run(runs: nap.Runs, two: tuple[Trials, Trials], truth: Path) -> None:
    part = two[0].of(two[0].top(4))
    assert (part.run, two[0].of([trial.arch_id for trial in two[0]]).run) == (None, two[0].run)
    comparison = runs.compare("digits", [part, two[1]], "convnet-mini", truth, name="c", top=1.0)
    assert {ranking.label: ranking.num_archs for ranking in comparison.rankings} == {"params": 4, "flops": 8}
    exported = runs.export("c")
    assert sum(exported[f"{name} rank"].notna().sum() for name in labels(comparison)) == 12


def labels(comparison: nap.Comparison) -> list[str]:
    return [ranking.label for ranking in comparison.rankings]


def test_what_does_not_belong_to_a_comparison_is_refused_before_anything_is_done(
    runs: nap.Runs, two: tuple[Trials, Trials]
) -> None:
    with pytest.raises(SettingsError, match="is a search by params, not by 'whole'"):
        runs.plan("digits", ["naswot", "flops"], "convnet-mini", two[0])
    with pytest.raises(InputError, match="cannot be compared here: its space_hash differs"):
        runs.plan("digits", [two[0], "naswot"], "convnet-narrow")
    with pytest.raises(SettingsError, match="archs is empty; leave it out"):
        runs.search("convnet-mini", "params", "digits", archs=[])
    assert [run.name for run in runs.all()] == [trials.name for trials in two]


def test_the_same_space_under_another_name_serves_and_goes_on(runs: nap.Runs, tmp_path: Path) -> None:
    text = 'size = 2\nbuilder = "b.py:build"\narch_id = "{kind}"\n[factors]\nkind = ["a", "b"]\n'
    (tmp_path / "b.py").write_text(
        "from torch import nn\n"
        "def build(arch, image_shape, num_classes):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(256 + (arch.id == 'b') * 0, num_classes))\n"
    )
    for name in ("one", "other"):
        (tmp_path / f"{name}.toml").write_text(f'name = "{name}"\n{text}')
    first = runs.search(tmp_path / "one.toml", "params", "digits", seeds=1)
    table = table_of(first, tmp_path / "t.csv")
    comparison = runs.compare("digits", ["params", "flops"], tmp_path / "other.toml", table, seeds=1, top=1.0)
    assert {trials.info.space for trials in comparison.proxies} == {"one", "other"}
    assert first.run in [trials.run for trials in comparison.proxies]


def test_last_means_trials_where_trials_are_wanted(
    runs: nap.Runs, two: tuple[Trials, Trials], digits: ImageData, truth: Path
) -> None:
    runs.evaluate(nap.condense(digits, "random", images_per_class=2), digits, nets="mlp", num_nets=1, epochs=1)
    assert runs.all()[-1].command == "keep"
    assert runs.rank([nap.LAST], truth).rankings[0].name == two[1].name
    with pytest.raises(RunError, match="holds a proxy set, no trials"):
        runs.export(runs.all()[-1].name)


def test_the_catalog_lists_what_there_is() -> None:
    assert set(nap.catalog("methods")) == set(nap.METHODS)
    elsewhere = {"table:nasbench201:12-epochs", "FILE.csv:COLUMN"}
    assert set(nap.catalog("proxies")) == {*nap.PROXIES, *COMPOSITES, *elsewhere, "RUN"}
    assert all(nap.catalog("presets").values())
    with pytest.raises(SettingsError, match="did you mean 'methods'"):
        nap.catalog("method")


def table_of(trials: Trials, path: Path) -> Path:
    rows = [f"{trial.arch_id},{0.5 + number / 100}\n" for number, trial in enumerate(trials)]
    path.write_text("arch_id,test_accuracy\n" + "".join(rows))
    return path


SMALL: dict[str, Any] = {"images_per_class": 2, "real_batch_size": 4, "embedding_net": "w8-d1-instance-relu-avg"}


@pytest.mark.parametrize(
    ("method", "refused"),
    [("dm", ""), ("dsa", ""), ("idc", "condense.first_epochs: None -> 0; condense.distance: None -> absolute")],
)
def test_a_condensation_of_an_older_version_goes_on_where_the_method_is_what_it_was(
    runs: nap.Runs, digits: ImageData, method: str, refused: str
) -> None:
    """Its settings lack those that there were not yet."""
    with pytest.raises(DivergedError):
        runs.condense(digits, method, name="old", **SMALL, steps=30, inner_loop=1, outer_loop=30, image_lr=1e30)
    path = runs.root / "old" / "config.toml"
    lines = path.read_text().splitlines()
    kept = [line for line in lines if not line.startswith(("tiles_along", "first_epochs", "distance"))]
    assert len(lines) - len(kept) == (3 if method == "idc" else 1)
    path.write_text("\n".join(kept) + "\n")
    expected: tuple[type[Exception], str] = (DivergedError, "diverged at step")
    if refused:
        expected = (SettingsError, f"run old cannot go on with other settings ({refused}); start a new run")
    with pytest.raises(expected[0], match=re.escape(expected[1])):
        runs.condense(digits, resume="old")


@pytest.mark.parametrize("name", ["naswot", "az-nas"])
def test_no_proxy_set_is_called_like_a_proxy_of_its_own(name: str, digits: ImageData, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=f"run name '{name}' means a proxy of its own"):
        nap.Runs(tmp_path).condense(digits, "random", images_per_class=1, name=name)
