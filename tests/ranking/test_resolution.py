"""Whether accuracies tell architectures apart, by simulation and by hand."""

import numpy as np
import pytest
from numpy.typing import NDArray

from nasproxy.ranking import accuracy_intervals, answer_error, resolve


def draw(true: NDArray[np.float64], num_images: int, num_seeds: int, seed: int) -> NDArray[np.float64]:
    """(A, S) accuracies of nets that answer so many images."""
    counts = np.random.default_rng(seed).binomial(num_images, true[:, None], (len(true), num_seeds))
    return np.asarray(counts / num_images)


@pytest.mark.parametrize("num_seeds", [1, 3])
def test_equal_architectures_are_told_apart_in_one_experiment_of_twenty(num_seeds: int) -> None:
    found = [resolve(draw(np.full(24, 0.5), 100, num_seeds, seed), 100) for seed in range(400)]
    assert np.mean([resolution.is_enough for resolution in found]) <= 0.07
    assert found[0].image_error == pytest.approx(0.05, abs=0.005)
    if num_seeds > 1:
        assert np.mean([resolution.is_within_seeds for resolution in found]) == pytest.approx(0.95, abs=0.03)
        assert found[0].seed_error == pytest.approx(0.05 / 3**0.5, abs=0.006)


def test_architectures_that_differ_by_more_than_the_noise_are_told_apart() -> None:
    found = [resolve(draw(np.linspace(0.4, 0.7, 24), 100, 1, seed), 100) for seed in range(100)]
    assert np.mean([resolution.is_enough for resolution in found]) > 0.95


def test_images_and_seeds_are_judged_apart() -> None:
    true = np.linspace(0.88, 0.92, 20)[:, None] + np.random.default_rng(0).normal(0, 0.001, (20, 3))
    few, many = resolve(true, 100), resolve(true, 100_000)
    assert (few.is_within_images, few.is_within_seeds) == (True, False)
    assert many.is_enough
    noisy = np.full((20, 1), 0.9) + np.random.default_rng(0).normal(0, 0.05, (20, 3))
    assert resolve(noisy).is_within_seeds
    assert resolve(noisy).image_error is None


def test_what_is_not_known_forbids_nothing() -> None:
    one_seed = resolve(np.array([[0.1], [0.2], [0.3]]))
    assert (one_seed.is_enough, one_seed.image_error, one_seed.seed_error) == (True, None, None)
    assert resolve(np.array([[0.5]]), 10).is_enough


def test_equal_accuracies_are_not_told_apart() -> None:
    assert not resolve(np.ones((5, 1)), 10).is_enough
    assert not resolve(np.full((5, 2), 0.5)).is_enough


def test_the_error_of_an_answer_is_that_of_a_binomial() -> None:
    assert answer_error([0.5], 24) == pytest.approx(0.102, abs=0.001)


def test_an_interval_holds_the_accuracy_on_other_images() -> None:
    true = np.linspace(0.5, 0.98, 20)
    covered = [
        interval.low <= value <= interval.high
        for seed in range(100)
        for value, interval in zip(true, accuracy_intervals(draw(true, 200, 1, seed), 200), strict=True)
        if interval.low is not None and interval.high is not None
    ]
    assert len(covered) == 2000
    assert np.mean(covered) == pytest.approx(0.95, abs=0.025)


def test_an_interval_says_what_it_lacks() -> None:
    (none,), (images,), (both,) = (
        accuracy_intervals(np.array([[0.9]])),
        accuracy_intervals(np.array([[1.0]]), 100),
        accuracy_intervals(np.array([[0.9, 0.92]]), 100),
    )
    assert (none.low, none.note) == (None, "one seed, number of images not known")
    assert (images.high, images.note) == (1.0, "one seed")
    assert images.low == pytest.approx(1 - 4.56 / 100, abs=0.001)  # (102 ± 1.96·1.40) of 104
    assert both.note is None
