from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from nasproxy.combining import SCORE_NAME, combine_trials
from nasproxy.comparing import compare_trials, rank
from nasproxy.errors import InputError, SettingsError
from nasproxy.ranking import Estimate
from nasproxy.spacefile import load_space
from nasproxy.trials import ProxyKind, Rung, SampleInfo, State, Trial, Trials
from tests.reporting.comparisons import make_info, make_trials

ARCHS = load_space("convnet720").archs()[::12]
"""60 architectures."""


def simulate(name: str, share: float, num_seeds: int = 2, seed: int = 0) -> Trials:
    """Accuracies that are `share` merit and the rest luck of this proxy; seeds differ a little."""
    merit = np.random.default_rng(99).normal(size=len(ARCHS))
    generator = np.random.default_rng([seed, len(name)])
    luck = generator.normal(size=len(ARCHS))
    seeds = 0.02 * generator.normal(size=(len(ARCHS), num_seeds))
    scores = 0.5 + 0.05 * (share * merit + (1 - share**2) ** 0.5 * luck)[:, None] + 0.1 * seeds
    return make_trials(make_info(name, name, num_seeds=num_seeds), ARCHS, scores)


def test_an_average_is_the_mean_of_ranks_seed_by_seed() -> None:
    first, second = simulate("one", 0.8), simulate("other", 0.8, num_seeds=3)
    combined = combine_trials([first, second], "average")
    for seed in range(2):
        ranks = [
            stats.rankdata([trial.selection_scores[seed] for trial in trials]) / len(ARCHS)
            for trials in (first, second)
        ]
        expected = (ranks[0] + ranks[1]) / 2
        scores = {trial.arch_id: trial.selection_scores[seed] for trial in combined}
        order = np.argsort([scores[trial.arch_id] for trial in first])
        np.testing.assert_array_equal(stats.rankdata(expected[order]), stats.rankdata(sorted(scores.values())))
    assert {trial.num_seeds for trial in combined} == {2}
    assert combined.info.num_seeds == 2


def test_a_log_average_is_the_mean_of_the_logarithms_of_the_ranks() -> None:
    first, second = simulate("one", 0.8, num_seeds=1), simulate("other", 0.5, num_seeds=1)
    combined = combine_trials([first, second], "log-average")
    ranks = [stats.rankdata([trial.selection_score for trial in trials]) / len(ARCHS) for trials in (first, second)]
    expected = dict(zip([trial.arch_id for trial in first], np.log(np.sqrt(ranks[0] * ranks[1])), strict=True))
    assert {trial.arch_id: trial.selection_score for trial in combined} == pytest.approx(expected)
    assert combined.info.proxy == "log-average of one, other"


def test_a_proxy_of_one_seed_enters_every_seed_of_an_average() -> None:
    trained, counted = simulate("one", 0.8, num_seeds=3), simulate("other", 0.8, num_seeds=1)
    combined = combine_trials([trained, counted], "average")
    repeated = [
        replace(trial, rungs=(Rung(trial.selection_scores * 3, trial.evaluation_scores * 3),)) for trial in counted
    ]
    as_if_three = combine_trials([trained, replace(counted, items=tuple(repeated))], "average")
    assert {trial.num_seeds for trial in combined} == {3}
    assert [trial.rungs for trial in combined] == [trial.rungs for trial in as_if_three]


def test_a_combination_adds_up_what_its_parts_cost() -> None:
    first, second = simulate("one", 0.8), simulate("other", 0.8)
    first = replace(first, info=replace(first.info, cost=replace(first.info.cost, condense_seconds=30.0)))
    combined = combine_trials([first, second], "average", name="both")
    assert combined.info.name == "both"
    assert combined.info.proxy == "average of one, other"
    assert (combined.info.kind, combined.info.score_name) == (ProxyKind.COMBINATION, SCORE_NAME)
    assert (combined.info.parts, combined.info.is_fitted) == (("one", "other"), False)
    assert (combined.cost.condense_seconds, combined.cost.num_stored_images) == (30.0, 200)
    assert first.cost.search_seconds
    assert combined.cost.search_seconds == 2 * first.cost.search_seconds
    assert {trial.train_seconds for trial in combined} == {25.0}
    assert {trial.arch_id: trial.num_params for trial in combined} == {
        trial.arch_id: trial.num_params for trial in first
    }


def test_an_average_of_two_noisy_proxies_ranks_better_than_either() -> None:
    truth = replace(simulate("truth", 1.0), info=make_info("truth", "whole", num_seeds=2))
    parts = [simulate("one", 0.7), simulate("other", 0.7)]
    combined = combine_trials(parts, "average")
    rhos = [rank(trials, truth).spearman.value or 0.0 for trials in (*parts, combined)]
    assert rhos[2] > max(rhos[:2]) + 0.05


def test_a_fit_learns_which_proxy_to_believe_and_does_not_see_the_truth_it_is_judged_by() -> None:
    truth = replace(simulate("truth", 1.0), info=make_info("truth", "whole", num_seeds=2))
    good, useless, inverted = simulate("good", 0.8), simulate("useless", 0.0), simulate("bad", -0.8, seed=1)
    parts = [good, useless, inverted]
    fitted, average = (combine_trials(parts, how, truth) for how in ("fitted", "average"))
    rho = {name: rank(trials, truth).spearman.value or 0.0 for name, trials in (("fit", fitted), ("mean", average))}
    assert rho["fit"] > 0.8 > rho["mean"] + 0.2
    noise = [simulate(f"noise{number}", 0.0, seed=number) for number in range(4)]
    assert (rank(combine_trials(noise, "fitted", truth), truth).spearman.value or 0.0) < 0.35


def test_intervals_of_a_fit_include_that_another_truth_gives_another_fit() -> None:
    truth = replace(simulate("truth", 1.0), info=make_info("truth", "whole", num_seeds=2))
    parts = [simulate("one", 0.6), *(simulate(f"noise{number}", 0.0, seed=number) for number in range(4))]
    fitted = combine_trials(parts, "fitted", truth)
    given = replace(fitted, info=replace(fitted.info, fit_error=0.0))
    assert fitted.info.fit_error > 0.02
    widths = []
    for trials in (given, fitted):
        comparison = compare_trials([trials, parts[0]], truth)
        place = next(index for index, each in enumerate(comparison.rankings) if each.name == fitted.name)
        method = next(index for index, each in enumerate(comparison.methods) if each.members == (place,))
        found = comparison.rankings[place]
        estimates = (found.spearman, found.kendall, comparison.methods[method].spearman)
        widths.append([_width(e) for e in (*estimates, comparison.differences[method][1 - method])])
    assert all(wide > narrow for narrow, wide in zip(*widths, strict=True))


def _width(estimate: Estimate) -> float:
    return (estimate.high or 0.0) - (estimate.low or 0.0)


def test_a_fit_to_a_small_sample_predicts_the_others() -> None:
    whole = replace(simulate("truth", 1.0), info=make_info("truth", "whole", num_seeds=2))
    sample = replace(whole, items=whole.items[::3])
    fitted = combine_trials([simulate("good", 0.8), simulate("useless", 0.0)], "fitted", sample)
    unseen = replace(whole, items=tuple(trial for trial in whole if trial not in sample.items))
    assert len(fitted) == 60
    assert (rank(fitted, unseen).spearman.value or 0.0) > 0.5


def test_architectures_that_one_part_did_not_score_are_left_out() -> None:
    first, second = simulate("one", 0.8), simulate("other", 0.8)
    lost = Trial(ARCHS[3].id, ARCHS[3].factors, State.FAILED, reason="it broke")
    second = replace(second, items=(*second.items[:3], lost, *second.items[4:]))
    combined = combine_trials([first, second], "average")
    assert {trial.arch_id for trial in combined} == {arch.id for arch in ARCHS} - {ARCHS[3].id}


def test_what_cannot_be_combined_is_refused() -> None:
    first, second = simulate("one", 0.8), simulate("other", 0.8)
    with pytest.raises(SettingsError, match=r"unknown way to combine proxies 'averag': did you mean 'average'\?"):
        combine_trials([first, second], "averag")
    with pytest.raises(SettingsError, match="1 proxy is no combination; name two searches or more"):
        combine_trials([first], "average")
    with pytest.raises(SettingsError, match="needs a truth for some architectures; give --truth"):
        combine_trials([first, second], "fitted")
    few = Trials(make_info("truth", "whole"), first.items[:5])
    with pytest.raises(SettingsError, match=r"cannot fit a combination to truth: .*5"):
        combine_trials([first, second], "fitted", few)
    other = replace(second, info=replace(second.info, data_hash="another"))
    with pytest.raises(InputError, match="their data_hash differs"):
        combine_trials([first, other], "average")
    apart = replace(second, items=()), first
    with pytest.raises(InputError, match="no architecture has a score by each of other, one"):
        combine_trials(apart, "average")


def test_a_combination_of_a_sample_keeps_its_weights_and_ranks_as_in_the_space() -> None:
    whole = [simulate("one", 0.8), simulate("other", 0.5)]
    weights = {arch.id: 1.0 + number % 4 for number, arch in enumerate(ARCHS[::2])}
    sample = SampleInfo.of(weights.values(), "params")
    sampled = whole[0].of(weights).weighted(weights, sample)
    combined = combine_trials([sampled, whole[1]], "average")
    assert {trial.arch_id: trial.weight for trial in combined} == weights
    assert combined.info.sample == sample
    repeated = [replace(trial, arch_id=f"{trial.arch_id}/{copy}") for trial in sampled
                for copy in range(int(trial.weight))]  # fmt: skip
    others = [replace(whole[1].by_id[trial.arch_id.partition("/")[0]], arch_id=trial.arch_id) for trial in repeated]
    unweighted = [replace(trials, items=tuple(replace(trial, weight=1.0) for trial in items)) for trials, items in
                  zip(whole, (repeated, others), strict=True)]  # fmt: skip
    expected = combine_trials(unweighted, "average").by_id
    shift = 0.5 / len(weights) - 0.5 / len(repeated)
    for trial in combined:
        assert trial.selection_score - shift == pytest.approx(expected[f"{trial.arch_id}/0"].selection_score)


def test_a_fit_to_a_sampled_truth_predicts_the_architectures_without_one() -> None:
    truth = simulate("whole", 0.98)
    weights = dict.fromkeys([arch.id for arch in ARCHS[::2]], 2.0)
    sampled = truth.of(weights).weighted(weights, SampleInfo.of(weights.values()))
    fitted = combine_trials([simulate("one", 0.8), simulate("other", 0.5)], "fitted", sampled)
    assert (len(fitted), fitted.info.sample) == (len(ARCHS), None)
    assert rank(fitted, sampled).num_archs == len(weights)
