"""Whether a few architectures carry a correlation: against brute force, and by simulation."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from benchmarks.statistics import draw
from nasproxy.ranking import diagnose, sample_stratified
from nasproxy.ranking.diagnosis import Diagnosis


def _alarms(case: str, num_archs: int, spread: float, num_draws: int) -> float:
    rng, found = np.random.default_rng(5), []
    for seed in range(num_draws):
        (proxy,), truth = draw(case, num_archs, (spread,), rng)
        found.append(diagnose(proxy, truth, seed=seed).is_carried_by_few)
    return float(np.mean(found))


@pytest.mark.parametrize("spread", [0.37, 0.8, 2.2, 100], ids=lambda spread: f"spread {spread}")
@pytest.mark.parametrize("num_archs", [20, 60])
def test_normal_scores_are_quiet(num_archs: int, spread: float) -> None:
    """From rho 0.9 to 0; 0.5 % at a standard error of 0.6 %."""
    assert _alarms("normal", num_archs, spread, 150) <= 0.02


def test_a_stratified_sample_of_normal_scores_is_quiet() -> None:
    rng, found = np.random.default_rng(5), []
    for seed in range(60):
        (proxy,), truth = draw("normal", 720, (0.8,), rng)
        chosen, weights = sample_stratified(proxy, 60, seed=seed)
        found.append(diagnose(proxy[chosen], truth[chosen], weights=weights).is_carried_by_few)
    assert np.mean(found) <= 0.04


@pytest.mark.parametrize(("num_archs", "least"), [(36, 0.55), (60, 0.75)])
def test_a_few_misjudged_architectures_are_loud(num_archs: int, least: float) -> None:
    """As long as a sample has any: 16 % of samples of 36 have none."""
    assert _alarms("misjudged", num_archs, 0.1, 60) > least


def test_the_misjudged_architectures_are_named_the_worst_one_leading() -> None:
    rng = np.random.default_rng(0)
    truth = np.sort(rng.normal(size=40))
    proxy = truth + 0.2 * rng.normal(size=40)
    assert not diagnose(proxy, truth).is_carried_by_few
    proxy[[0, 33]] = 9, -9
    found = diagnose(proxy, truth)
    p, t = (stats.norm.ppf((stats.rankdata(scores) - 0.5) / 40) for scores in (proxy, truth))
    squares = (p - t) ** 2
    assert found.worst == (0, 33)
    assert found.share == pytest.approx(squares[[0, 33]].sum() / squares.sum())
    assert found.p_value == 0.001
    others = np.delete(np.arange(40), [0, 33])
    assert found.value_without == pytest.approx(stats.spearmanr(proxy[others], truth[others]).statistic)


def test_a_weight_is_as_many_architectures() -> None:
    """Each of weight 2 stands for a pair that ties; the worst 5 % are then the same."""
    rng = np.random.default_rng(0)
    truth = rng.normal(size=40)
    proxy = truth + 0.3 * rng.normal(size=40)
    once, twice = diagnose(proxy, truth, weights=np.full(40, 2.0)), diagnose(np.tile(proxy, 2), np.tile(truth, 2))
    assert once.share == pytest.approx(twice.share)
    assert once.value_without == pytest.approx(twice.value_without)
    assert once == diagnose(proxy, truth)
    light = np.ones(40)
    light[once.worst[0]] = 1e-3
    assert once.worst[0] not in diagnose(proxy, truth, weights=light).worst


def test_seeds_are_averaged_and_ties_are_no_alarm() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(60, 3))
    proxy = np.maximum(truth.mean(axis=1), 0) + 0.3 * rng.normal(size=60).round()
    assert diagnose(proxy, truth) == diagnose(proxy, truth.mean(axis=1))
    assert not diagnose(proxy, truth).is_carried_by_few


@pytest.mark.parametrize(
    ("proxy", "truth"),
    [
        (np.arange(9.0), np.arange(9.0) % 5),
        (np.arange(12.0), np.ones(12)),
        (np.arange(12.0), np.arange(12.0) ** 3),
    ],
    ids=["few", "constant", "perfect"],
)
def test_what_cannot_be_looked_at_has_no_figures(proxy: NDArray[np.float64], truth: NDArray[np.float64]) -> None:
    assert diagnose(proxy, truth) == Diagnosis(None, None, None, ())
    assert not diagnose(proxy, truth).is_carried_by_few


def test_a_reversed_order_has_figures() -> None:
    found = diagnose(np.arange(20), -np.arange(20))
    assert found.share is not None
    assert np.isfinite(found.share)


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match="same architectures"):
        diagnose(np.arange(12), np.arange(13))
    with pytest.raises(ValueError, match="positive"):
        diagnose(np.arange(12), np.arange(12), weights=np.zeros(12))
