"""Statistics of a ranking against independent computations, and at their edges."""

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from nasproxy import ranking
from nasproxy.ranking import Difference, Estimate, correlate
from nasproxy.ranking.jackknife import CORRELATIONS, centred_ranks, spearman_value
from nasproxy.ranking.swapping import swap_terms

Array = NDArray[np.float64]


def _draw(num_archs: int, num_seeds: int, *, noise: float = 0.5, seed: int = 0) -> tuple[Array, Array]:
    """Scores (A, S) of proxy and truth: related true scores and noise of the seeds."""
    rng = np.random.default_rng(seed)
    true = rng.normal(size=num_archs)
    related = 0.8 * true + 0.6 * rng.normal(size=num_archs)
    first, second = (base[:, None] + noise * rng.normal(size=(num_archs, num_seeds)) for base in (true, related))
    return first, second


def _ends(estimate: Estimate) -> tuple[float, float, float]:
    """Value, low and high of an estimate that has all three, in order."""
    assert estimate.value is not None
    assert estimate.low is not None
    assert estimate.high is not None
    assert estimate.low <= estimate.value <= estimate.high
    return estimate.value, estimate.low, estimate.high


# --- correlations ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "reference"), [("spearman", stats.spearmanr), ("kendall", stats.kendalltau)])
@pytest.mark.parametrize("decimals", [8, 0], ids=["no ties", "ties"])
def test_leave_one_out_values_are_those_without_each_arch(kind: str, reference: object, decimals: int) -> None:
    x, y = (scores[:, 0].round(decimals) for scores in _draw(15, 1))
    value, without = CORRELATIONS[kind](x, y, np.ones(15))
    assert callable(reference)
    assert value == pytest.approx(reference(x, y).statistic)
    expected = [reference(np.delete(x, i), np.delete(y, i)).statistic for i in range(15)]
    assert without == pytest.approx(np.array(expected))


@pytest.mark.parametrize("kind", ["spearman", "kendall"])
def test_whole_weights_are_repeated_archs(kind: str) -> None:
    x, y = (scores[:, 0] for scores in _draw(12, 1))
    weights = np.random.default_rng(1).integers(1, 4, size=12)
    repeated = np.repeat(np.arange(12), weights)
    expected = correlate(x[repeated], y[repeated], kind=kind).value
    result = correlate(x, y, kind=kind, weights=weights)
    assert result.value == pytest.approx(expected)
    _ends(result)


def test_leave_one_out_of_weighted_scores_is_the_weighted_value_of_the_rest() -> None:
    x, y = (scores[:, 0].round(1) for scores in _draw(12, 1))
    weights = np.linspace(0.5, 3, 12)
    for jackknife in CORRELATIONS.values():
        without = jackknife(x, y, weights)[1]
        rest = [np.delete(np.arange(12), i) for i in range(12)]
        assert without == pytest.approx(np.array([jackknife(x[r], y[r], weights[r])[0] for r in rest]))


def test_equal_weights_weigh_nothing() -> None:
    x, y = _draw(30, 2)
    plain, weighted = correlate(x, y), correlate(x, y, weights=np.full(30, 7.0))
    assert _ends(weighted) == pytest.approx(_ends(plain))


def test_interval_is_that_of_its_formula() -> None:
    x, y = (scores[:, 0] for scores in _draw(25, 1))
    rho = stats.spearmanr(x, y).statistic
    without = np.array([stats.spearmanr(np.delete(x, i), np.delete(y, i)).statistic for i in range(25)])
    jackknife = math.sqrt(24 / 25 * ((without - without.mean()) ** 2).sum()) / (1 - rho**2)
    error = max(jackknife, math.sqrt((1 + rho**2 / 2) / 22))
    z = math.atanh(rho)
    expected = (rho, math.tanh(z - 1.959964 * error), math.tanh(z + 1.959964 * error))
    assert _ends(correlate(x, y)) == pytest.approx(expected, abs=1e-6)


def test_seeds_are_averaged_and_may_differ_in_number() -> None:
    x, y = _draw(20, 4)
    assert correlate(x[:, :3], y).value == pytest.approx(
        stats.spearmanr(x[:, :3].mean(axis=1), y.mean(axis=1)).statistic
    )
    assert correlate(x, y.mean(axis=1)) == correlate(x.mean(axis=1), y)


def test_three_archs_say_nothing_about_a_population() -> None:
    assert _ends(correlate([1, 2, 3], [1, 3, 2])) == (0.5, -1, 1)
    assert _ends(correlate([1, 2, 3], [1, 2, 3])) == (1, -1, 1)


@pytest.mark.parametrize(
    ("weights", "problem"), [([1, 2], r"shape \(3,\)"), ([1, 0, 2], "positive"), ([1, np.inf, 2], "finite")]
)
def test_bad_weights_are_refused(weights: list[float], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        correlate([1, 2, 3], [1, 2, 3], weights=weights)


def test_empty_seeds_are_refused() -> None:
    with pytest.raises(ValueError, match="no seed"):
        correlate(np.empty((3, 0)), [1, 2, 3])


# --- differences -------------------------------------------------------------------------------------------------


def test_difference_is_that_of_both_correlations_and_turns_with_them() -> None:
    first, truth = _draw(40, 3)
    second = first + np.random.default_rng(1).normal(size=first.shape)
    forth, back = (ranking.compare_correlations(a, b, truth) for a, b in ((first, second), (second, first)))
    values = [correlate(scores, truth).value for scores in (first, second)]
    assert values[0] is not None
    assert values[1] is not None
    value, low, high = _ends(forth)
    assert value == pytest.approx(values[0] - values[1])
    assert [-value, -high, -low] == pytest.approx(_ends(back))


@pytest.mark.parametrize("weights", [None, np.linspace(0.5, 3, 16)])
def test_terms_add_up_to_the_difference_after_any_swap_of_ranks(weights: Array | None) -> None:
    """Ranks are swapped, taken anew and correlated: what the terms say without doing it. No two ranks are equal."""
    w = np.ones(16) if weights is None else weights
    rng = np.random.default_rng(0)
    truth, *scores = rng.normal(size=(3, 16))
    ranks = [centred_ranks(row, w) for row in scores]
    terms = swap_terms(ranks[0], ranks[1], truth, w)
    for mask in [np.zeros(16, dtype=bool), *(rng.random((5, 16)) < 0.5)]:
        swapped = [np.where(mask, ranks[1 - side], ranks[side]) for side in (0, 1)]
        first, second = (spearman_value(row, truth, w) for row in swapped)
        gap = first - second
        assert np.where(mask, -1, 1) @ terms == pytest.approx(gap, abs=1e-9 if not mask.any() else 0.01)


def test_terms_of_whole_weights_are_sums_over_repeated_archs() -> None:
    (first, truth), second = (scores[:, 0].round(1) for scores in _draw(12, 1)), np.arange(12.0) % 5
    weights = np.random.default_rng(1).integers(1, 4, size=12)
    copies = np.repeat(np.arange(12), weights)
    repeated = swap_terms(first[copies], second[copies], truth[copies], np.ones(len(copies)))
    assert swap_terms(first, second, truth, weights.astype(float)) == pytest.approx(np.bincount(copies, repeated))


def test_interval_of_a_difference_excludes_zero_just_where_p_is_below_five_percent() -> None:
    seen = set()
    for seed in range(40):
        first, truth = (scores[:, 0] for scores in _draw(25, 1, seed=seed))
        second = first + np.random.default_rng(seed).normal(size=first.shape)
        result = ranking.compare_correlations(first, second, truth)
        _, low, high = _ends(result)
        assert result.p_value is not None
        assert (result.p_value < 0.05) == result.is_sure == (low > 0 or high < 0)
        seen.add(result.is_sure)
    assert seen == {True, False}


def test_p_value_is_that_of_all_swaps() -> None:
    """Of 2^10 sign changes of the terms, all carried out; but for the wider scale of a few architectures."""
    (first, truth), second = (scores[:, 0] for scores in _draw(10, 1, seed=3)), np.random.default_rng(1).normal(size=10)
    terms = swap_terms(first, second, truth, np.ones(10))
    signs = np.array(list(itertools.product([1, -1], repeat=10)))
    exact = np.mean(np.abs(signs @ terms) >= abs(terms.sum()) - 1e-12)
    p_value = ranking.compare_correlations(first, second, truth).p_value
    assert p_value is not None
    assert exact <= p_value <= exact + 0.12


def test_a_difference_derives_from_its_seed() -> None:
    (first, truth), second = (scores[:, 0] for scores in _draw(20, 1)), np.arange(20.0) % 7
    draws = [ranking.compare_correlations(first, second, truth, seed=seed) for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]
    assert draws[0].low == pytest.approx(draws[2].low, abs=0.03)


def test_adjusted_p_values_are_those_of_holm() -> None:
    assert ranking.adjust_p_values([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert ranking.adjust_p_values([0.9, 0.6]) == [1, 1]
    assert ranking.adjust_p_values([]) == []


# --- sets of a method --------------------------------------------------------------------------------------------


def test_a_method_of_one_set_is_that_set() -> None:
    first, truth = _draw(20, 2)
    second = first[::-1]
    assert ranking.correlate_sets([first], truth) == correlate(first, truth)
    assert ranking.compare_methods([first], [second], truth) == ranking.compare_correlations(first, second, truth)
    assert ranking.set_noise([[first], [second]], truth) is None
    with pytest.raises(ValueError, match="at least one set"):
        ranking.correlate_sets([], truth)


def test_a_method_of_several_sets_has_their_mean() -> None:
    (first, truth), (second, third) = _draw(30, 1), _draw(30, 1, seed=1)
    rhos = [correlate(scores, truth).value or 0.0 for scores in (first, second, third)]
    assert ranking.correlate_sets([first, second], truth).value == pytest.approx((rhos[0] + rhos[1]) / 2)
    difference = ranking.compare_methods([first, second], [third], truth)
    assert difference.value == pytest.approx((rhos[0] + rhos[1]) / 2 - rhos[2])


def test_noise_of_sets_is_pooled_and_widens_what_is_said_of_draws() -> None:
    (first, truth), (second, third) = _draw(40, 1), _draw(40, 1, seed=1)
    rhos = [correlate(scores, truth).value or 0.0 for scores in (first, second, third)]
    noise = ranking.set_noise([[first, second], [third], [second, third, first]], truth)
    assert noise is not None
    assert noise.num_free == 3
    assert noise.variance == pytest.approx((np.var(rhos[:2], ddof=1) + 2 * np.var(rhos, ddof=1)) / 3)
    assert 0 < noise.sampling_variance < noise.variance
    assert noise.deviation == pytest.approx(math.sqrt(noise.variance - noise.sampling_variance))
    widths = [
        _width(ranking.compare_methods([first, second], [third], truth, noise=known, are_drawn=drawn))
        for known, drawn in (
            (None, (True, True)),
            (noise, (False, False)),
            (noise, (True, False)),
            (noise, (True, True)),
        )
    ]
    assert widths[0] == pytest.approx(widths[1])
    assert widths[1] < widths[2] < widths[3]
    alone, among_sets = (_width(ranking.correlate_sets([second], truth, noise=known)) for known in (None, noise))
    assert alone < among_sets


def _width(estimate: Estimate) -> float:
    _, low, high = _ends(estimate)
    return high - low


def test_proxies_that_rank_alike_do_not_differ() -> None:
    first, truth = _draw(20, 1)
    for second in (first, np.exp(first)):
        result = ranking.compare_correlations(first, second, truth)
        assert result.value == 0
        assert [result.low, result.high] == pytest.approx([0, 0], abs=1e-9)


def test_a_perfect_proxy_and_a_reversed_one_differ_by_two() -> None:
    truth = np.arange(10.0)
    result = ranking.compare_correlations(truth, -truth, truth)
    value, low, _ = _ends(result)
    assert value == 2
    assert low > 0.3


@pytest.mark.parametrize(
    ("first", "second", "note"),
    [
        ([1, 2], [2, 1], "2 architecture(s): too few, at least 3"),
        ([1, 2, 3], [1, 1, 1], "all second proxy's scores are equal"),
    ],
)
def test_undefined_difference_says_why(first: list[float], second: list[float], note: str) -> None:
    result = ranking.compare_correlations(first, second, first)
    assert result == Difference(None, None, None, len(first), note=note)


def test_too_few_archs_have_a_difference_without_interval() -> None:
    result = ranking.compare_correlations([1, 2, 3], [1, 3, 2], [1, 2, 3])
    assert result == Difference(0.5, None, None, 3, note="3 architectures: too few for an interval")


# --- noise of seeds ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("num_seeds", "half"), [(2, 1), (3, 1), (4, 2), (5, 2)])
def test_reliability_is_the_stretched_mean_over_all_half_splits(num_seeds: int, half: int) -> None:
    scores, _ = _draw(20, num_seeds)
    correlations = [
        stats.spearmanr(scores[:, list(a)].mean(axis=1), scores[:, list(b)].mean(axis=1)).statistic
        for a in itertools.combinations(range(num_seeds), half)
        for b in itertools.combinations(range(num_seeds), half)
        if not set(a) & set(b)
    ]
    mean, factor = float(np.mean(correlations)), num_seeds / half
    expected = factor * mean / (1 + (factor - 1) * mean)
    assert _ends(ranking.reliability(scores))[0] == pytest.approx(expected)


def test_many_seeds_are_split_at_random_by_the_seed() -> None:
    scores, _ = _draw(20, 12)
    values = [_ends(ranking.reliability(scores, seed=seed))[0] for seed in (0, 0, 1)]
    assert values[0] == values[1] != values[2]
    assert values[0] == pytest.approx(values[2], abs=0.02)


@pytest.mark.parametrize("statistic", [ranking.reliability, ranking.ceiling])
def test_reliability_with_weights_of_one_is_that_without(statistic: Callable[..., Estimate]) -> None:
    scores, _ = _draw(20, 3)
    assert statistic(scores, weights=np.ones(20)) == statistic(scores)


@pytest.mark.parametrize("decimals", [8, 0], ids=["no ties", "ties"])
def test_reliability_with_whole_weights_is_that_of_repeated_archs(decimals: int) -> None:
    """Copies tie with each other in every half of the seeds; a weighted mid-rank is the mean rank of the copies."""
    scores = _draw(15, 3)[0].round(decimals)
    weights = np.random.default_rng(1).integers(1, 4, size=15)
    expected = ranking.reliability(np.repeat(scores, weights, axis=0)).value
    assert _ends(ranking.reliability(scores, weights=weights))[0] == pytest.approx(expected)


def test_interval_of_a_weighted_reliability_is_wider_where_few_archs_carry_the_weight() -> None:
    scores, _ = _draw(40, 2)
    widths = []
    for heavy in (1.0, 10.0):
        _, low, high = _ends(ranking.reliability(scores, weights=[1.0] * 30 + [heavy] * 10))
        widths.append(high - low)
    assert widths[0] < widths[1]


def _cut(scores: Array, num_seeds: int) -> Array:
    """Every second architecture has so many seeds only."""
    cut = scores.copy()
    cut[::2, num_seeds:] = np.nan
    return cut


def test_where_numbers_of_seeds_differ_the_ceiling_is_what_a_perfect_proxy_is_measured_at() -> None:
    measured, ceilings, in_halves = [], [], []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        true = rng.normal(size=200)
        scores = _cut(true[:, None] + 0.7 * rng.normal(size=(200, 5)), 2)
        measured.append(_ends(ranking.correlate(true, scores))[0])
        ceilings.append(_ends(ranking.ceiling(scores))[0])
        in_halves.append(_ends(ranking.ceiling(scores[:, :2]))[0])
    assert np.mean(ceilings) == pytest.approx(np.mean(measured), abs=0.01)
    assert np.mean(in_halves) < np.mean(measured) - 0.015


def test_architectures_of_one_seed_beside_others_take_part_in_no_half() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(60, 1)) + 0.3 * rng.normal(size=(60, 2))
    one = _cut(scores, 1)
    of_two = _ends(ranking.reliability(scores[1::2]))[0]
    half, factor = of_two / (2 - of_two), 4 / 3  # the harmonic mean of one seed and of two
    assert _ends(ranking.reliability(one))[0] == pytest.approx(factor * half / (1 + (factor - 1) * half))


def test_seeds_that_an_architecture_does_not_have_stand_at_the_end_of_its_row() -> None:
    truth = np.array([[1.0, 2, 3], [4, np.nan, np.nan], [5, 7, np.nan], [9, 9, 9]])
    means = ranking.correlate(np.arange(4.0), truth)
    assert means == ranking.correlate(np.arange(4.0), np.array([2.0, 4, 6, 9]))
    gone = np.nan
    for wrong in ([[gone, 1.0], [1, 1]], [[1, gone, 2.0], [1, 2, 3]], [[gone, gone], [1, 2]], [[1, np.inf], [1, 1]]):
        with pytest.raises(ValueError, match="must be finite"):
            ranking.reliability(np.array(wrong))


def test_reliability_at_its_edges() -> None:
    assert ranking.reliability(np.arange(5.0)) == Estimate(1, 1, 1, 5, note="without seed noise")
    assert ranking.reliability(np.ones((5, 1))) == Estimate(None, None, None, 5, note="one seed")
    assert ranking.reliability(np.ones((5, 2))) == Estimate(None, None, None, 5, note="all the scores are equal")
    assert ranking.reliability(np.ones((2, 2))).note == "2 architecture(s): too few, at least 3"
    assert ranking.ceiling(np.ones((5, 1))).value is None
    with pytest.raises(ValueError, match="positive"):
        ranking.reliability(np.arange(5.0), weights=[1, 1, 1, 1, -1])
    opposed = ranking.reliability(np.array([[1.0, 9], [2, 7], [3, 5], [4, 1]]))
    assert (opposed.value, opposed.low) == (0, 0)
    assert opposed.note == "halves of the seeds disagree"
