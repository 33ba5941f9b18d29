"""Which network to use after a comparison, and what a truth or a validation set cannot say."""

import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nasproxy.choosing import choose, describe_limits, describe_top, describe_validation
from nasproxy.comparing import Comparison, compare_trials
from nasproxy.rundir import RunDir
from nasproxy.space import Arch
from nasproxy.spacefile import load_space
from nasproxy.trials import DataInfo, ProxyKind, State, Trials
from tests.reporting.comparisons import (
    degenerate_comparison,
    make_comparison,
    make_info,
    make_trials,
    partial_comparison,
)

DM = "cifar10-convnet720-dm-50"


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    return make_comparison()


def with_data(trials: Trials, data: DataInfo | None) -> Trials:
    return replace(trials, info=replace(trials.info, data=data))


def with_states(trials: Trials, states: dict[str, State]) -> Trials:
    items = tuple(replace(trial, state=states.get(trial.arch_id, trial.state)) for trial in trials)
    return replace(trials, items=items)


def at_chance(comparison: Comparison, count: int) -> Comparison:
    """The same with a truth of which so many stayed at chance, the worst ones."""
    worst = [trial.arch_id for trial in comparison.truth.ranked()[::-1]][:count]
    return compare_trials(
        comparison.proxies, with_states(comparison.truth, dict.fromkeys(worst, State.AT_CHANCE)), top=0.25
    )


def in_run(trials: Trials, name: str) -> Trials:
    return replace(trials, run=RunDir(Path("runs") / name))


# --- the choice


def test_the_best_by_validation_is_chosen_with_an_interval_and_its_size(comparison: Comparison) -> None:
    choice = choose(comparison)
    best = max(comparison.truth, key=lambda trial: trial.selection_score)
    assert choice.candidates[0].arch_id == best.arch_id
    assert choice.answer == (
        f"Use {best.arch_id}: 75.4\N{NO-BREAK SPACE}% [74.3, 76.4] test accuracy, 2.36M parameters, 819M FLOPs; the "
        "best validation accuracy of the 40 architectures."
    )
    assert len(choice.candidates) == 10
    scores = [candidate.selection for candidate in choice.candidates]
    assert scores == sorted(scores, key=lambda score: -(score or 0))


def test_validation_chooses_and_the_test_accuracy_is_only_reported(comparison: Comparison) -> None:
    ranked = comparison.truth.ranked()
    swapped = {ranked[0].arch_id: ranked[5], ranked[5].arch_id: ranked[0]}
    items = tuple(
        replace(trial, rungs=(replace(trial.rungs[0], evaluation_scores=other.evaluation_scores),))
        if (other := swapped.get(trial.arch_id))
        else trial
        for trial in comparison.truth
    )
    choice = choose(compare_trials(comparison.proxies, replace(comparison.truth, items=items), top=0.25))
    assert choice.candidates[0].arch_id == ranked[0].arch_id
    assert choice.candidates[0].test.value == pytest.approx(ranked[5].evaluation_score)
    assert choice.ties is not None
    assert ranked[5].arch_id in {tie.arch_id for tie in choice.ties}


def test_what_reaches_the_interval_of_the_best_is_a_tie(comparison: Comparison) -> None:
    choice = choose(comparison)
    best, *others = choice.candidates
    assert choice.ties is not None
    for other in others:
        assert other.is_tied is ((other.test.high or 0) >= (best.test.low or 1))
    cheapest = min((best, *choice.ties), key=lambda tie: tie.flops or 0)
    assert choice.certainty.startswith(
        f"It is a tie: {len(choice.ties)} others cannot be told from it by test accuracy"
    )
    assert f"the cheapest of them is {cheapest.arch_id}: " in choice.certainty


def test_a_test_set_that_is_small_makes_more_ties(comparison: Comparison) -> None:
    few, many = (
        choose(compare_trials(comparison.proxies, with_data(comparison.truth, DataInfo(9, 9, count, 0.1)), top=0.25))
        for count in (100, 100_000)
    )
    assert len(few.ties or ()) > len(many.ties or ()) + 5


def test_a_clear_winner_is_no_tie(comparison: Comparison) -> None:
    best = comparison.truth.ranked()[0]
    items = tuple(
        replace(trial, rungs=(replace(trial.rungs[0], selection_scores=(0.99,) * 3, evaluation_scores=(0.99,) * 3),))
        if trial.arch_id == best.arch_id
        else trial
        for trial in comparison.truth
    )
    choice = choose(compare_trials(comparison.proxies, replace(comparison.truth, items=items), top=0.25))
    assert choice.ties == ()
    assert choice.certainty == "No other architecture with a truth comes within its interval."


def test_without_seeds_and_number_of_images_nobody_knows_how_sure_it_is() -> None:
    choice = choose(degenerate_comparison())
    assert choice.ties is None
    assert choice.certainty == "How sure that is cannot be said (one seed, number of images not known)."
    assert [candidate.is_tied for candidate in choice.candidates] == [None] * 4


def test_those_without_a_truth_follow_as_the_best_proxy_ranks_them() -> None:
    partial = partial_comparison("some")
    kept = [trial.arch_id for trial in partial.truth][:4]
    choice = choose(compare_trials(partial.proxies, partial.truth.of(kept), top=0.25))
    heads, rows = choice.table()
    assert [row[heads.index("chosen by")] for row in rows] == ["truth"] * 4 + [choice.proxy] * 6
    assert "the best validation accuracy of the 4 architectures with a truth, of 40." in choice.answer
    ranks = [candidate.proxy_rank or 0 for candidate in choice.candidates[4:]]
    assert ranks == sorted(ranks)
    assert all(candidate.selection is None for candidate in choice.candidates[4:])


def test_a_table_of_test_accuracies_alone_says_that_it_chose_by_them(comparison: Comparison) -> None:
    table = replace(comparison.truth, info=replace(comparison.truth.info, has_validation=False, kind=ProxyKind.TABLE))
    assert "the best test accuracy of the 40 arch" in choose(compare_trials(comparison.proxies, table, top=0.25)).answer


def test_the_next_command_trains_the_ties_again_or_what_has_no_truth(comparison: Comparison) -> None:
    proxies = [in_run(trials, f"by {trials.name}") for trials in comparison.proxies]
    truth = in_run(comparison.truth, "the truth")
    whole = choose(compare_trials(proxies, truth, top=0.25))
    ties = len(whole.ties or ())
    assert whole.command == f"nasproxy search --proxy whole --archs 'top:the truth:{1 + ties}' --seeds 6"
    some = truth.of([trial.arch_id for trial in truth][:4])
    partial = choose(compare_trials(proxies, some, top=0.25))
    assert partial.command == f"nasproxy search --proxy whole --archs 'top:by {DM}:10'"
    assert shlex.split(partial.command)[-1] == f"top:by {DM}:10"
    assert choose(comparison).command == ""


# --- a truth that says nothing


def test_no_network_is_named_by_a_truth_at_chance(comparison: Comparison) -> None:
    lost = at_chance(comparison, 40)
    choice = choose(lost)
    assert choice.candidates == ()
    assert choice.answer == "Which network to use cannot be said: the truth is at chance."
    assert choice.limits == (
        "40 of 40 architectures are at chance in the truth: it says nothing of architectures or proxies. Train it "
        "longer.",
    )
    assert not lost.can_judge
    assert not at_chance(comparison, 36).can_judge
    assert at_chance(comparison, 35).can_judge


def test_a_net_at_chance_is_never_the_best(comparison: Comparison) -> None:
    best = comparison.truth.ranked()[0].arch_id
    some = compare_trials(comparison.proxies, with_states(comparison.truth, {best: State.AT_CHANCE}), top=0.25)
    choice = choose(some)
    assert choice.candidates[0].arch_id != best
    assert choice.answer.endswith("of the 40 architectures (1 at chance left out).")


def test_a_table_at_chance_is_known_by_the_classes_of_the_data(comparison: Comparison) -> None:
    """A table has no states: what its accuracies mean is known from the data of the searches."""
    generator = np.random.default_rng(0)
    data = DataInfo(900, 100, 1000, 0.1)
    archs = [trial.arch_id for trial in comparison.truth]
    info = replace(make_info("t", "t.csv", kind=ProxyKind.TABLE), space_hash="", data_hash="", split_hash="", data=None)
    items = tuple(
        replace(
            trial, factors={}, rungs=(replace(trial.rungs[0], selection_scores=(score,), evaluation_scores=(score,)),)
        )
        for trial, score in zip(comparison.truth, generator.binomial(1000, 0.1, len(archs)) / 1000, strict=True)
    )
    known = compare_trials([with_data(trials, data) for trials in comparison.proxies], Trials(info, items), top=0.25)
    assert known.is_truth_at_chance
    assert not compare_trials(comparison.proxies, Trials(info, items), top=0.25).is_truth_at_chance


def test_a_truth_within_its_test_images_or_seeds_says_so(comparison: Comparison) -> None:
    few = compare_trials(comparison.proxies, with_data(comparison.truth, DataInfo(900, 100, 20, 0.1)), top=0.25)
    (sentence,) = describe_limits(few)
    assert sentence == (
        "20 test images cannot tell these architectures apart: the truth's accuracies differ by a standard deviation "
        "of 8.5 points, and the images alone make 10.7 points. Test on more images, or architectures that differ more."
    )
    noise = 0.5 + np.random.default_rng(0).normal(0, 0.03, (40, 3))
    archs = make_archs(comparison)
    noisy = make_trials(make_info("whole", "whole", num_seeds=3), archs, noise)
    (sentence,) = describe_limits(compare_trials(comparison.proxies, noisy, top=0.25))
    assert sentence.startswith(
        "Seed noise hides what architectures differ by: the truth's accuracies differ by a stand"
    )
    assert describe_limits(comparison) == []


def make_archs(comparison: Comparison) -> list[Arch]:
    space = load_space("convnet720")
    return [space.find(trial.arch_id) for trial in comparison.truth]


# --- validation sets and fractions


def test_a_validation_set_that_is_too_small_is_named(comparison: Comparison) -> None:
    few, many = (
        [with_data(trials, DataInfo(900, count, 1000, 0.1)) for trials in comparison.proxies]
        for count in (24, 1_000_000)
    )
    labels = [ranking.label for ranking in comparison.rankings]
    assert describe_validation(few, labels) == [
        f"Validation has 24 images: a step is 4.2 points, ± 20 points at 50\N{NO-BREAK SPACE}%; {DM} and random-50 "
        "cannot tell apart the architectures that they put first."
    ]
    assert describe_validation(many, labels) == []
    assert describe_validation(comparison.proxies, labels) == []


def test_a_top_of_few_architectures_says_how_many_it_is(comparison: Comparison) -> None:
    assert describe_top(comparison) == (
        "The top 20\N{NO-BREAK SPACE}% of 40 architectures is 8: figures of so few say little; --top 25% takes 10."
    )
    assert describe_top(compare_trials(comparison.proxies, comparison.truth, top=0.25)) == ""
    assert describe_top(compare_trials(comparison.proxies, comparison.truth, top=1.0)) == ""
