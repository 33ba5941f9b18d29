"""Searches on a real Ray: the same trials for any number of workers, failures kept as rows, resume, strategies."""

import math
from pathlib import Path
from typing import Any

import optuna
import pytest

from nasproxy.condensing import condense
from nasproxy.config import RECIPES, CondenseSettings, MachineSettings, SearchConfig, SearchSettings
from nasproxy.device import num_cores
from nasproxy.errors import InputError, ProxySetError, SettingsError, UsageError
from nasproxy.images import ImageData, load_images
from nasproxy.proxies import COMPOSITES, PROXIES, make_proxy
from nasproxy.proxyset import ProxySet
from nasproxy.scoring import SCORES, measure_costs
from nasproxy.searching import recorder
from nasproxy.searching.cluster import RaySession, plan_workforce
from nasproxy.searching.plan import Plan, config_from_overrides, plan_search
from nasproxy.searching.search import run_plan, search
from nasproxy.space import SearchSpace, build
from nasproxy.spacefile import load_space
from nasproxy.store import TrialStore, create_store, open_store, sqlite_url
from nasproxy.trials import ProxyKind, SearchInfo, State, Trial, Trials
from tests.nets.odd import odd_arch

QUICK: dict[str, Any] = {"seeds": 2, "epochs": 2, "workers": 1, "threads_per_worker": 1}


@pytest.fixture(scope="module")
def proxy(digits: ImageData) -> ProxySet:
    return condense(digits, "random", images_per_class=5)


def scores(trials: Trials) -> dict[str, tuple[object, ...]]:
    """What must not depend on who computed it."""
    return {t.arch_id: (t.state, t.rungs) for t in trials}


@pytest.mark.usefixtures("local_ray")
def test_trials_do_not_depend_on_the_number_of_workers(
    mini_space: SearchSpace, proxy: ProxySet, digits: ImageData
) -> None:
    one, two = (search(mini_space, proxy, digits, **{**QUICK, "workers": workers}, num_archs=6) for workers in (1, 2))
    assert scores(one) == scores(two)
    assert [len(trials) for trials in (one, two)] == [6, 6]
    assert len({trial.worker for trial in one}) == 1
    for trial in one:
        assert trial.num_params
        assert trial.flops
        assert trial.started
        assert trial.ended
        assert trial.train_seconds
        assert 0 < trial.train_seconds < (trial.ended - trial.started).total_seconds()


@pytest.mark.usefixtures("local_ray")
@pytest.mark.parametrize("name", [name for name in PROXIES if name in RECIPES])
def test_every_named_proxy_that_trains_scores_archs_on_the_whole_set(
    name: str, mini_space: SearchSpace, digits: ImageData
) -> None:
    archs = ["w32-d1-none-relu-avg"]
    trials = search(mini_space, name, digits, archs=archs, seeds=1, steps=12, workers=1)
    assert trials.info.cost.num_stored_images == len(digits.train)
    assert trials.top(1) == archs
    assert trials[0].selection_score > 0.3
    (rung,) = trials[0].rungs
    assert rung.num_steps == 12
    assert 0 < rung.evaluation_losses[0] < math.log(10)


@pytest.mark.usefixtures("local_ray")
def test_no_two_proxies_train_the_same_nets_in_the_same_order(mini_space: SearchSpace, digits: ImageData) -> None:
    """Early stopping as long as the truth is another draw of it: their seed noise is independent."""
    settings: dict[str, Any] = {"seeds": 1, "steps": 6, "workers": 1, "recipe.augmentation": "none"}
    archs = [arch.id for arch in mini_space.archs()[:2]]
    truth, early = (search(mini_space, name, digits, archs=archs, **settings) for name in ("whole", "early-stop"))
    for arch_id in archs:
        assert truth.by_id[arch_id].evaluation_scores != early.by_id[arch_id].evaluation_scores


def test_the_seed_of_a_proxy_is_that_of_its_name_and_images(digits: ImageData) -> None:
    config = config_from_overrides("whole", QUICK)
    one, other = (condense(digits, "random", images_per_class=5, seed=seed) for seed in (0, 1))
    proxies = [make_proxy(proxy, digits, config) for proxy in (one, other, "whole", "early-stop")]
    assert proxies[0].name == proxies[1].name
    assert len({proxy.seed_for(0) for proxy in proxies} | {proxy.seed_for(1) for proxy in proxies}) == 8
    assert make_proxy(one, digits, config).seed_for(0) == proxies[0].seed_for(0)


def test_sets_of_one_method_are_told_from_sets_of_another(mini_space: SearchSpace, digits: ImageData) -> None:
    def info(epochs: int = 2, **settings: Any) -> SearchInfo:
        made = condense(digits, settings=CondenseSettings(method="herding", images_per_class=2, **settings))
        return plan_search(mini_space, made, digits, config_from_overrides(made, QUICK | {"epochs": epochs})).describe(
            ""
        )

    few: dict[str, Any] = {"selection_epochs": 1, "embedding_net": "w32-d1-none-relu-avg"}
    first, second, other = info(**few), info(**few, seed=1), info(**few | {"selection_epochs": 2})
    assert (first.set_seed, second.set_seed) == (0, 1)
    assert first.is_of_method(second)
    assert not first.is_of_method(other)
    assert not first.is_of_method(info(epochs=3, **few))


def test_proxies_train_or_are_training_free() -> None:
    assert set(PROXIES) == (set(RECIPES) - {"proxy-set"}) | set(SCORES)
    assert set(SCORES) == {
        "params", "flops", "grad_norm", "snip", "grasp", "fisher", "synflow", "jacob_cov", "naswot", "zico",
        "az_expressivity", "az_progressivity", "az_trainability",
    }  # fmt: skip
    assert all(set(composite.parts) <= set(PROXIES) for composite in COMPOSITES.values())


@pytest.mark.usefixtures("local_ray")
@pytest.mark.parametrize(
    ("name", "num_images"),
    [
        ("params", 0),
        ("naswot", 256),
        pytest.param("synflow", 0, marks=pytest.mark.slow),
        pytest.param("zico", 256, marks=pytest.mark.slow),
    ],
)
def test_training_free_proxies_score_archs_the_same_for_any_number_of_workers(
    name: str, num_images: int, mini_space: SearchSpace, digits: ImageData
) -> None:
    settings: dict[str, Any] = {"seeds": 2, "num_archs": 4, "threads_per_worker": 1}
    one, two = (search(mini_space, name, digits, **settings, workers=workers) for workers in (1, 2))
    assert scores(one) == scores(two)
    assert (one.info.proxy, one.info.score_name, one.info.cost.num_stored_images) == (name, name, num_images)
    assert one.info.kind is ProxyKind.FORMULA
    for trial in one:
        assert trial.state is State.COMPLETE
        assert trial.num_seeds == 2
        assert trial.selection_scores == trial.evaluation_scores
        assert trial.started
        assert trial.ended
        assert trial.train_seconds
        assert 0 < trial.train_seconds < (trial.ended - trial.started).total_seconds()
        if name == "params":
            arch = mini_space.pick([trial.arch_id])[0]
            assert trial.selection_score == measure_costs(arch, digits.image_shape, digits.num_classes).num_params
    assert one.ranked()[0].selection_score == max(trial.selection_score for trial in one)


@pytest.mark.usefixtures("local_ray")
def test_a_training_free_search_goes_on_where_its_study_ends(
    mini_space: SearchSpace, digits: ImageData, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"seeds": 1, "num_archs": 4, "workers": 1}
    whole = search(mini_space, "snip", digits, **settings)
    store = create_store(whole.info, mini_space.factors, sqlite_url(tmp_path / "study.db"))
    for trial in whole.items[:2]:
        store.add(trial)
    plan = plan_search(mini_space, "snip", digits, config_from_overrides("snip", settings))
    assert scores(run_plan(plan, store)) == scores(whole)


ODD_BUILDER = """
from torch import nn

def build(arch, image_shape, num_classes):
    kind = arch.factors["kind"]
    if kind == "raises" and nn.Linear(1, 1).weight.device.type != "meta":
        raise ValueError("no such layer")
    layers = [nn.Flatten(), nn.Linear(image_shape[1] * image_shape[2], 512), nn.ReLU(), nn.Linear(512, num_classes)]
    if kind == "no activation":
        del layers[2]
    return nn.Sequential(*layers)
"""


@pytest.mark.usefixtures("local_ray")
def test_scores_that_are_not_finite_are_rows_and_the_rest_goes_on(digits: ImageData, tmp_path: Path) -> None:
    (tmp_path / "builder.py").write_text(ODD_BUILDER)
    (tmp_path / "space.toml").write_text(
        'size = 3\nbuilder = "builder.py:build"\narch_id = "{kind}"\n'
        '[factors]\nkind = ["no activation", "raises", "fine"]\n'
    )
    found = search(load_space(tmp_path / "space.toml"), "naswot", digits, seeds=2, workers=1)
    trials = {trial.arch_id: trial for trial in found}
    assert [trial.arch_id for trial in found.ranked()] == ["fine", "no activation", "raises"]
    assert trials["no activation"].state is State.NOT_FINITE
    assert trials["no activation"].reason == "2 of 2 scores not finite: -inf, -inf"
    assert trials["raises"].state is State.FAILED
    assert trials["raises"].reason == "ValueError: no such layer"
    assert found.top(1.0) == ["fine"]


def test_architectures_beyond_a_limit_are_left_out_and_the_smallest_is_named(
    mini_space: SearchSpace, digits: ImageData
) -> None:
    costs = {arch.id: measure_costs(arch, digits.image_shape, 10) for arch in mini_space.archs()}
    middle = sorted(found.num_params for found in costs.values())[8]

    def plan(**limits: Any) -> Plan:
        return plan_search(mini_space, "params", digits, config_from_overrides("params", limits))

    kept = plan(max_params=middle)
    assert {arch.id for arch in kept.archs} == {name for name, found in costs.items() if found.num_params <= middle}
    assert 0 < len(kept.archs) < 24
    assert set(kept.costs.left_out) == costs.keys() - {arch.id for arch in kept.archs}
    largest = max(costs, key=lambda name: costs[name].num_params)
    assert kept.costs.left_out[largest] == (
        f"{costs[largest].num_params:,} parameters, and at most {middle:,} are asked for"
    )
    few = plan(max_params="1M", max_flops="0.5M").archs
    assert {arch.id for arch in few} == {name for name, found in costs.items() if found.flops <= 500_000}
    smallest = min(costs, key=lambda name: (costs[name].num_params, costs[name].flops))
    with pytest.raises(SettingsError, match=f"the smallest is {smallest} with .* and at most 100 are asked for; raise"):
        plan(max_params=100)
    for text in ("5X", "-3", "0", "M", "1.5"):
        with pytest.raises(SettingsError, match=f"{text!r} is no size; write a number above 0 like 500000, 500k"):
            plan(max_params=text)


def test_nets_that_return_no_scores_of_classes_are_left_out_before_anything_is_started(
    digits: ImageData, tmp_path: Path
) -> None:
    odd_arch(tmp_path, "fine")
    path, settings = tmp_path / "space.toml", config_from_overrides("whole", {"seeds": 1})
    path.write_text('size = 2\nbuilder = "odd.py:build"\narch_id = "{kind}"\n[factors]\nkind = ["one-more", "fine"]\n')
    plan = plan_search(load_space(path), "whole", digits, settings)
    assert [arch.id for arch in plan.archs] == ["fine"]
    assert "the net returns a tensor (1, 11); let it return" in plan.costs.left_out["one-more"]
    with pytest.raises(SettingsError, match=r"no architecture of space can be scored: one-more: .* a tensor \(1, 11\)"):
        plan_search(load_space(path), "whole", digits, settings, ["one-more"])


@pytest.mark.usefixtures("local_ray")
def test_tpe_tries_what_it_is_told_to_and_nothing_twice(
    mini_space: SearchSpace, proxy: ProxySet, digits: ImageData
) -> None:
    settings: dict[str, Any] = {
        "seeds": 1,
        "epochs": 1,
        "strategy": "tpe",
        "num_archs": 7,
        "round_size": 3,
        "threads_per_worker": 1,
    }
    one, two = (search(mini_space, proxy, digits, **settings, workers=workers) for workers in (1, 2))
    assert len(one) == 7
    assert scores(one) == scores(two)
    assert sorted(trial.round for trial in one) == [0, 0, 0, 1, 1, 1, 2]


@pytest.mark.usefixtures("local_ray")
def test_a_search_goes_on_where_its_study_ends(
    mini_space: SearchSpace, proxy: ProxySet, digits: ImageData, tmp_path: Path
) -> None:
    whole = search(mini_space, proxy, digits, **QUICK, num_archs=5)
    store = create_store(whole.info, mini_space.factors, sqlite_url(tmp_path / "study.db"))
    for trial in whole.items[:2]:
        store.add(trial)
    trained: list[Trial] = []
    plan = plan_search(mini_space, proxy, digits, config_from_overrides(proxy, {**QUICK, "num_archs": 5}))
    resumed = run_plan(plan, store, on_trial=trained.append)
    assert {trial.arch_id for trial in trained} == {trial.arch_id for trial in whole.items[2:]}
    assert scores(resumed) == scores(whole)


BROKEN_BUILDER = """
import os
from torch import nn
from nasproxy.errors import ArchError

def build(arch, image_shape, num_classes):
    kind = arch.factors["kind"]
    if kind == "misfit":
        raise ArchError("misfit: too deep for the image; use larger images")
    if kind == "raises":
        raise ValueError("two\\nlines")
    net = nn.Sequential(nn.Flatten(), nn.Linear(image_shape[1] * image_shape[2], num_classes))
    if kind == "dies" and net[1].weight.device.type != "meta":
        os._exit(1)
    return net
"""


DYING_BUILDER = """
import os
from pathlib import Path
from torch import nn

TRIES = {"once": 1, "often": 4}

def build(arch, image_shape, num_classes):
    net = nn.Sequential(nn.Flatten(), nn.Linear(image_shape[1] * image_shape[2], num_classes))
    if net[1].weight.device.type != "meta":
        marks = Path(__file__).with_name(f"{arch.id}.txt")
        tried = len(marks.read_text()) if marks.exists() else 0
        if tried < TRIES[arch.id]:
            marks.write_text("x" * (tried + 1))
            os._exit(1)
    return net
"""


@pytest.fixture
def broken_space(tmp_path: Path) -> SearchSpace:
    (tmp_path / "builder.py").write_text(BROKEN_BUILDER)
    (tmp_path / "space.toml").write_text(
        'size = 4\nbuilder = "builder.py:build"\narch_id = "{kind}"\n'
        '[factors]\nkind = ["raises", "dies", "misfit", "fine"]\n'
    )
    return load_space(tmp_path / "space.toml")


@pytest.mark.usefixtures("local_ray")
def test_failures_are_rows_and_the_rest_goes_on(
    broken_space: SearchSpace, proxy: ProxySet, digits: ImageData, tmp_path: Path
) -> None:
    log_path = tmp_path / "log.txt"
    plan = plan_search(broken_space, proxy, digits, config_from_overrides(proxy, QUICK))
    assert plan.costs.left_out == {"misfit": "misfit: too deep for the image; use larger images"}
    store = create_store(plan.describe("broken"), broken_space.factors, None)
    trials = {trial.arch_id: trial for trial in run_plan(plan, store, log_path=log_path)}
    assert set(trials) == {"raises", "dies", "fine"}
    assert trials["fine"].is_ranked
    assert trials["raises"].state is State.FAILED
    assert trials["raises"].reason == "ValueError: two lines"
    assert trials["dies"].state is State.LOST
    assert str(trials["dies"].reason).startswith("worker process lost 3 time(s), the last time: ")
    assert 'raise ValueError("two\\nlines")' in log_path.read_text()


@pytest.mark.usefixtures("local_ray")
def test_an_arch_whose_process_was_lost_is_tried_again_at_once_and_after_a_resume(
    proxy: ProxySet, digits: ImageData, tmp_path: Path
) -> None:
    """'once' kills its worker at the first try, 'often' at the first four: two more than a search allows."""
    (tmp_path / "builder.py").write_text(DYING_BUILDER)
    (tmp_path / "space.toml").write_text(
        'size = 2\nbuilder = "builder.py:build"\narch_id = "{kind}"\n[factors]\nkind = ["once", "often"]\n'
    )
    space = load_space(tmp_path / "space.toml")
    plan = plan_search(space, proxy, digits, config_from_overrides(proxy, {**QUICK, "seeds": 1}))
    store = create_store(plan.describe("dying"), space.factors, sqlite_url(tmp_path / "study.db"))
    first = run_plan(plan, store).by_id
    assert first["once"].is_ranked
    assert first["often"].state is State.LOST
    assert "The actor is dead because its worker process has died" in str(first["often"].reason)
    again: list[Trial] = []
    second = run_plan(plan, store, on_trial=again.append).by_id
    assert [(trial.arch_id, trial.is_ranked) for trial in again] == [("often", True)]
    assert second["once"] == first["once"]
    assert {trial.arch_id: trial.state for trial in store.trials()} == {name: second[name].state for name in second}


class RefusingStore(TrialStore):
    """A study whose database refuses some attempts to write."""

    refusals = 0

    def add(self, trial: Trial) -> None:
        if self.refusals > 0:
            self.refusals -= 1
            raise OSError("database is locked")
        super().add(trial)


@pytest.mark.usefixtures("local_ray")
@pytest.mark.parametrize("name", ["params", "naswot"])
def test_a_result_that_the_storage_refuses_for_a_while_is_kept_and_is_no_failure(
    name: str, mini_space: SearchSpace, digits: ImageData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "STORE_RETRY_SECONDS", 0.01)
    plan = plan_search(
        mini_space, name, digits, config_from_overrides(name, {"seeds": 1, "num_archs": 3, "workers": 1})
    )
    url = sqlite_url(tmp_path / "study.db")
    create_store(plan.describe("refused"), mini_space.factors, url)
    store = RefusingStore(optuna.load_study(study_name="refused", storage=url))
    store.refusals = 4
    trials = run_plan(plan, store)
    assert {trial.state for trial in trials} == {State.COMPLETE}
    assert len(trials) == 3
    assert sorted(open_store("refused", url).trials().by_id) == sorted(trials.by_id)
    assert {trial.state for trial in open_store("refused", url).trials()} == {State.COMPLETE}


def test_a_storage_that_refuses_for_long_ends_the_search_with_the_reason_and_a_resume_scores_the_rest(
    mini_space: SearchSpace, digits: ImageData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "STORE_RETRY_SECONDS", 0.01)
    monkeypatch.setattr(recorder, "STORE_PATIENCE_SECONDS", 0.05)
    plan = plan_search(
        mini_space, "params", digits, config_from_overrides("params", {"seeds": 1, "num_archs": 3, "workers": 1})
    )
    url = sqlite_url(tmp_path / "study.db")
    create_store(plan.describe("refused"), mini_space.factors, url)
    store = RefusingStore(optuna.load_study(study_name="refused", storage=url))
    store.refusals = 10**9
    problem = r"storage cannot be written to: OSError: database is locked; \d result\(s\) are not recorded: .*--resume"
    with pytest.raises(InputError, match=problem):
        run_plan(plan, store)
    assert len(store.trials()) == 0
    store.refusals = 0
    assert len(run_plan(plan, store)) == len(store.trials()) == 3


@pytest.mark.usefixtures("local_ray")
def test_what_the_callers_callback_raises_ends_the_search_and_spoils_no_result(
    mini_space: SearchSpace, digits: ImageData
) -> None:
    def refuse(trial: Trial) -> None:
        raise LookupError(f"no place for {trial.arch_id}")

    plan = plan_search(
        mini_space, "naswot", digits, config_from_overrides("naswot", {"seeds": 1, "num_archs": 6, "workers": 1})
    )
    store = create_store(plan.describe("called"), mini_space.factors, None)
    with pytest.raises(LookupError, match="no place for"):
        run_plan(plan, store, on_trial=refuse)
    assert 0 < len(store.trials()) < 6
    assert {trial.state for trial in store.trials()} == {State.COMPLETE}


@pytest.mark.usefixtures("local_ray")
def test_failed_archs_are_trained_again_only_when_asked(
    broken_space: SearchSpace, proxy: ProxySet, digits: ImageData
) -> None:
    first = search(broken_space, proxy, digits, **QUICK, archs=["raises", "fine"])
    for retry_failed, expected in ((False, []), (True, ["raises"])):
        plan = plan_search(broken_space, proxy, digits, config_from_overrides(proxy, QUICK), ["raises", "fine"])
        store = create_store(first.info, broken_space.factors, None)
        for trial in first:
            store.add(trial)
        again: list[Trial] = []
        run_plan(plan, store, retry_failed=retry_failed, on_trial=again.append)
        assert [trial.arch_id for trial in again] == expected


@pytest.mark.usefixtures("local_ray")
def test_diverged_and_clueless_nets_are_flagged(mini_space: SearchSpace, proxy: ProxySet, digits: ImageData) -> None:
    archs = ["w32-d1-none-relu-avg", "w32-d3-none-sigmoid-avg"]
    diverged = search(
        mini_space, proxy, digits, archs=archs[:1], seeds=1, epochs=3, workers=1, lr=1e20, augmentation="none"
    )
    clueless = search(mini_space, proxy, digits, archs=archs[1:], seeds=1, epochs=1, workers=1)
    assert diverged[0].state is State.DIVERGED
    assert clueless[0].state is State.AT_CHANCE


@pytest.mark.usefixtures("local_ray")
def test_the_example_space_of_torchvision_nets_is_searched(proxy: ProxySet, digits: ImageData) -> None:
    space = load_space("mobilenet-v3-small")
    assert len(space) == 16
    for arch in space.archs():
        build(arch, (3, 32, 32), 10)
    archs = [arch.id for arch in space.archs()[:3]]
    one, two = (search(space, proxy, digits, archs=archs, **{**QUICK, "workers": workers}) for workers in (1, 2))
    assert all(trial.is_ranked for trial in one)
    assert scores(one) == scores(two)  # these nets have dropout: its draws are seeded, too


def test_a_proxy_set_of_other_data_is_refused(mini_space: SearchSpace, proxy: ProxySet) -> None:
    other_split = load_images("digits", split_seed=1)
    with pytest.raises(ProxySetError, match="split_seed"):
        search(mini_space, proxy, other_split)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"archs": ["w32-d1-none-relu-agv"]}, "did you mean 'w32-d1-none-relu-avg'"),
        ({"strategy": "gird"}, "did you mean 'grid'"),
        ({"augmentation": "colour"}, "did you mean 'color'"),
        ({"sedes": 1}, "did you mean 'seeds'"),
        ({"epochs": 0}, "recipe.epochs=0"),
    ],
)
def test_wrong_settings_are_refused(
    settings: dict[str, Any], message: str, mini_space: SearchSpace, proxy: ProxySet, digits: ImageData
) -> None:
    with pytest.raises(SettingsError, match=message):
        search(mini_space, proxy, digits, **settings)


def test_an_unknown_proxy_names_the_nearest(digits: ImageData) -> None:
    with pytest.raises(SettingsError, match="did you mean 'whole'"):
        make_proxy("hole", digits, SearchConfig(search=SearchSettings(proxy="hole")))


def test_a_recipe_for_a_proxy_that_trains_nothing_is_refused(mini_space: SearchSpace, digits: ImageData) -> None:
    problem = r"recipe\.epochs=3, recipe\.lr=1\.0: proxy 'naswot' trains nothing; leave it out"
    with pytest.raises(SettingsError, match=problem):
        search(mini_space, "naswot", digits, epochs=3, lr=1.0)


@pytest.mark.parametrize(
    ("machine", "workers", "threads"),
    [
        (MachineSettings(device="cpu", workers=3, threads_per_worker=2), 3, 2),
        (MachineSettings(device="cpu"), num_cores(), 1),
        (MachineSettings(device="cpu", workers=1), 1, num_cores()),
        (MachineSettings(device="cpu", threads_per_worker=num_cores()), 1, num_cores()),
        (MachineSettings(address="auto", workers=7), 7, 1),
    ],
)
def test_workers_times_threads_are_the_cores_where_not_told(
    machine: MachineSettings, workers: int, threads: int
) -> None:
    workforce = plan_workforce(machine)
    assert (workforce.num_workers, workforce.threads_per_worker) == (workers, threads)


def test_more_workers_than_cores_are_told_what_to_give_instead() -> None:
    cores = num_cores()
    crowded = plan_workforce(MachineSettings(device="cpu", workers=50 * cores)).crowd
    assert crowded is not None
    assert crowded.startswith(f"{50 * cores} worker(s) of 1 thread(s) on {cores} core(s) slow each other down")
    assert crowded.endswith(f"give --workers {cores}, or leave it out")
    threads = plan_workforce(MachineSettings(device="cpu", threads_per_worker=2 * cores)).crowd
    assert threads is not None
    assert threads.endswith(f"give --workers 1 threads_per_worker={cores}")
    for fitting in (MachineSettings(device="cpu"), MachineSettings(device="cpu", workers=cores)):
        assert plan_workforce(fitting).crowd is None


@pytest.mark.usefixtures("local_ray")
def test_a_ray_for_several_searches_tells_once_of_too_many_workers(tmp_path: Path) -> None:
    told: list[str] = []
    machine = MachineSettings(device="cpu", workers=50 * num_cores())
    with RaySession(machine, tmp_path / "log.txt", told.append) as session:
        session.start()
        session.start()
    assert told == [plan_workforce(machine).crowd]


@pytest.mark.parametrize(
    ("machine", "message"),
    [
        (MachineSettings(device="cuda:1"), "set CUDA_VISIBLE_DEVICES"),
        (MachineSettings(device="gpu"), "choose from auto, cpu, cuda"),
        (MachineSettings(gpus_per_worker=1.5), "must be a whole number"),
        (MachineSettings(address="127.0.0.1:1"), "no Ray cluster at '127.0.0.1:1'"),
    ],
)
def test_a_workforce_that_cannot_be_is_refused(machine: MachineSettings, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        plan_workforce(machine)


@pytest.mark.usefixtures("local_ray")
def test_a_worker_larger_than_ray_is_refused(mini_space: SearchSpace, proxy: ProxySet, digits: ImageData) -> None:
    with pytest.raises(SettingsError, match=r"a worker asks for 3 CPU\(s\) but Ray has 2"):
        search(mini_space, proxy, digits, **{**QUICK, "threads_per_worker": 3})


@pytest.mark.usefixtures("local_ray")
def test_what_the_caller_prints_is_not_taken_for_rays(
    mini_space: SearchSpace, proxy: ProxySet, digits: ImageData, capsys: pytest.CaptureFixture[str]
) -> None:
    search(mini_space, proxy, digits, **QUICK, num_archs=1, on_trial=lambda trial: print(trial.arch_id))
    assert capsys.readouterr().out == "w32-d1-none-sigmoid-max\n"


def test_data_without_validation_images_are_refused(mini_space: SearchSpace) -> None:
    with pytest.raises(SettingsError, match="no validation images"):
        search(mini_space, "whole", load_images("digits", val_fraction=0))
