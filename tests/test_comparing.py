import math
import statistics
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from nasproxy.alignment import align, check_same_task
from nasproxy.comparing import OF_SAMPLE, PARTIAL, SAMPLED, UNIFORM, Comparison, Ranking, compare_trials, rank
from nasproxy.errors import InputError, SettingsError
from nasproxy.ranking import Estimate, adjust_p_values, correlate
from nasproxy.searching.sample import Quantity, draw_sample
from nasproxy.spacefile import load_space
from nasproxy.tables import (
    comparison_frame,
    rankings_frame,
    read_truth,
    trials_frame,
    write_table,
)
from nasproxy.trials import ProxyKind, Rung, SampleInfo, Trial, Trials
from tests.records import (
    INFO,
    TRUTH_INFO,
    make_failed,
    make_trial,
)
from tests.reporting.comparisons import make_info, make_trials


def test_training_free_scores_are_correlated_with_the_truths_test_accuracies(
    training_free: Trials, truth: Trials
) -> None:
    ranking = rank(training_free, truth, top=1.0)
    assert (ranking.metric, ranking.num_archs) == ("naswot", 3)
    expected = stats.spearmanr([1000.0, -5.0, 0.5], [0.85, 0.93, 0.70]).statistic
    assert ranking.spearman.value == pytest.approx(expected)
    assert ranking.top_spearman == ranking.spearman
    assert ranking.selected == "b"
    assert ranking.selected_truth_accuracy == 0.85
    assert (ranking.num_failed, ranking.num_not_finite, ranking.num_flagged) == (1, 1, 0)
    assert ranking.cost.search_seconds == 5 * 0.5 + 0.25


def test_an_arch_without_a_finite_score_is_in_no_correlation(training_free: Trials) -> None:
    truth = Trials(TRUTH_INFO, tuple(make_trial(name, (0.5,)) for name in "abcdef"))
    assert rank(training_free, truth).num_archs == 4
    assert training_free.top(9) == ["b", "d", "a", "c"]


def test_a_truth_without_accuracies_is_refused(proxy: Trials, training_free: Trials) -> None:
    problem = "digits-naswot has naswot scores, no accuracies; the truth is a search by 'whole'"
    with pytest.raises(SettingsError, match=problem):
        trials_frame(proxy, training_free)
    with pytest.raises(SettingsError, match="is a search by naswot, not by 'whole'"):
        rank(proxy, training_free)


@pytest.mark.parametrize("what", ["space", "space_hash", "data_hash", "split_hash"])
def test_runs_on_other_data_or_spaces_cannot_be_compared(what: str, proxy: Trials, truth: Trials) -> None:
    """A name decides only where nobody knows what it stands for."""
    changed: Any = {what: "another"} | ({"space_hash": ""} if what == "space" else {})
    other = replace(truth, info=replace(truth.info, **changed))
    problem = f"digits-search and digits-whole cannot be compared: their {what} differs .*and another"
    with pytest.raises(InputError, match=problem):
        check_same_task(proxy, other)
    with pytest.raises(InputError, match=problem):
        trials_frame(proxy, other)
    with pytest.raises(InputError, match=problem):
        rank(proxy, other)


def test_runs_with_other_proxies_recipes_and_names_can_be_compared(proxy: Trials, truth: Trials) -> None:
    other = replace(
        truth, info=replace(truth.info, recipe={"epochs": 1}, device="cuda", dataset="/copy", space="alias")
    )
    check_same_task(proxy, other)
    pd.testing.assert_frame_equal(trials_frame(proxy, other), trials_frame(proxy, truth))


def test_ranking_selects_by_validation_and_correlates_test_accuracies(ranking: Ranking) -> None:
    """By test, c is best; by validation, of those with a truth, b."""
    assert ranking.selected == "b"
    assert ranking.selected_truth_accuracy == 0.85
    assert ranking.num_archs == 3
    assert ranking.spearman.value == pytest.approx(stats.spearmanr([0.65, 0.9, 0.275], [0.85, 0.93, 0.70]).statistic)
    assert ranking.spearman.value == pytest.approx(1.0)
    assert ranking.kendall.value == pytest.approx(1.0)


def test_a_truth_that_is_no_full_training_is_refused(proxy: Trials) -> None:
    with pytest.raises(SettingsError, match="is a search by digits-dm, not by 'whole'"):
        rank(proxy, proxy)


def test_best_truth_is_over_all_archs_with_a_truth(ranking: Ranking) -> None:
    assert ranking.best_truth_accuracy == 0.99


@pytest.mark.parametrize(("top", "num_archs"), [(0.2, 0), (0.4, 1), (0.41, 2), (0.8, 3)])
def test_top_fraction_is_of_all_scored_archs_not_of_those_with_a_truth(
    top: float, num_archs: int, proxy: Trials, truth: Trials
) -> None:
    ranking = rank(proxy, truth, top=top)
    assert ranking.top_fraction == top
    assert ranking.top_spearman.num_archs == ranking.top_kendall.num_archs == num_archs
    assert (ranking.top_spearman.value is None) == (num_archs < 3)


def test_top_by_proxy_can_disagree_with_the_whole() -> None:
    """The proxy ranks well over all, backwards among its best."""
    proxy = Trials(INFO, tuple(make_trial(f"a{n}", (n / 20,)) for n in range(20)))
    truth = Trials(TRUTH_INFO, tuple(make_trial(f"a{n}", ((n if n < 15 else 34 - n) / 20,)) for n in range(20)))
    ranking = rank(proxy, truth, top=0.25)
    assert ranking.top_spearman.num_archs == 5
    assert ranking.top_spearman.value == pytest.approx(-1.0)
    assert ranking.spearman.value is not None
    assert ranking.spearman.value > 0.9
    assert ranking.selected == "a19"
    assert ranking.selected_truth_accuracy == 15 / 20


def test_ranking_counts_costs_failures_and_flags(ranking: Ranking) -> None:
    assert (ranking.name, ranking.label, ranking.metric) == ("digits-search", "digits-dm", "test accuracy")
    assert ranking.kind is ProxyKind.PROXY_SET
    assert (ranking.num_failed, ranking.num_not_finite, ranking.num_flagged) == (1, 0, 2)
    assert ranking.cost.search_seconds == 5 * 1.5 + 0.25
    assert (ranking.cost.condense_seconds, ranking.cost.num_stored_images) == (72.5, 500)
    assert (ranking.cost.num_images, ranking.cost.num_stored_numbers) == (2000, 128_000)


def test_truth_ranked_by_itself_is_perfect_and_makes_a_second_row(ranking: Ranking, truth: Trials) -> None:
    itself = rank(truth, truth, top=1.0)
    assert itself.spearman.value == pytest.approx(1.0)
    assert itself.top_spearman == itself.spearman
    assert itself.selected == "z"
    assert itself.selected_truth_accuracy == 0.97
    frame = rankings_frame([ranking, itself])
    assert frame["name"].tolist() == ["digits-search", "digits-whole"]
    assert frame["num_stored_images"].tolist() == [500, 1294]
    assert frame["num_archs"].tolist() == [3, 5]


@pytest.mark.parametrize(
    "items", [(), (make_failed("a"), make_failed("b")), (make_trial("f", (0.5,)), make_trial("z", (0.5,)))]
)
def test_ranking_without_a_common_scored_arch_is_an_input_error(items: tuple[Trial, ...], proxy: Trials) -> None:
    with pytest.raises(InputError, match="no scored architecture in common"):
        rank(proxy, Trials(TRUTH_INFO, items))


@pytest.mark.parametrize("top", [0.0, -0.1, 1.01, math.nan])
def test_top_that_is_no_fraction_is_refused(top: float, proxy: Trials, truth: Trials) -> None:
    with pytest.raises(SettingsError, match="is no fraction of the architectures"):
        rank(proxy, truth, top=top)


ARCHS = load_space("convnet-mini").archs()
"""24 architectures, a full factorial."""


def simulate(name: str, *, luck: float, seed: int, metric: str | None = None, num_seeds: int = 2) -> Trials:
    """Accuracies that grow with the place of the architecture in the space, but for luck."""
    generator = np.random.default_rng(seed)
    merit = np.linspace(0.4, 0.8, len(ARCHS)) + luck * generator.normal(size=len(ARCHS))
    scores = merit[:, None] + 0.01 * generator.normal(size=(len(ARCHS), num_seeds))
    proxy = "whole" if name == "truth" else name
    return make_trials(make_info(f"run-{name}", proxy, score_name=metric, num_seeds=num_seeds), ARCHS, scores)


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    """Given the worst first."""
    proxies = [
        simulate("noisy", luck=1.0, seed=1),
        simulate("free", luck=0.2, seed=2, metric="naswot", num_seeds=1),
        simulate("good", luck=0.05, seed=3),
    ]
    return compare_trials(proxies, simulate("truth", luck=0.02, seed=4), top=0.25)


def test_a_comparison_has_the_best_proxy_first_and_every_figure_of_rank(comparison: Comparison) -> None:
    assert [ranking.label for ranking in comparison.rankings] == ["good", "free", "noisy"]
    assert [trials.info.name for trials in comparison.proxies] == ["run-good", "run-free", "run-noisy"]
    alone = rank(comparison.proxies[0], comparison.truth, top=0.25)
    assert comparison.rankings[0] == alone
    assert (comparison.alignment.truth_for, comparison.alignment.num_scored) == ("all", 24)


def test_differences_are_those_of_the_correlations_and_antisymmetric(comparison: Comparison) -> None:
    rhos = [ranking.spearman.value or 0.0 for ranking in comparison.rankings]
    for row in range(3):
        for column in range(3):
            there, back = comparison.differences[row][column], comparison.differences[column][row]
            assert there.value == pytest.approx(rhos[row] - rhos[column])
            assert there.low is not None
            assert back.high == pytest.approx(-there.low)
    assert comparison.differences[0][0].value == 0
    assert comparison.differences[0][2].is_sure


def test_effects_of_a_full_factorial_are_differences_of_means(comparison: Comparison) -> None:
    true = {trial.arch_id: trial.evaluation_score for trial in comparison.truth}
    mean = statistics.fmean(true.values())
    effects = {effect.factor: effect for effect in comparison.factor_effects}
    assert set(effects) == {"depth", "norm", "activation", "pooling"}
    for name, effect in effects.items():
        for value, estimate in zip(effect.values, effect.truth, strict=True):
            own = [true[arch.id] for arch in ARCHS if arch.factors[name] == value]
            assert estimate.value == pytest.approx(statistics.fmean(own) - mean)
    depth = effects["depth"]
    for estimates in (depth.truth, depth.proxies[0]):
        best = max(range(3), key=lambda index: estimates[index].value or 0.0)
        assert depth.values[best] == 3


def test_one_proxy_twice_is_called_by_its_runs() -> None:
    first = simulate("good", luck=0.05, seed=3)
    longer = replace(first, info=replace(first.info, name="longer", recipe={"epochs": 9}))
    same = [replace(first, info=replace(first.info, name=name, set_seed=7)) for name in ("one", "again")]
    for pair in ([first, longer], same):
        comparison = compare_trials(pair, simulate("truth", luck=0.02, seed=4))
        names = {trials.name for trials in pair}
        assert {ranking.label for ranking in comparison.rankings} == names
        assert {method.label for method in comparison.methods} == names
        assert comparison.set_noise is None
    with pytest.raises(SettingsError, match="proxies of different names, not run-good, run-good"):
        compare_trials([first, first], comparison.truth)


def test_sets_of_a_method_are_judged_one_by_one_and_together() -> None:
    truth = simulate("truth", luck=0.02, seed=4)
    sets = [simulate("good", luck=luck, seed=seed) for luck, seed in ((0.05, 3), (0.3, 7))]
    sets = [replace(s, info=replace(s.info, name=f"run-{i}", set_seed=9 - i)) for i, s in enumerate(sets)]
    comparison = compare_trials([*sets, simulate("noisy", luck=1.0, seed=1)], truth)
    assert [(r.name, r.label) for r in comparison.rankings][:2] == [
        ("run-0", "good (set 2)"),
        ("run-1", "good (set 1)"),
    ]
    good, noisy = comparison.methods
    rhos = [comparison.rankings[index].spearman.value or 0.0 for index in good.members]
    assert [comparison.rankings[index].name for index in good.members] == ["run-1", "run-0"]
    assert good.spearman.value == pytest.approx(statistics.fmean(rhos))
    assert good.spread == pytest.approx(statistics.stdev(rhos))
    assert (noisy.members, noisy.spread) == ((2,), None)
    assert comparison.set_noise is not None
    assert comparison.set_noise.num_free == 1
    assert len(comparison.differences) == 2
    assert comparison.differences[0][1].value == pytest.approx(
        statistics.fmean(rhos) - (comparison.rankings[2].spearman.value or 0.0)
    )


def test_p_values_of_differences_are_adjusted_for_all_pairs(comparison: Comparison) -> None:
    pairs = [comparison.differences[row][column] for row, column in ((0, 1), (0, 2), (1, 2))]
    p_values = [pair.p_value or 0.0 for pair in pairs]
    assert [pair.adjusted_p_value for pair in pairs] == adjust_p_values(p_values)
    assert comparison.differences[2][0].adjusted_p_value == pairs[1].adjusted_p_value


def test_figures_of_a_truth_of_the_best_alone_say_that_they_are_not_of_the_space() -> None:
    proxy, truth = simulate("good", luck=0.1, seed=5), simulate("truth", luck=0.02, seed=4)
    best = replace(truth, items=tuple(trial for trial in truth if trial.arch_id in proxy.top(0.5)))
    ranking = rank(proxy, best)
    assert (ranking.num_archs, ranking.spearman.num_archs) == (12, 12)
    assert {ranking.spearman.note, ranking.kendall.note, ranking.precision.note, ranking.regret.note} == {PARTIAL}
    comparison = compare_trials([proxy, simulate("noisy", luck=1.0, seed=1)], best)
    assert comparison.alignment.truth_for == "some"
    assert comparison.differences[0][1].note == PARTIAL


def test_a_weighted_sample_counts_architectures_as_often_as_they_stand_for_others() -> None:
    proxy, truth = simulate("good", luck=0.1, seed=5), simulate("truth", luck=0.02, seed=4)
    sample = replace(truth, items=truth.items[:6] + truth.items[12:])
    even = dict.fromkeys((arch.id for arch in ARCHS), 2.0)
    steep = even | {trial.arch_id: 20.0 for trial in truth.items[:6]}
    noisy = simulate("noisy", luck=1.0, seed=1)
    plain, evenly, steeply = (
        compare_trials([proxy, noisy], sample, top=1 / 3, weights=weights) for weights in (None, even, steep)
    )
    for name in ("spearman", "kendall", "top_spearman", "precision"):
        values = [getattr(comparison.rankings[1], name) for comparison in (plain, evenly, steeply)]
        assert values[1].value == pytest.approx(values[0].value), name
        assert values[2].value != pytest.approx(values[0].value, abs=1e-3), name
        assert values[2].note == SAMPLED, name
    for name in ("regret", "top_regret"):  # of the best of all, which no weights recover
        values = [getattr(comparison.rankings[1], name) for comparison in (plain, evenly, steeply)]
        assert values[0] == values[1] == values[2], name
        assert values[2].note == PARTIAL, name
    gaps = [comparison.differences[0][1].value for comparison in (plain, evenly, steeply)]
    assert gaps[1] == pytest.approx(gaps[0])
    assert gaps[2] != pytest.approx(gaps[0], abs=1e-3)
    assert steeply.ceiling.value != pytest.approx(plain.ceiling.value, abs=1e-6)


def sampled(trials: Trials, weights: Mapping[str, float], by: str | None = None) -> Trials:
    """Those of a sample."""
    return trials.of(weights).weighted(weights, SampleInfo.of(weights.values(), by))


def test_a_uniform_sample_has_the_figures_of_its_architectures_and_says_that_they_are_of_the_space() -> None:
    proxies = [simulate("good", luck=0.1, seed=5), simulate("noisy", luck=1.0, seed=1)]
    truth, ids = simulate("truth", luck=0.02, seed=4), [arch.id for arch in ARCHS[::2]]
    plain = compare_trials([trials.of(ids) for trials in proxies], truth.of(ids), top=1 / 4)
    uniform = dict.fromkeys(ids, 2.5)
    comparison = compare_trials([sampled(trials, uniform) for trials in proxies], truth, top=1 / 4)
    assert len(comparison.truth) == len(ids)
    for mine, other in zip(comparison.rankings, plain.rankings, strict=True):
        for name, estimate in vars(other).items():
            if isinstance(estimate, Estimate):
                assert replace(getattr(mine, name), note=None) == replace(estimate, note=None), name
        assert {mine.spearman.note, mine.top_spearman.note, mine.precision.note} == {UNIFORM}
        assert {mine.regret.note, comparison.factor_effects[0].truth[0].note} == {OF_SAMPLE}
    assert comparison.differences[0][1].note == UNIFORM
    assert replace(comparison.differences[0][1], note=None) == plain.differences[0][1]
    assert comparison.ceiling == plain.ceiling
    strata = compare_trials([sampled(trials, uniform, "params") for trials in proxies], truth)
    assert strata.rankings[0].spearman.note == SAMPLED


def test_searches_of_the_whole_space_are_cut_to_the_sample_of_another() -> None:
    good, noisy = simulate("good", luck=0.1, seed=5), simulate("noisy", luck=1.0, seed=1)
    truth = simulate("truth", luck=0.02, seed=4)
    weights = {arch.id: 1.0 + number % 3 for number, arch in enumerate(ARCHS[::2])}
    every = [sampled(trials, weights) for trials in (good, noisy, truth)]
    expected = compare_trials(every[:2], every[2])
    for number in range(3):
        some = [every[at] if at == number else trials for at, trials in enumerate((good, noisy, truth))]
        comparison = compare_trials(some[:2], some[2])
        assert comparison.rankings == expected.rankings
        assert comparison.alignment.num_scored == len(weights)
        assert comparison_frame(comparison)["weight"].tolist() == comparison_frame(expected)["weight"].tolist()
    other = sampled(noisy, dict.fromkeys(weights, 2.0))
    with pytest.raises(InputError, match=r"run-good and run-noisy are of different samples: .* search both with one"):
        compare_trials([every[0], other], truth)


def test_weights_of_a_truth_and_of_a_sample_multiply() -> None:
    proxy, truth = simulate("good", luck=0.1, seed=5), simulate("truth", luck=0.02, seed=4)
    sample = {arch.id: 1.0 + number % 3 for number, arch in enumerate(ARCHS[::2])}
    chosen = {arch_id: 1.0 + number % 2 for number, arch_id in enumerate(list(sample)[::2])}
    both = {arch_id: sample[arch_id] * weight for arch_id, weight in chosen.items()}
    multiplied = rank(sampled(proxy, sample), truth, weights=chosen, top=0.6)
    expected = rank(proxy.of(sample), truth, weights=both, top=0.6)
    for name in ("spearman", "kendall", "precision", "true_top_spearman"):
        mine, other = getattr(multiplied, name), getattr(expected, name)
        assert (mine.value, mine.note) == (other.value, SAMPLED), name
    part = rank(sampled(proxy, sample), truth.of(chosen))  # nobody says how it was chosen
    assert (part.spearman.note, part.regret.note) == (PARTIAL, PARTIAL)


def test_the_weighted_rho_of_samples_by_strata_is_that_of_the_space() -> None:
    rng = np.random.default_rng(0)
    true = rng.normal(size=720)
    size = 0.8 * true + 0.6 * rng.normal(size=720)
    proxy = true + np.where(size > np.quantile(size, 0.8), 2.0, 0.3) * rng.normal(
        size=720
    )  # worst where most are drawn
    archs = load_space("convnet720").archs()
    searches = [make_trials(make_info(name, name), archs, scores[:, None]) for name, scores in
                (("proxy", proxy), ("whole", true))]  # fmt: skip
    sizes = Quantity(dict(zip([arch.id for arch in archs], size.tolist(), strict=True)))
    found = []
    for seed in range(100):
        sample = draw_sample([arch.id for arch in archs], "72:size", seed, lambda by: sizes)
        parts = [trials.of(sample.weights).weighted(sample.weights, sample.info) for trials in searches]
        alignment = align(parts[:1], parts[1])
        rows = alignment.with_truth
        mine, other = alignment.proxies[0].evaluation[rows], alignment.truth.evaluation[rows]
        weighted, plain = (correlate(mine, other, weights=w).value for w in (alignment.weights_of(rows), None))
        found.append([weighted, plain])
    of_space = stats.spearmanr(proxy, true).statistic
    errors = np.array(found, dtype=float) - of_space
    assert abs(errors[:, 0].mean()) < 0.012
    assert errors[:, 1].mean() < -0.03


def test_all_figures_are_finite_or_say_why_not_for_any_number_of_architectures() -> None:
    proxy, truth = simulate("good", luck=0.1, seed=5), simulate("truth", luck=0.02, seed=4)
    flat = simulate("free", luck=0.0, seed=0, metric="naswot", num_seeds=1)
    flat = replace(flat, items=tuple(replace(trial, rungs=(Rung((1.0,), (1.0,)),)) for trial in flat))
    for count in (1, 2, 3, 4, 7, 24):
        some = replace(truth, items=truth.items[:count])
        comparison = compare_trials([proxy, flat], some, top=0.25)
        for ranking in comparison.rankings:
            for name, value in vars(ranking).items():
                if isinstance(value, Estimate):
                    assert value.value is not None or value.note, name
                    numbers = [value.value, value.low, value.high]
                    assert all(number is None or math.isfinite(number) for number in numbers), name
            assert all(math.isfinite(loss) for loss in ranking.regret_curve)


def test_architectures_may_have_different_numbers_of_seeds() -> None:
    proxy, truth = simulate("good", luck=0.1, seed=5), simulate("truth", luck=0.02, seed=4)
    mean = truth.items[0].evaluation_score
    first = replace(truth.items[0], rungs=(Rung((mean,), (mean,)),))
    uneven = replace(truth, items=(first, *truth.items[1:]))
    assert rank(proxy, uneven).spearman == rank(proxy, truth).spearman
    known, other = compare_trials([proxy], truth).ceiling.value, compare_trials([proxy], uneven).ceiling.value
    assert other == pytest.approx(known, abs=0.003)
    assert other != known


def test_a_truth_from_elsewhere_is_told_what_the_proxies_know(tmp_path: Path) -> None:
    proxy, truth = simulate("good", luck=0.1, seed=5), simulate("truth", luck=0.02, seed=4)
    write_table(trials_frame(truth), tmp_path / "table.csv")
    with (tmp_path / "table.csv").open("a") as file:
        file.write("99,unheard-of" + "," * 13 + "0.99,0.99,0.99,0.99\n")
    comparison = compare_trials([proxy], read_truth(tmp_path / "table.csv"))
    assert [trial.factors for trial in comparison.truth] == [trial.factors for trial in truth.ranked()]
    assert comparison.truth.info.space == "convnet720"
    for told, known in zip(comparison.factor_effects, compare_trials([proxy], truth).factor_effects, strict=True):
        assert (told.factor, told.values, told.proxies) == (known.factor, known.values, known.proxies)
        assert [effect.value for effect in told.truth] == pytest.approx([effect.value for effect in known.truth])
    assert comparison.rankings[0].spearman == rank(proxy, truth).spearman
