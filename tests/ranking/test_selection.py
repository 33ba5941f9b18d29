"""The best of a ranking, samples of it, effects of factors, and proxies combined."""

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from sklearn.linear_model import RidgeCV

from nasproxy import ranking
from nasproxy.factors import FactorValue
from nasproxy.ranking import Estimate, combination

Array = NDArray[np.float64]


def _orders(scores: Array) -> list[tuple[int, ...]]:
    """All rankings, best first, that agree with scores; brute force."""
    return [
        order
        for order in itertools.permutations(range(len(scores)))
        if all(scores[a] >= scores[b] for a, b in itertools.pairwise(order))
    ]


TIED = [
    (np.array([3.0, 1, 3, 2, 3, 0]), np.array([0.5, 0.9, 0.7, 0.7, 0.2, 0.4])),
    (np.array([1.0, 1, 1, 1, 1, 1]), np.array([0.5, 0.9, 0.7, 0.7, 0.2, 0.4])),
    (np.array([6.0, 5, 4, 3, 2, 1]), np.array([0.1, 0.2, 0.2, 0.3, 0.4, 0.4])),
]


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6])
@pytest.mark.parametrize(("proxy", "truth"), TIED)
def test_ties_are_the_mean_over_all_orders(proxy: Array, truth: Array, count: int) -> None:
    by_proxy, by_truth = _orders(proxy), _orders(truth)
    shared = [len(set(a[:count]) & set(b[:count])) / count for a in by_proxy for b in by_truth]
    lost = [truth.max() - truth[list(order[:count])].max() for order in by_proxy]
    assert ranking.precision_at(proxy, truth, count).value == pytest.approx(np.mean(shared))
    assert ranking.regret_at(proxy, truth, count).value == pytest.approx(np.mean(lost))
    assert ranking.regret_curve(proxy, truth)[count - 1] == pytest.approx(np.mean(lost))


def test_random_regret_is_the_mean_over_all_subsets() -> None:
    truth = np.array([0.5, 0.9, 0.7, 0.7, 0.2, 0.4])
    expected = [np.mean([0.9 - max(chosen) for chosen in itertools.combinations(truth, k)]) for k in range(1, 7)]
    assert ranking.random_regret_curve(truth) == pytest.approx(np.array(expected), abs=1e-12)


def test_regret_curve_of_a_whole_space_falls_to_zero() -> None:
    proxy, truth = np.random.default_rng(0).normal(size=(2, 720)).round(1)
    for curve in (ranking.regret_curve(proxy, truth), ranking.random_regret_curve(truth)):
        assert curve.shape == (720,)
        assert np.diff(curve).max() < 1e-9
        assert curve[-1] == 0
    assert ranking.regret_curve(truth, truth)[0] == 0


def test_selection_has_an_interval_around_its_value() -> None:
    proxy, truth = np.random.default_rng(0).normal(size=(2, 40, 3))
    for estimate in (ranking.precision_at(proxy, truth, 8), ranking.regret_at(proxy, truth, 8)):
        assert estimate.value is not None
        assert estimate.low is not None
        assert estimate.high is not None
        assert 0 <= estimate.low <= estimate.value <= estimate.high
        assert estimate.low < estimate.high
        assert estimate.num_archs == 40


def test_interval_of_regret_has_the_noise_of_the_seeds_in_it() -> None:
    """A proxy that agrees with the means over seeds loses nothing, as measured; by other seeds it may."""
    rng = np.random.default_rng(6)
    truth = rng.normal(size=(40, 1)) + 0.8 * rng.normal(size=(40, 3))
    means = truth.mean(axis=1)
    for one_seed in (means, means[:, None]):
        assert ranking.regret_at(means, one_seed, 1).high == pytest.approx(0, abs=1e-12)
    with_seeds = ranking.regret_at(means, truth, 1)
    assert (with_seeds.value, with_seeds.low) == (0, 0)
    assert (with_seeds.high or 0.0) > 0.3


def test_regret_by_noise_needs_seeds_and_falls_with_the_number_trained() -> None:
    truth = np.random.default_rng(0).normal(size=(20, 3))
    values = [ranking.noise_regret(truth, count).value for count in (1, 5, 20)]
    assert values[0] is not None
    assert values[1] is not None
    assert values[0] > values[1] > 0
    assert values[2] == 0
    assert ranking.noise_regret(truth[:, :1], 1) == Estimate(None, None, None, 20, note="one seed")
    assert ranking.noise_regret(truth[:, 0], 1) == Estimate(0, 0, 0, 20, note="without seed noise")


def test_whole_space_selected_has_precision_one_and_no_regret() -> None:
    proxy, truth = np.random.default_rng(0).normal(size=(2, 12))
    for count in (12, 99):
        assert ranking.precision_at(proxy, truth, count) == Estimate(1, 1, 1, 12)
        assert ranking.regret_at(proxy, truth, count) == Estimate(0, 0, 0, 12)


def test_selection_at_its_edges() -> None:
    assert ranking.precision_at([], [], 1).note == "0 architecture(s): none to select"
    assert ranking.regret_at([1], [0.5], 1) == Estimate(0, 0, 0, 1)
    assert len(ranking.regret_curve([], [])) == len(ranking.random_regret_curve([])) == 0
    for function in (ranking.precision_at, ranking.regret_at):
        with pytest.raises(ValueError, match="count=0 selects nothing"):
            function([1, 2], [1, 2], 0)


# --- weights -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("proxy", "truth"), TIED)
def test_precision_with_weights_of_one_is_that_without(proxy: Array, truth: Array) -> None:
    for count in (1, 2, 5, 9):
        assert ranking.precision_at(proxy, truth, count, weights=np.ones(6)) == ranking.precision_at(
            proxy, truth, count
        )


@pytest.mark.parametrize("count", [1, 2, 4, 7, 12, 13, 99])
@pytest.mark.parametrize(("proxy", "truth"), TIED)
def test_precision_with_whole_weights_is_that_of_repeated_archs(proxy: Array, truth: Array, count: int) -> None:
    """Copies tie with each other, by proxy and by truth; an architecture's weight at the border is shared likewise."""
    weights = np.array([3, 1, 2, 1, 2, 4])
    expected = ranking.precision_at(np.repeat(proxy, weights), np.repeat(truth, weights), count).value
    assert ranking.precision_at(proxy, truth, count, weights=weights).value == pytest.approx(expected)


def test_precision_takes_what_fits_of_the_weight_at_the_border() -> None:
    """Of 4 places the proxy gives 2.5 to its first and 1.5 to its second, the truth's first (3 of 4)."""
    assert ranking.precision_at([3, 2, 1], [1, 3, 2], 4, weights=[2.5, 3, 4.5]).value == pytest.approx(1.5 / 4)
    assert ranking.precision_at([3, 2, 1], [1, 2, 3], 4, weights=[2.5, 3, 4.5]).value == 0


def test_precision_depends_on_the_fraction_of_the_space_alone() -> None:
    proxy, truth = np.random.default_rng(0).normal(size=(2, 20))
    weights = np.linspace(1, 3, 20)
    assert ranking.precision_at(proxy, truth, 16, weights=2 * weights) == ranking.precision_at(
        proxy, truth, 8, weights=weights
    )


def test_whole_weight_selected_has_precision_one() -> None:
    proxy, truth, weights = np.random.default_rng(0).uniform(1, 5, size=(3, 12))
    estimate = ranking.precision_at(proxy, truth, 61, weights=weights)
    assert [estimate.value, estimate.low, estimate.high] == pytest.approx([1, 1, 1])
    assert estimate.high is not None
    assert estimate.high <= 1


def test_precision_refuses_bad_weights() -> None:
    with pytest.raises(ValueError, match=r"shape \(2,\)"):
        ranking.precision_at([1, 2], [1, 2], 1, weights=[1])
    with pytest.raises(ValueError, match="positive"):
        ranking.precision_at([1, 2], [1, 2], 1, weights=[1, 0])


# --- samples -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("num_samples", [1, 3, 5, 6, 20, 72, 300, 719])
def test_sample_stands_for_every_arch_of_its_stratum(num_samples: int) -> None:
    scores = np.random.default_rng(0).normal(size=720)
    indices, weights = ranking.sample_stratified(scores, num_samples)
    assert len(indices) == len(weights) == len(set(indices.tolist())) == num_samples
    assert weights.sum() == pytest.approx(720)
    assert weights.min() >= 1


@pytest.mark.parametrize("num_archs", [3, 9, 720])
def test_samples_are_nested(num_archs: int) -> None:
    scores = np.random.default_rng(0).normal(size=num_archs).round(1)  # some tie
    whole, _ = ranking.sample_stratified(scores, num_archs)
    for num_samples in {1, 2, 4, 5, 6, 7, 36, 72, 719} & set(range(num_archs)):
        indices, weights = ranking.sample_stratified(scores, num_samples)
        assert indices.tolist() == whole[:num_samples].tolist()
        assert weights.sum() == pytest.approx(num_archs)


def test_top_fifth_gets_twice_the_share() -> None:
    scores = np.arange(100.0)
    indices, weights = ranking.sample_stratified(scores, 24)
    assert np.bincount(indices // 20).tolist() == [4, 4, 4, 4, 8]
    assert weights == pytest.approx(np.where(indices >= 80, 20 / 8, 5.0))
    indices, weights = ranking.sample_stratified(scores, 80)
    assert np.bincount(indices // 20).tolist() == [15, 15, 15, 15, 20]
    assert weights[indices >= 80] == pytest.approx(1)


def test_sample_of_everything_and_of_few() -> None:
    for num_samples in (3, 10):
        indices, weights = ranking.sample_stratified([0.3, 0.1, 0.2], num_samples)
        assert (sorted(indices.tolist()), weights.tolist()) == ([0, 1, 2], [1, 1, 1])
    assert ranking.sample_stratified([0.3, 0.1, 0.2], 2)[1].sum() == 3
    with pytest.raises(ValueError, match="num_samples=0 draws nothing"):
        ranking.sample_stratified([1, 2], 0)


def test_sample_derives_from_its_seed() -> None:
    scores = np.zeros(50)
    draws = [ranking.sample_stratified(scores, 10, seed=seed)[0].tolist() for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]


def test_the_top_of_a_weighted_sample_holds_its_share_of_the_weight() -> None:
    scores, weights = [1.0, 5.0, 3.0, 4.0, 2.0], [20.0, 2.0, 10.0, 3.0, 15.0]
    for fraction, chosen in ((0.01, [1]), (0.04, [1]), (0.1, [1, 3]), (0.11, [1, 3, 2]), (1.0, [1, 3, 2, 4, 0])):
        assert ranking.select_top(scores, fraction, weights=weights).tolist() == chosen
    many = np.random.default_rng(0).normal(size=100)
    for percent in range(1, 101):
        plain, weighted = (ranking.select_top(many, percent / 100, weights=w) for w in (None, np.full(100, 64.61)))
        assert plain.tolist() == weighted.tolist()


def test_ranks_of_a_weighted_sample_are_those_of_what_it_stands_for() -> None:
    scores, counts = np.random.default_rng(0).normal(size=(2, 6)).round(1), np.array([1, 4, 2, 3, 1, 5])
    repeated = ranking.average_ranks(np.repeat(scores, counts, axis=1)) - 0.5 / counts.sum()
    weighted = ranking.average_ranks(scores, weights=counts) - 0.5 / 6
    assert np.repeat(weighted, counts) == pytest.approx(repeated)
    assert ranking.average_ranks(scores, weights=np.full(6, 2.5)) == pytest.approx(ranking.average_ranks(scores))


# --- effects -----------------------------------------------------------------------------------------------------


def test_effects_of_a_full_factorial_are_marginal_means() -> None:
    rows = list(itertools.product([32, 64, 128], ["none", "max"], [1, 2, 3, 4]))
    factors = {name: [row[i] for row in rows] for i, name in enumerate(("width", "pooling", "depth"))}
    scores = np.random.default_rng(0).normal(size=len(rows))
    effects = ranking.factor_effects(factors, scores)
    assert list(effects) == ["width", "pooling", "depth"]
    for name, levels in factors.items():
        for level, effect in effects[name].items():
            mean = scores[[value == level for value in levels]].mean()
            assert effect.value == pytest.approx(mean - scores.mean())


def test_effects_of_a_subset_are_those_of_least_squares() -> None:
    rng = np.random.default_rng(1)
    widths, norms = rng.choice([32, 64], size=30), rng.choice(["batch", "none"], size=30)
    x, z = np.where(widths == 32, 1.0, -1.0), np.where(norms == "batch", 1.0, -1.0)
    scores = 0.3 * x - 0.1 * z + 0.05 * rng.normal(size=30)
    effect = ranking.factor_effects({"width": widths.tolist(), "norm": norms.tolist()}, scores)["width"][32]
    design = np.stack([np.ones(30), x, z], axis=1)
    beta, residual, *_ = np.linalg.lstsq(design, scores, rcond=None)
    error = np.sqrt(residual[0] / 27 * np.linalg.inv(design.T @ design)[1, 1])
    half = stats.t.ppf(0.975, 27) * error
    assert [effect.value, effect.low, effect.high] == pytest.approx([beta[1], beta[1] - half, beta[1] + half])


def test_effects_that_the_archs_do_not_determine_have_a_note() -> None:
    factors: dict[str, list[FactorValue]] = {
        "width": [1, 1, 2, 2, 1],
        "norm": ["a", "a", "b", "b", "a"],
        "depth": [1, 2, 1, 2, 1],
        "same": [0] * 5,
    }
    effects = ranking.factor_effects(factors, [0.1, 0.2, 0.3, 0.4, 0.1])
    assert set(effects) == {"width", "norm", "depth"}
    unknown = Estimate(None, None, None, 5, note="not determined by these architectures")
    assert effects["width"] == {1: unknown, 2: unknown}
    assert effects["depth"][2].value == pytest.approx(0.05)
    lone = ranking.factor_effects({"width": [1, 2]}, [0.1, 0.3])["width"][2]
    assert lone.value == pytest.approx(0.1)
    assert (lone.low, lone.note) == (None, "no architecture to spare for an interval")


def test_effects_refuse_a_factor_of_another_length() -> None:
    with pytest.raises(ValueError, match="factor width has 2 levels for 3 scores"):
        ranking.factor_effects({"width": [1, 2]}, [1, 2, 3])


# --- combinations ------------------------------------------------------------------------------------------------


def test_average_ranks_are_means_of_mid_ranks() -> None:
    scores = np.array([[0.1, 0.3, 0.2, 0.3], [5, 1, 2, 3]])
    assert ranking.average_ranks(scores) == pytest.approx([(1 + 4) / 8, (3.5 + 1) / 8, (2 + 2) / 8, (3.5 + 3) / 8])


def test_combination_finds_the_proxy_that_works_and_predicts_the_others() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=120)
    scores = np.stack([truth + 0.3 * rng.normal(size=120), *rng.normal(size=(4, 120))])
    known = np.where(np.arange(120) < 60, truth, np.nan)
    fitted = ranking.fit_combination(scores, known)
    assert fitted.num_truth == 60
    assert np.argmax(fitted.weights) == 0
    for part in (slice(0, 60), slice(60, 120)):
        predicted = stats.spearmanr(fitted.predictions[part], truth[part]).statistic
        average = stats.spearmanr(ranking.average_ranks(scores)[part], truth[part]).statistic
        assert predicted > max(average, 0.85)
    assert fitted == ranking.fit_combination(scores, known)


@pytest.mark.parametrize("seed", range(3))
def test_fits_are_those_of_scikit_learn(seed: int) -> None:
    """RidgeCV leaves out an architecture with all of its weight."""
    rng = np.random.default_rng(seed)
    x, target = rng.normal(size=(30, 4)), rng.normal(size=30)
    counts = np.stack([np.ones(30), rng.multinomial(30, np.full(30, 1 / 30))]).astype(float)
    found = combination._fit(x, target, counts)
    for weights, count in zip(found, counts, strict=True):
        ridge = RidgeCV(alphas=combination.PENALTIES, fit_intercept=False)
        ridge.fit(x, target - x.mean(axis=1), sample_weight=count)
        assert weights == pytest.approx(1 / 4 + ridge.coef_)


def test_error_of_a_fit_falls_with_the_architectures_that_it_has() -> None:
    rng = np.random.default_rng(3)
    errors = []
    for num_archs in (20, 60, 240):
        truth = rng.normal(size=num_archs)
        scores = np.stack([truth + rng.normal(size=num_archs), *rng.normal(size=(8, num_archs))])
        errors.append(ranking.fit_combination(scores, truth).error)
    assert 0.4 > errors[0] > 0.1 > errors[1] > errors[2] > 0


def test_interval_of_a_fit_has_its_error_in_it() -> None:
    rng = np.random.default_rng(4)
    truth = rng.normal(size=30)
    for kind, share in (("spearman", 1), ("kendall", 2 / 3)):
        given = ranking.correlate(truth + rng.normal(size=30), truth, kind=kind)
        assert ranking.include_fit(given, 0.0, kind=kind) == given
        wider = ranking.include_fit(given, 0.2, kind=kind)
        z = np.arctanh(np.array([[e.low, e.value, e.high] for e in (given, wider)], dtype=float))
        assert np.diff(z[1]) == pytest.approx(np.hypot(np.diff(z[0]), 1.96 * 0.2 * share), rel=1e-3)
    few = ranking.correlate([1, 2], [1, 2])
    assert ranking.include_fit(few, 0.2) == few
    assert ranking.include_fit(ranking.correlate(truth, truth), 0.2).high == 1


def test_prediction_of_an_arch_with_a_truth_does_not_see_it() -> None:
    rng = np.random.default_rng(1)
    truth, scores = rng.normal(size=24), rng.normal(size=(3, 24))
    fitted = ranking.fit_combination(scores, truth)
    ranks = stats.norm.ppf((stats.rankdata(scores, axis=1) - 0.5) / 24)
    in_sample = np.asarray(fitted.weights) @ ranks
    assert not np.allclose(in_sample, fitted.predictions)


@pytest.mark.parametrize(
    ("scores", "truth", "problem"),
    [
        (
            np.ones((2, 9)),
            [*range(7), np.nan, np.nan],
            "7 architectures have a truth, too few to fit to; train at least 20",
        ),
        (np.ones((2, 9)), [1.0] * 8, r"shape \(9,\)"),
        (np.ones(9), [1.0] * 9, r"shape \(P, A\)"),
        (np.full((2, 9), np.nan), [1.0] * 9, "scores must be finite"),
        (np.ones((2, 9)), [np.inf] * 9, "truth must be finite"),
    ],
)
def test_combination_refuses_what_it_cannot_fit(scores: Array, truth: list[float], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        ranking.fit_combination(scores, truth)
