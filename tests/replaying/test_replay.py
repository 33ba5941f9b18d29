"""Replayed searches against loops written by hand, on twelve architectures."""

import math
from collections.abc import Sequence
from dataclasses import replace
from random import Random

import numpy as np
import pytest

from nasproxy.errors import InputError, NasproxyError, SettingsError
from nasproxy.replaying import Fidelity, Replay, Replays, replay
from nasproxy.searching.schedule import make_schedule
from nasproxy.seeding import derive_seed
from nasproxy.space import Arch, SearchSpace
from nasproxy.trials import ProxyKind, Rung, SearchInfo, State, Trial, Trials

SPACE = SearchSpace("tiny", {"a": (1, 2, 3, 4), "b": ("x", "y", "z")}, "no.module:build", "{a}{b}")
IDS = [arch.id for arch in SPACE.archs()]


def make_table(name: str, num_seeds: int = 1, ids: Sequence[str] = IDS, digits: int = 2) -> Trials:
    """Accuracies of few digits, so that some are equal."""
    draw = Random(name)
    items = []
    for number, arch_id in enumerate(ids):
        seeds = num_seeds if number % 3 else 1
        val, test = ([round(0.5 + 0.4 * draw.random(), digits) for _ in range(seeds)] for _ in range(2))
        items.append(Trial(arch_id, {}, State.COMPLETE, (Rung(tuple(val), tuple(test)),), flops=draw.randrange(9)))
    return Trials(SearchInfo(name=name, proxy=name, kind=ProxyKind.TABLE, num_seeds=num_seeds), tuple(items))


SCORES, SEEDED, TRUTH = make_table("scores"), make_table("seeded", 3), make_table("truth", 2, digits=4)


def true_of(arch_id: str) -> float:
    return TRUTH.by_id[arch_id].evaluation_score


def regrets_of_prefixes(order: Sequence[str], scores: dict[str, float]) -> list[float]:
    best = max(map(true_of, IDS))
    picks = [min(order[:count], key=lambda arch_id: (-scores[arch_id], arch_id)) for count in range(1, len(order) + 1)]
    return [best - true_of(pick) for pick in picks]


def drawn_scores(table: Trials, repetition: int, seed: int = 0) -> dict[str, float]:
    draws = np.random.default_rng(derive_seed(seed, "replay scores", table.name, repetition)).random(len(IDS))
    rows = [table.by_id[arch_id].selection_scores for arch_id in IDS]
    return {arch_id: row[int(draw * len(row))] for arch_id, row, draw in zip(IDS, rows, draws, strict=True)}


def order_of_random(repetition: int, num_archs: int, seed: int = 0) -> list[str]:
    return [arch.id for arch in SPACE.shuffled(derive_seed(seed, "replay", repetition))[:num_archs]]


@pytest.mark.parametrize("table", [SCORES, SEEDED], ids=["one seed", "three seeds"])
def test_random_is_the_loop_that_everybody_would_write(table: Trials) -> None:
    found = replay(SPACE, table, TRUTH, "random", num_archs=7, repetitions=13, seed=3)
    for repetition in range(13):
        scores = {arch_id: table.by_id[arch_id].selection_score for arch_id in IDS}
        if table is SEEDED:
            scores = drawn_scores(table, repetition, seed=3)
        expected = regrets_of_prefixes(order_of_random(repetition, 7, seed=3), scores)
        assert found.regrets[repetition] == pytest.approx(expected)
    assert found.costs.tolist() == [1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize("strategy", ["tpe", "grid", "random"])
def test_a_repetition_is_a_search_by_the_real_schedule(strategy: str) -> None:
    found = replay(SPACE, SEEDED, TRUTH, strategy, num_archs=11, repetitions=2, round_size=3)
    for repetition in range(2):
        scores = drawn_scores(SEEDED, repetition)
        schedule = make_schedule(
            strategy, SPACE, SPACE.archs(), num_archs=11, seed=derive_seed(0, "replay", repetition), round_size=3,
            size_of=lambda arch: SEEDED.by_id[arch.id].flops or 0,
        )  # fmt: skip
        order = []
        while isinstance(arch := schedule.next(), Arch):
            order.append(arch.id)
            rung = Rung((scores[arch.id],), (0.0,))
            schedule.finish(Trial(arch.id, arch.factors, State.COMPLETE, (rung,), round=schedule.round))
        assert found.regrets[repetition] == pytest.approx(regrets_of_prefixes(order, scores))


def test_halving_is_the_loop_that_everybody_would_write() -> None:
    middle = make_table("middle", 2)
    fidelities = [Fidelity(SCORES, 1), Fidelity(middle, 3), Fidelity(SEEDED, 10)]
    found = replay(SPACE, fidelities, TRUTH, "halving", num_archs=12, repetitions=6, eta=2.5)
    best = max(map(true_of, IDS))
    for repetition in range(6):
        tables = [
            {arch_id: SCORES.by_id[arch_id].selection_score for arch_id in IDS},
            drawn_scores(middle, repetition),
            drawn_scores(SEEDED, repetition),
        ]
        for count in range(1, 13):
            left, cost = order_of_random(repetition, count), count
            for scores, price in zip(tables, (3, 10), strict=False):
                ranked = sorted((-scores[arch_id], arch_id) for arch_id in left)
                left = [arch_id for _, arch_id in ranked[: math.ceil(len(left) / 2.5)]]
                cost += price * len(left)
            pick = min(left, key=lambda arch_id: (-tables[-1][arch_id], arch_id))
            assert found.regrets[repetition, count - 1] == pytest.approx(best - true_of(pick))
            assert found.costs[count - 1] == cost


def test_each_table_of_halving_takes_the_same_share_where_nobody_says_otherwise() -> None:
    found = replay(SPACE, [Fidelity(SCORES, 12), Fidelity(SEEDED, 48)], TRUTH, "halving", num_archs=8, repetitions=1)
    assert found.costs.tolist() == [60, 72, 84, 96, 156, 168, 180, 192]


def test_an_exhaustive_grid_loses_what_the_table_does() -> None:
    found = replay(SPACE, SCORES, TRUTH, "grid", num_archs=100, repetitions=50)
    assert found.regrets.shape == (1, 12)
    assert found.regrets[0, -1] == pytest.approx(max(map(true_of, IDS)) - true_of(SCORES.top(1)[0]))
    assert math.isnan(found.standard_error[0])


def test_grid_is_repeated_where_seeds_are_drawn() -> None:
    found = replay(SPACE, SEEDED, TRUTH, "grid", repetitions=50)
    assert found.num_repetitions == 50
    assert found.regrets.std(axis=0).max() > 0


def test_scores_that_are_the_truth_lose_nothing_in_the_end_and_never_more_than_before() -> None:
    perfect = replace(
        TRUTH,
        items=tuple(replace(t, rungs=(Rung((t.evaluation_score,), (t.evaluation_score,)),)) for t in TRUTH),
    )
    for strategy in ("tpe", "random", "grid"):
        regrets = replay(SPACE, perfect, TRUTH, strategy, num_archs=12, repetitions=3).regrets
        assert (regrets[:, -1] == 0).all()
        assert (np.diff(regrets, axis=1) <= 0).all()


def test_what_a_repetition_is_shown_does_not_depend_on_strategy_or_other_tables() -> None:
    """The scores of architectures stay the same when some of them lose their truth."""
    some = replace(TRUTH, items=TRUTH.items[4:])
    found = replay(SPACE, SEEDED, some, "random", num_archs=12, repetitions=5)
    assert found.num_known == 8
    best = max(map(true_of, IDS[4:]))
    for repetition in range(5):
        scores = drawn_scores(SEEDED, repetition)
        pick = min(IDS[4:], key=lambda arch_id: (-scores[arch_id], arch_id))
        assert found.regrets[repetition, -1] == pytest.approx(best - true_of(pick))


def test_mean_band_and_error_are_over_repetitions() -> None:
    found = replay(SPACE, SCORES, TRUTH, "random", num_archs=5, repetitions=40)
    assert found.mean == pytest.approx(found.regrets.mean(axis=0))
    low, high = found.band()
    assert low == pytest.approx(np.quantile(found.regrets, 0.05, axis=0))
    assert high == pytest.approx(np.quantile(found.regrets, 0.95, axis=0))
    assert found.standard_error == pytest.approx(found.regrets.std(axis=0, ddof=1) / math.sqrt(40))
    assert found.best_arch == max(IDS, key=true_of)
    assert found.best_accuracy == true_of(found.best_arch)


def test_repetitions_are_the_same_however_many_and_by_however_many_processes() -> None:
    told: list[tuple[int, int]] = []
    alone = replay(SPACE, SEEDED, TRUTH, "tpe", num_archs=12, repetitions=25, round_size=4,
                   on_progress=lambda done, total: told.append((done, total)))  # fmt: skip
    assert told == [(10, 25), (20, 25), (25, 25)]
    shared = replay(SPACE, SEEDED, TRUTH, "tpe", num_archs=12, repetitions=25, round_size=4, num_processes=2)
    fewer = replay(SPACE, SEEDED, TRUTH, "tpe", num_archs=12, repetitions=9, round_size=4)
    assert (shared.regrets == alone.regrets).all()
    assert (fewer.regrets == alone.regrets[:9]).all()
    assert len({tuple(row) for row in alone.regrets.tolist()}) > 1


def test_curves_are_compared_at_budgets() -> None:
    cheap = replay(SPACE, [Fidelity(SCORES, 12)], TRUTH, "random", num_archs=10, repetitions=2)
    dear = replay(SPACE, [Fidelity(SEEDED, 200)], TRUTH, "random", num_archs=10, repetitions=2)
    assert [cheap.at(cost) for cost in (11, 12, 35, 36, 120, 121)] == [None, 0, 1, 2, 9, None]
    assert Replays((cheap, dear)).budgets() == [20, 50, 100, 500, 1000, 2000]
    assert Replays((dear,)).budgets(2) == [200, 2000]


def _check_error(kind: type[NasproxyError], words: str, make: "dict[str, object]") -> None:
    arguments = {"scores": SCORES, "truth": TRUTH, "strategy": "random"} | make
    with pytest.raises(kind, match=words) as caught:
        replay(SPACE, arguments.pop("scores"), arguments.pop("truth"), arguments.pop("strategy"), **arguments)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


STRANGERS = make_table("strangers", ids=["q", "r"])
NO_ACCURACIES = replace(TRUTH, info=replace(TRUTH.info, score_name="synflow"))


@pytest.mark.parametrize(
    ("kind", "words", "make"),
    [
        (InputError, "scores strangers and truth truth have no architecture of space tiny", {"scores": STRANGERS}),
        (SettingsError, "unknown strategy 'halvign': did you mean 'halving'", {"strategy": "halvign"}),
        (SettingsError, "num_archs=0 .* give 1 or more", {"num_archs": 0}),
        (SettingsError, "repetitions=-1 .* give 1 or more", {"repetitions": -1}),
        (SettingsError, "num_processes=0 .* give 1 or more", {"num_processes": 0}),
        (SettingsError, "'halving' goes by several tables, of rising cost, not by 1", {"strategy": "halving"}),
        (SettingsError, "'random' goes by one table, not by 2", {"scores": [Fidelity(SCORES), Fidelity(SEEDED)]}),
        (SettingsError, "do not rise",
         {"scores": [Fidelity(SCORES, 2), Fidelity(SEEDED, 2)], "strategy": "halving"}),
        (SettingsError, r"costs \[-1\]: a score costs something", {"scores": [Fidelity(SCORES, -1)]}),
        (SettingsError, "eta=1 halves nothing", {"eta": 1}),
        (SettingsError, "truth truth has synflow scores", {"truth": NO_ACCURACIES}),
    ],
)  # fmt: skip
def test_what_cannot_be_replayed_is_one_line(kind: type[NasproxyError], words: str, make: dict[str, object]) -> None:
    _check_error(kind, words, make)


def test_a_replay_is_named_after_its_strategy_and_tables() -> None:
    found: Replay = replay(SPACE, [Fidelity(SCORES), Fidelity(SEEDED, 2)], TRUTH, "halving", repetitions=1)
    assert found.label == "halving, scores > seeded"
