"""Screens: how they are written, what they cut, and that neither workers nor a resume change that."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import optuna
import pytest

from nasproxy.comparing import compare_trials
from nasproxy.condensing import condense
from nasproxy.config import RecipeSettings
from nasproxy.errors import InputError, SettingsError
from nasproxy.images import ImageData
from nasproxy.proxies import COMPOSITES
from nasproxy.proxyset import ProxySet
from nasproxy.ranking import average_ranks
from nasproxy.screened import by_place, to_the_end
from nasproxy.searching.plan import config_from_overrides, plan_search
from nasproxy.searching.sample import Quantity
from nasproxy.searching.schedule import Schedule, Signal, make_schedule
from nasproxy.searching.screen import SCREENS, Screen, parse_screen
from nasproxy.searching.search import run_plan, search
from nasproxy.signals import by_signal
from nasproxy.space import Arch, SearchSpace
from nasproxy.store import create_store, open_store, sqlite_url
from nasproxy.tables import read_scores, read_truth, trials_frame, write_table
from nasproxy.trials import Rung, State, Trial, Trials
from nasproxy.trials import Signal as RankedBy

RECIPE = RecipeSettings(epochs=40, batch_size=25)
LAST = "steps=160+seeds=5"
QUICK: dict[str, Any] = {"seeds": 3, "epochs": 4, "workers": 1, "threads_per_worker": 1}


def _screen(text: str, num_seeds: int = 5) -> Screen:
    """Of a search with 160 updates."""
    return parse_screen(text, RECIPE, num_seeds, 100)


def test_rungs_say_how_nets_are_measured_and_how_many_go_on() -> None:
    screen = _screen("naswot:20%,steps=40:25%,epochs=20+seeds=2:3,seeds=5")
    assert screen.texts == ("naswot:20%", "steps=40:25%", "epochs=20+seeds=2:3", "steps=160+seeds=5")
    scored_by = [stage.scored_by for stage in screen.stages]
    assert scored_by[0] == ("naswot",)
    assert scored_by[1] == RECIPE.model_copy(update={"steps": 40})
    assert scored_by[2] == RECIPE.model_copy(update={"steps": 80})
    assert scored_by[3] == RECIPE
    assert [stage.num_seeds for stage in screen.stages] == [1, 1, 2, 5]
    assert [stage.work(100) for stage in screen.stages] == [1, 40, 160, 800]
    assert screen.count_archs(720) == [720, 144, 36, 3]
    assert screen.describe(720) == "720 by naswot, 144 by steps=40, 36 by epochs=20+seeds=2, 3 by steps=160+seeds=5"


def test_a_rung_ranks_by_several_things_and_measures_what_is_not_there_yet() -> None:
    screen = _screen("az-nas:30%,steps=40+tse+az-nas+synflow:5,naswot+synflow:2")
    assert screen.texts == ("az-nas:30%", "synflow:100%", "steps=40+tse+az-nas+synflow:5", "naswot+synflow:2", LAST)
    assert [stage.ranked_by for stage in screen.stages] == [
        ("az-nas",), ("synflow",), ("tse", "az-nas", "synflow"), ("naswot", "synflow"), ("accuracy",),
    ]  # fmt: skip
    assert [stage.scores for stage in screen.stages] == [COMPOSITES["az-nas"].parts, ("synflow",), (), ("naswot",), ()]
    assert screen.stages[2].scored_by == RECIPE.model_copy(update={"steps": 40})
    assert screen.count_archs(720) == [720, 216, 216, 5, 2]
    fast = _screen("steps=30+batch_size=5+lr=0.1+lr_drops=+augmentation=none+tse:9").stages[0].scored_by
    assert fast == RECIPE.model_copy(
        update={"steps": 30, "batch_size": 5, "lr": 0.1, "lr_drops": (), "augmentation": "none"}
    )
    assert _screen("epochs=2+batch_size=50:9").stages[0].work(100) == 4
    assert _screen("naswot+synflow:9").stages[0].scores == ("naswot", "synflow")
    assert _screen("tse:9").stages[0].scored_by == RECIPE  # as long as the search itself


def test_the_mean_of_ranks_is_of_those_that_have_all_of_it(mini_space: SearchSpace) -> None:
    screen = _screen("naswot+synflow:50%,steps=40+tse+naswot:1")
    archs = mini_space.archs()[:4]

    def trial(number: int, naswot: float, synflow: float, *losses: float) -> Trial:
        scored = tuple(Rung((value,), (value,)) for value in (naswot, synflow))
        trained = tuple(Rung((0.9 - number / 10,), (0.5,), training_losses=(loss,)) for loss in losses)
        return Trial(archs[number].id, archs[number].factors, State.WAITING, (*scored, *trained), round=len(trained))

    first = [trial(0, 4.0, 1.0), trial(1, 3.0, 3.5), trial(2, 2.0, 3.0), trial(3, 9.0, math.inf)]
    assert screen.sort(0, first) == [first[1], first[0], first[2]]  # ranks 3+1, 2+3, 1+2
    losses = [2.0, 0.7, math.nan, 0.9]
    second = [trial(number, 4.0 - number, 1.0, loss) for number, loss in enumerate(losses)]
    assert screen.sort(1, [*second, first[3]]) == [second[1], second[0], second[3], second[2]]  # 4+2, 3+4, 2+1, 1+3


def test_the_last_rung_is_the_search_itself_where_none_is_named() -> None:
    last = _screen("steps=10%:10%", num_seeds=2).stages[-1]
    assert (last.scored_by, last.num_seeds, last.keep) == (RECIPE, 2, None)


@pytest.mark.parametrize("name", SCREENS)
def test_screens_by_name_cut_to_a_tenth_or_fewer(name: str) -> None:
    counts = _screen(name).count_archs(720)
    assert counts == sorted(counts, reverse=True)
    assert 720 // 50 <= counts[-1] <= 720 // 10


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("halfing", "unknown screen 'halfing': did you mean 'halving'?"),
        ("naswat:20%", "'naswat': did you mean 'naswot'?"),
        ("naswot:20%,step=40:5", "'step': did you mean 'steps'?"),
        ("naswot:20%,naswot", "rung 'naswot' is the last one and trains nothing; write naswot:25%"),
        ("steps=40,seeds=5", "rung 'steps=40' does not say how many go on; write steps=40:25%"),
        ("steps=40:0", "rung 'steps=40:0': '0' is no share; write a percentage like 5%, up to 100%, or a number"),
        ("steps=40:250%", "'250%' is no share"),
        ("steps=²:5%", "steps='²' of rung"),
        ("steps=40+steps=80:5%", "rung 'steps=40+steps=80:5%' has steps twice; give it once"),
        ("steps=0:5%", "steps='0' of rung 'steps=0:5%': write a whole number above 0"),
        ("steps=40+epochs=2:5%", "has both steps and epochs; leave one of them out"),
        ("steps=80:5%,steps=40:5%", "rung 'steps=80:5%' has 80 updates an architecture, the next one 40: each must be"),
        ("steps=160+seeds=5:5%", "has 800 updates an architecture, the next one 800"),
        ("steps=80:50%,synflow:50%,steps=40:5%", "rung 'steps=80:50%' has 80 updates an architecture, the next one 40"),
        ("naswot:20%,az-nas:9,naswot+az-nas:5", "rung 'naswot+az-nas:5' measures nothing that no rung before it has"),
        ("steps=40+lr=-1:9", "rung 'steps=40+lr=-1:9': invalid setting recipe.lr='-1'"),
        ("steps=40+schedule=cosin:9", "rung 'steps=40+schedule=cosin:9': invalid setting recipe.schedule='cosin'"),
        ("steps=40+augmentation=nonsens:9", "'nonsens'"),
        ("steps=40+momentum=0.5:9", "unknown setting of rung 'steps=40+momentum=0.5:9' 'momentum'"),
        ("naswot:20%,steps=40+tsee:9", "'tsee': did you mean 'tse'?"),
        ("naswot:20%,steps=40+tse", "rung 'steps=40+tse' is the last one, and ranks by accuracy; leave tse out"),
    ],
)
def test_what_is_written_otherwise_is_refused(text: str, problem: str) -> None:
    with pytest.raises(SettingsError) as error:
        _screen(text)
    assert problem in str(error.value)


def _measure(arch: Arch, number: int, earlier: Trial | None, screen: Screen) -> Trial:
    """Fixed scores of every architecture and rung; some fail in the second one."""
    rungs = earlier.rungs if earlier else ()
    if number == 1 and Random(arch.id).random() < 0.1:
        return Trial(arch.id, arch.factors, State.FAILED, rungs, round=number)
    scores = [(Random(f"{arch.id} {number} {part}").random(),) for part in range(screen.stages[number].num_rungs)]
    state = State.COMPLETE if number == len(screen.stages) - 1 else State.WAITING
    return Trial(arch.id, arch.factors, state, (*rungs, *(Rung(score, score) for score in scores)), round=number)


def _schedule(space: SearchSpace, screen: Screen, done: Iterable[Trial] = (), strategy: str = "grid") -> Schedule:
    archs = space.archs()
    return make_schedule(
        strategy, space, archs,
        num_archs=len(archs), size_of=lambda arch: 1.0, seed=0, round_size=4, screen=screen, done=done,
    )  # fmt: skip


def _run(
    schedule: Schedule, screen: Screen, workers: int = 1, stop: int = 10**6, done: Sequence[Trial] = ()
) -> list[Trial]:
    """Works through a schedule, the latest started ending first; the records when so many measurements were made."""
    records = {trial.arch_id: trial for trial in done}
    busy: list[Trial] = []
    while stop:
        answer = schedule.next() if len(busy) < workers else Signal.WAIT
        records |= {trial.arch_id: trial for trial in schedule.take_pruned()}
        if isinstance(answer, Arch):
            busy.append(_measure(answer, schedule.round, records.get(answer.id), screen))
        elif busy:
            trial = busy.pop()
            schedule.finish(trial)
            records[trial.arch_id] = trial
            stop -= 1
        else:
            assert answer is Signal.END
            break
    return list(records.values())


SCREEN = _screen("az-nas:50%,steps=40:30%,steps=80:50%")


def test_a_rung_keeps_the_best_of_those_before_it(mini_space: SearchSpace) -> None:
    trials = {trial.arch_id: trial for trial in _run(_schedule(mini_space, SCREEN), SCREEN)}
    first = [trial.rungs[:4] for trial in trials.values()]
    by_four = average_ranks([[rungs[part].selection_scores[0] for rungs in first] for part in range(4)], is_log=True)
    kept = {arch_id for _, arch_id in sorted(zip(-by_four, trials, strict=True))[:12]}
    assert {arch_id for arch_id, trial in trials.items() if trial.round > 0} == kept
    second = [trial for trial in trials.values() if len(trial.rungs) >= 5]
    third = {trial.arch_id for trial in sorted(second, key=lambda trial: trial.rungs[4].selection_scores)[-3:]}
    assert {trial.arch_id for trial in second if len(trial.rungs) >= 6} == third
    (place, arch_id), *_ = sorted((t.place, t.arch_id) for t in second if t.place is not None and t.round == 1)
    assert place == 4
    reason = "cut after rung 2 of 4, steps=40:30%: 4 of 10"
    assert trials[arch_id].reason == reason


@pytest.mark.parametrize("strategy", ["grid", "random"])
def test_neither_workers_nor_interruptions_change_what_is_cut(mini_space: SearchSpace, strategy: str) -> None:
    whole = {trial.arch_id: trial for trial in _run(_schedule(mini_space, SCREEN, strategy=strategy), SCREEN)}
    assert len(whole) == len(mini_space.archs())
    assert {trial.state for trial in whole.values()} == {State.COMPLETE, State.PRUNED, State.FAILED}
    by_seven = _run(_schedule(mini_space, SCREEN, strategy=strategy), SCREEN, workers=7)
    assert {trial.arch_id: trial for trial in by_seven} == whole
    for stop in range(1, 45):
        part = _run(_schedule(mini_space, SCREEN, strategy=strategy), SCREEN, workers=3, stop=stop)
        rest = _run(_schedule(mini_space, SCREEN, part, strategy), SCREEN, workers=2, done=part)
        assert {trial.arch_id: trial for trial in rest} == whole


def test_a_screen_that_begins_no_more_goes_on_with_those_that_were_begun(mini_space: SearchSpace) -> None:
    schedule = _schedule(mini_space, SCREEN)
    begun = _run(schedule, SCREEN, stop=9)
    schedule.begin_no_more()
    trials = _run(schedule, SCREEN, done=begun)
    assert {trial.arch_id for trial in trials} == {trial.arch_id for trial in begun}
    assert sum(trial.round > 0 for trial in trials) == 5
    assert {trial.state for trial in trials} >= {State.COMPLETE, State.PRUNED}
    resumed = _schedule(mini_space, SCREEN, begun)
    resumed.begin_no_more()
    assert {trial.arch_id: trial for trial in _run(resumed, SCREEN, done=begun)} == {t.arch_id: t for t in trials}


def test_what_was_lost_is_measured_in_its_own_rung_again_and_takes_no_place(mini_space: SearchSpace) -> None:
    whole = {trial.arch_id: trial for trial in _run(_schedule(mini_space, SCREEN), SCREEN)}
    winner = max((t for t in whole.values() if t.state is State.COMPLETE), key=lambda trial: trial.selection_score)
    lost = replace(winner, state=State.LOST, rungs=winner.rungs[:4], round=1)
    done = [lost if trial is winner else trial for trial in whole.values()]
    again = {trial.arch_id: trial for trial in _run(_schedule(mini_space, SCREEN, done), SCREEN, done=done)}
    assert again == whole


def test_a_screen_cuts_among_all_so_no_strategy_that_learns_can_have_one(mini_space: SearchSpace) -> None:
    with pytest.raises(SettingsError, match="use --strategy random"):
        _schedule(mini_space, SCREEN, strategy="tpe")


@pytest.fixture(scope="module")
def proxy(digits: ImageData) -> ProxySet:
    return condense(digits, "random", images_per_class=5)


def _measured(trials: Trials) -> dict[str, tuple[object, ...]]:
    """What must not depend on who measured it."""
    return {t.arch_id: (t.state, t.rungs, t.round, t.place, t.reason) for t in trials}


@pytest.mark.usefixtures("local_ray")
def test_a_search_in_rungs_measures_what_searches_of_each_rung_do(
    mini_space: SearchSpace, proxy: ProxySet, digits: ImageData, tmp_path: Path
) -> None:
    """Real training on a real Ray, stopped after the first and in the second rung, gone on with from the file."""
    settings = {**QUICK, "screen": "naswot:50%,steps=2:50%,seeds=1:3", "num_archs": 12}
    whole = search(mini_space, proxy, digits, **{**settings, "workers": 2})
    states = [trial.state for trial in whole.ranked()]
    assert not {*states[:3]} & {State.PRUNED, State.WAITING, State.FAILED}
    assert states[3:] == [State.PRUNED] * 9
    assert [len(trial.rungs) for trial in whole.ranked()] == [4] * 3 + [2] * 3 + [1] * 6

    ids = [trial.arch_id for trial in whole]
    naswot = search(mini_space, "naswot", digits, archs=ids)
    for trial in whole:
        assert trial.rungs[0].metric == "naswot"
        assert trial.rungs[0].selection_scores == naswot.by_id[trial.arch_id].selection_scores
    kept = [trial.arch_id for trial in whole if len(trial.rungs) == 4]
    alone = search(mini_space, proxy, digits, **QUICK, archs=kept)
    for trial in alone:
        assert whole.by_id[trial.arch_id].rungs[-1] == trial.rungs[-1]
        assert whole.by_id[trial.arch_id].loss_curve == pytest.approx(trial.loss_curve)
        assert whole.by_id[trial.arch_id].rungs[-2].selection_scores == trial.selection_scores[:1]

    url = sqlite_url(tmp_path / "study.db")
    plan = plan_search(mini_space, proxy, digits, config_from_overrides(proxy, settings))
    store = create_store(plan.describe("run"), mini_space.factors, url)
    for stop in (3, 9, 10**6):
        left = [stop]

        def stop_then(trial: Trial, left: list[int] = left) -> None:
            left[0] -= 1
            if left[0] == 0:
                raise InterruptedError

        store = open_store("run", url, expected=plan.describe("run"))
        if stop < 100:
            with pytest.raises(InterruptedError):
                run_plan(plan, store, on_trial=stop_then)
        else:
            assert _measured(run_plan(plan, store)) == _measured(whole)
    assert _measured(open_store("run", url).trials()) == _measured(whole)

    study = optuna.load_study(study_name="run", storage=url)
    assert len(study.trials) == 12
    complete = [t for t in study.trials if t.state is optuna.trial.TrialState.COMPLETE]
    assert sorted(t.user_attrs["arch_id"] for t in complete) == sorted(kept)
    for frozen in complete:
        trial = whole.by_id[frozen.user_attrs["arch_id"]]
        assert frozen.intermediate_values == {
            2: trial.rungs[1].selection_scores[0], 4: trial.rungs[2].selection_scores[0], 12: trial.selection_score,
        }  # fmt: skip
    assert study.best_trial.user_attrs["arch_id"] == whole.best.arch_id  # type: ignore[union-attr]
    cut = [t for t in study.trials if t.state is optuna.trial.TrialState.PRUNED]
    assert {t.user_attrs["state"] for t in cut} == {"pruned"}
    assert len(cut) == 9

    frame = trials_frame(whole)
    assert frame["rung"].tolist() == [4] * 3 + [2] * 3 + [1] * 6
    assert frame["val_accuracy"].notna().tolist() == [True] * 6 + [False] * 6
    assert frame["rank"].tolist() == list(range(1, 13))


def _trial(arch_id: str, state: State, *scores: float, place: int | None = None) -> Trial:
    return Trial(arch_id, {}, state, tuple(Rung((score,), (score,)) for score in scores), place=place)


def test_places_of_what_was_cut_are_behind_those_of_what_went_on(searched: Trials) -> None:
    placed = by_place(searched)
    scores = {trial.arch_id: trial.selection_score for trial in placed if trial.is_ranked}
    assert scores == pytest.approx({"b": 1.0, "a": 0.7, "c": 0.7, "d": 0.4, "e": 0.2})
    assert (placed.info.score_name, placed.info.has_accuracies) == ("place in the screen", False)
    assert by_place(placed) == placed
    assert [trial.arch_id for trial in to_the_end(searched)] == ["a", "b", "c", "f"]
    assert to_the_end(placed) is placed
    with pytest.raises(InputError, match="a screen has cut some early; search without one"):
        by_signal(searched, RankedBy.CROSS_ENTROPY)


def test_what_waits_in_a_rung_is_before_what_was_cut_after_it_and_behind_what_is_further(searched: Trials) -> None:
    items = (
        _trial("cut", State.PRUNED, 300.0, 0.95, place=3),
        _trial("first", State.PRUNED, 310.0, place=9),
        _trial("waits", State.WAITING, 200.0, 0.8),
        _trial("best", State.WAITING, 200.0, 0.9),
        _trial("lost", State.LOST, 900.0, 0.99),
    )
    unfinished = replace(searched, items=items)
    assert [trial.arch_id for trial in unfinished.ranked()] == ["best", "waits", "cut", "first", "lost"]
    assert unfinished.top(2) == ["best", "waits"]
    assert unfinished.best is None
    scores = {trial.arch_id: trial.selection_score for trial in by_place(unfinished) if trial.is_ranked}
    assert scores == {"best": 1.0, "waits": 0.75, "cut": 0.5, "first": 0.25}
    assert (items[4].selection_scores, items[4].num_seeds) == ((), 0)
    assert Quantity.of(unfinished).values == scores


def test_a_table_of_a_screened_search_is_a_truth_of_what_went_on_alone(searched: Trials, tmp_path: Path) -> None:
    write_table(trials_frame(replace(searched, info=replace(searched.info, screen=("x",)))), tmp_path / "trials.csv")
    assert sorted(trial.arch_id for trial in read_truth(tmp_path / "trials.csv")) == ["a", "b", "c"]
    assert sorted(trial.arch_id for trial in read_scores(tmp_path / "trials.csv", "score")) == ["a", "b", "c"]


def test_the_last_rung_is_what_the_record_says_nets_were_trained_by(
    mini_space: SearchSpace, proxy: ProxySet, digits: ImageData
) -> None:
    settings = {**QUICK, "screen": "naswot:50%,steps=2+seeds=2"}
    info = plan_search(mini_space, proxy, digits, config_from_overrides(proxy, settings)).describe("x")
    assert (info.recipe["steps"], info.num_seeds) == (2, 2)
    assert info.screen == ("naswot:50%", "steps=2+seeds=2")
    plain = plan_search(mini_space, proxy, digits, config_from_overrides(proxy, QUICK)).describe("x")
    assert not replace(plain, recipe=info.recipe, num_seeds=2).is_of_method(info)


def test_seeds_of_another_schedule_are_not_taken_for_those_of_this_one(
    mini_space: SearchSpace, proxy: ProxySet, digits: ImageData
) -> None:
    def first_seeds(screen: str) -> list[int]:
        plan = plan_search(mini_space, proxy, digits, config_from_overrides(proxy, {**QUICK, "screen": screen}))
        return [measurements[0].first_seed for measurements in plan.make_job().stages]

    assert first_seeds("seeds=1:50%,seeds=2:50%") == [0, 1, 2]
    assert first_seeds("steps=2:50%,seeds=2:50%") == [0, 0, 2]
    assert first_seeds("seeds=1:50%,steps=2+seeds=3:50%") == [0, 0, 0]


@pytest.fixture
def searched(truth_of_six: Trials) -> Trials:
    items = (
        _trial("a", State.COMPLETE, 300.0, 0.2, 0.7),
        _trial("b", State.COMPLETE, 200.0, 0.3, 0.8),
        _trial("c", State.AT_CHANCE, 100.0, 0.4, 0.7),
        _trial("d", State.PRUNED, 90.0, 0.99, place=4),
        _trial("e", State.PRUNED, 80.0, place=5),
        _trial("f", State.FAILED),
    )
    return replace(truth_of_six, items=items, info=replace(truth_of_six.info, name="screened"))


@pytest.fixture
def truth_of_six(truth: Trials) -> Trials:
    accuracies = {"a": 0.5, "b": 0.9, "c": 0.6, "d": 0.4, "e": 0.3, "f": 0.2}
    return replace(truth, items=tuple(_trial(name, State.COMPLETE, value) for name, value in accuracies.items()))


def test_a_search_with_a_screen_is_compared_by_place(searched: Trials, truth_of_six: Trials) -> None:
    (ranking,) = compare_trials([searched], truth_of_six).rankings
    assert ranking.num_archs == 5
    assert ranking.metric == "place in the screen"
    assert ranking.spearman.value == pytest.approx(0.9746794, abs=1e-6)
    assert math.isclose(ranking.regret.value or 0.0, 0.0)
