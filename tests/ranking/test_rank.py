import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from nasproxy.ranking import Estimate, correlate, select_top

Array = NDArray[np.float64]


def _scores(num_archs: int, *, rho: float = 0.7, seed: int = 0) -> tuple[Array, Array]:
    """Two normal scores whose correlation in the limit is `rho`."""
    x, noise = np.random.default_rng(seed).normal(size=(2, num_archs))
    return x, rho * x + np.sqrt(1 - rho**2) * noise


def _width(result: Estimate) -> float:
    assert result.low is not None
    assert result.high is not None
    return result.high - result.low


@pytest.mark.parametrize("tied", [False, True], ids=["no ties", "ties"])
@pytest.mark.parametrize("rho", [0.7, 0.0, -0.7])
def test_value_is_that_of_scipy(rho: float, tied: bool) -> None:
    x, y = _scores(20, rho=rho)
    if tied:
        x, y = x.round(0), y.round(0)
        assert len(np.unique(x)) < 10
    spearman, kendall = correlate(x, y), correlate(x, y, kind="kendall")
    assert spearman.value == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-12)
    assert kendall.value == pytest.approx(stats.kendalltau(x, y).statistic, abs=1e-12)
    assert (spearman.num_archs, kendall.num_archs) == (20, 20)


@pytest.mark.parametrize("kind", ["spearman", "kendall"])
@pytest.mark.parametrize("sign", [1, -1])
def test_perfect_relation_has_the_value_of_its_sign_and_is_no_certainty(kind: str, sign: int) -> None:
    x = np.arange(12.0)
    result = correlate(x, sign * np.exp(x), kind=kind)
    assert result.value == pytest.approx(sign)
    assert result.low is not None
    assert result.high is not None
    inner, outer = sorted((result.low, result.high), key=abs)
    assert outer == result.value
    assert 0.8 < abs(inner) < 1
    assert result.note is None


def test_anti_correlation_keeps_its_sign() -> None:
    x, y = _scores(40, rho=0.8)
    result = correlate(x, -y)
    assert result.value is not None
    assert result.value < -0.4
    assert result.value == pytest.approx(-stats.spearmanr(x, y).statistic)
    assert result.high is not None
    assert result.high < 0


@pytest.mark.parametrize("kind", ["spearman", "kendall"])
def test_interval_contains_the_value_and_widens_with_fewer_archs(kind: str) -> None:
    x, y = _scores(60)
    results = [correlate(x[:count], y[:count], kind=kind) for count in (8, 20, 60)]
    for result in results:
        assert result.value is not None
        assert result.low is not None
        assert result.high is not None
        assert -1 <= result.low <= result.value <= result.high <= 1
    assert _width(results[0]) > _width(results[1]) > _width(results[2])


def test_interval_at_36_archs_is_about_that_of_the_science() -> None:
    """Science, section 2: at n = 36 the 95 % interval of 0.76 is [0.56, 0.88]."""
    results = []
    for seed in range(400):
        x, y = _scores(36, rho=0.77, seed=seed)
        if abs(float(stats.spearmanr(x, y).statistic) - 0.76) < 0.01:
            results.append(correlate(x, y))
    assert len(results) > 10
    lows, highs = [result.low for result in results], [result.high for result in results]
    assert np.mean(np.asarray(lows, dtype=float)) == pytest.approx(0.56, abs=0.07)
    assert np.mean(np.asarray(highs, dtype=float)) == pytest.approx(0.88, abs=0.04)


def test_interval_of_unrelated_scores_mostly_covers_zero() -> None:
    results = [correlate(*_scores(36, rho=0, seed=seed)) for seed in range(40)]
    covering = sum(result.low < 0 < result.high for result in results if result.low is not None and result.high)
    assert covering >= 33


def test_lists_are_arrays_and_nothing_is_drawn() -> None:
    x, y = _scores(20)
    assert correlate(x, y) == correlate(list(x), list(y))


def test_few_archs_with_many_ties_have_a_finite_interval() -> None:
    """Many resamples hold one arch only, or equal scores."""
    for kind in ("spearman", "kendall"):
        result = correlate([1, 1, 2], [1, 2, 2], kind=kind)
        assert result.value == pytest.approx(0.5)
        assert result.low is not None
        assert result.high is not None
        assert -1 <= result.low <= 0.5 <= result.high <= 1


@pytest.mark.parametrize(
    ("proxy", "truth", "note"),
    [
        ([], [], "0 architecture(s): too few, at least 3"),
        ([1, 2], [1, 2], "2 architecture(s): too few, at least 3"),
        ([5, 5, 5], [1, 2, 3], "all proxy scores are equal"),
        ([1, 2, 3], [0.5, 0.5, 0.5], "all truth scores are equal"),
    ],
)
@pytest.mark.parametrize("kind", ["spearman", "kendall"])
def test_undefined_correlation_says_why(proxy: list[float], truth: list[float], note: str, kind: str) -> None:
    assert correlate(proxy, truth, kind=kind) == Estimate(None, None, None, len(proxy), note=note)


@pytest.mark.parametrize(
    ("proxy", "truth", "kind", "problem"),
    [
        ([1, 2, np.nan], [1, 2, 3], "spearman", "finite"),
        ([1, 2, 3], [1, 2, -np.inf], "kendall", "finite"),
        ([np.nan], [1], "spearman", "finite"),
        ([1, 2, 3], [1, 2], "spearman", r"shapes \(3,\) and \(2,\)"),
        ([[[1, 2, 3]]], [1], "spearman", r"shape \(A,\) or \(A, S\), not \(1, 1, 3\)"),
        ([1, 2, 3], [1, 2, 3], "pearson", "unknown kind 'pearson'; choose from spearman, kendall"),
    ],
)
def test_scores_that_cannot_be_correlated_are_refused(
    proxy: list[float], truth: list[float], kind: str, problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        correlate(proxy, truth, kind=kind)


@pytest.mark.parametrize(
    ("scores", "fraction", "chosen"),
    [
        ([0.1, 0.9, 0.5, 0.7], 0.5, [1, 3]),
        ([0.1, 0.9, 0.5, 0.7], 0.51, [1, 3, 2]),
        ([0.1, 0.9, 0.5, 0.7], 1.0, [1, 3, 2, 0]),
        ([0.1, 0.9], 0.01, [1]),
        ([0.5, 0.9, 0.5, 0.5], 0.75, [1, 0, 2]),
        ([0.5], 0.001, [0]),
    ],
)
def test_select_top_takes_the_best_rounded_up_ties_in_order(
    scores: list[float], fraction: float, chosen: list[int]
) -> None:
    assert select_top(scores, fraction).tolist() == chosen


@pytest.mark.parametrize(("percent", "total"), [(5, 720), (7, 100), (28, 100), (5, 140)])
def test_select_top_of_a_whole_number_is_not_rounded_up(percent: int, total: int) -> None:
    assert len(select_top(np.arange(total), percent / 100)) == percent * total // 100
