"""Why the figures of a comparison may mean less than they seem to, in plain sentences."""

from nasproxy.choosing import describe_validation
from nasproxy.comparing import Comparison, Ranking
from nasproxy.config import RECIPES
from nasproxy.formatting import format_number, join_names
from nasproxy.trials import ProxyKind, Trials

FEW_ARCHS = 20
"""Below so many architectures, the 95 % interval of a middling ρ is about as wide as the scale."""
MAX_NAMED = 3
"""Architectures that are named of one proxy."""


def describe_cautions(comparison: Comparison) -> list[str]:
    """Why the figures may mean less than they seem to."""
    of_truth = (_few_archs, _some_at_chance, _sample, _other_images, _shortened_truth, _partial_truth, _one_seed)
    parts = (*of_truth, _carried_by_few, _one_set, _fitted, _few_validation_images, _missing_trials)
    return [sentence for part in parts for sentence in part(comparison)]


def training_length(trials: Trials) -> str | None:
    """How long nets were trained; None where nobody says."""
    steps, epochs = trials.info.recipe.get("steps"), trials.info.recipe.get("epochs")
    if steps:
        return f"{steps:,} updates"
    return f"{epochs} epoch{'s' if epochs != 1 else ''}" if epochs else None


def _few_archs(comparison: Comparison) -> list[str]:
    fewest = min(ranking.num_archs for ranking in comparison.rankings)
    if fewest >= FEW_ARCHS:
        return []
    return [
        f"Few architectures (n = {fewest}): below {FEW_ARCHS}, the interval is as wide as the scale; give more of them "
        "a truth before believing an order."
    ]


def _some_at_chance(comparison: Comparison) -> list[str]:
    if not comparison.num_at_chance or comparison.is_truth_at_chance:
        return []
    return [
        f"{comparison.num_at_chance:,} of {len(comparison.alignment.with_truth):,} architectures are at chance in the "
        "truth: their order is noise, and ρ tells first of all who finds them."
    ]


def _few_validation_images(comparison: Comparison) -> list[str]:
    return describe_validation(comparison.proxies, [ranking.label for ranking in comparison.rankings])


def _other_images(comparison: Comparison) -> list[str]:
    """Of published truths and proxies that were measured on nearly the same data."""
    cautions = [trials.info.recipe.get("caution") for trials in (comparison.truth, *comparison.proxies)]
    return [caution for caution in dict.fromkeys(cautions) if caution is not None]


def _carried_by_few(comparison: Comparison) -> list[str]:
    carried = [ranking for ranking in comparison.rankings if ranking.diagnosis.is_carried_by_few]
    if not carried:
        return []
    names = join_names([ranking.label for ranking in carried])
    is_one = len(carried) == 1
    sentence = f"The interval{'' if is_one else 's'} of {names} may be too short"
    if len(comparison.methods) > 1:
        of = "this proxy" if is_one else "these proxies"
        sentence += f", and differences that involve {of} are less sure than their p-values"
    return [f"{sentence}: few architectures carry ρ ({'; '.join(map(_worst_judged, carried))})."]


def _worst_judged(ranking: Ranking) -> str:
    """What carries the ρ of a proxy."""
    count = len(ranking.worst_judged)
    named = join_names([*ranking.worst_judged[:MAX_NAMED], *(["others"] if count > MAX_NAMED else [])])
    worst = "the worst judged" if count == 1 else f"the {count} worst judged"
    change = f"{format_number(ranking.diagnosis.value_without)} instead of {format_number(ranking.spearman.value)}"
    return f"{ranking.label}: {change} without {worst}, {named}"


def _shortened_truth(comparison: Comparison) -> list[str]:
    recipe, usual = comparison.truth.info.recipe, RECIPES["whole"].epochs
    length = training_length(comparison.truth)
    if length is None or (not recipe.get("steps") and recipe["epochs"] >= usual):
        return []
    sentences = [f"The truth was shortened to {length} ({usual} epochs are full training): it is a proxy itself."]
    stopped = [r.label for r in comparison.rankings if r.kind is ProxyKind.EARLY_STOPPING]
    if stopped:
        sentences.append(
            f"A shortened truth flatters proxies that train as it does, only shorter: {join_names(stopped)}."
        )
    return sentences


def _sample(comparison: Comparison) -> list[str]:
    alignment = comparison.alignment
    if alignment.sample is None:
        return []
    sentence = f"What is compared here is {alignment.sample.describe()}"
    if alignment.num_scored < alignment.sample.num_archs:
        sentence += f", of which {alignment.num_scored:,} have a score"
    if not alignment.is_complete:  # the next sentence says what is weighted
        return [f"{sentence}."]
    are = "estimates for" if alignment.sample.by is None else "weighted to"
    return [
        f"{sentence}: order, differences, precision and ceiling are {are} the whole space; regret and effects of "
        "factors are of the sample alone."
    ]


def _partial_truth(comparison: Comparison) -> list[str]:
    alignment = comparison.alignment
    if alignment.is_complete:
        return []
    how = f"chosen as {alignment.truth_for}" if alignment.truth_for not in ("all", "some") else "a part"
    sentence = f"Only {len(alignment.with_truth)} of {alignment.num_scored} architectures have a truth ({how})"
    if alignment.weights is not None:
        return [
            f"{sentence}: order, differences, precision and ceiling are weighted to the whole space; regret and "
            "effects of factors are of these alone."
        ]
    if alignment.truth_for.startswith("top"):
        return [
            f"{sentence}: all figures are of these alone, and a proxy chose them, which narrows their range and lowers "
            "every ρ."
        ]
    return [f"{sentence}: all figures are of these alone."]


def _one_seed(comparison: Comparison) -> list[str]:
    if comparison.truth.info.num_seeds > 1:
        return []
    return ["The truth has one seed: its noise, and with it the highest ρ that can be measured, is unknown."]


def _one_set(comparison: Comparison) -> list[str]:
    single = [method.label for method in comparison.methods if method.is_drawn and len(method.members) == 1]
    if not single:
        return []
    if comparison.set_noise is None:
        these = "this one set" if len(single) == 1 else "these single sets"
        return [
            f"Each proxy set is one draw of its method: what is said of {join_names(single)} is of {these}; --sets 2 "
            "measures what another would change."
        ]
    return [
        f"{join_names(single)} {'has' if len(single) == 1 else 'have'} one set each: what another one would change is "
        "taken from the methods with several."
    ]


def _fitted(comparison: Comparison) -> list[str]:
    return [
        f"{ranking.label} was fitted to the truth that judges it, each architecture by fits that did not see it: it "
        "cannot be had without a truth of some; intervals of its order include that another truth gives another fit."
        for ranking, trials in zip(comparison.rankings, comparison.proxies, strict=True)
        if trials.info.is_fitted
    ]


def _missing_trials(comparison: Comparison) -> list[str]:
    sentences = []
    for ranking in comparison.rankings:
        missing = ranking.num_failed + ranking.num_not_finite
        if missing:
            sentences.append(f"{missing} architecture{'s' if missing > 1 else ''} of {ranking.label} got no score.")
        if ranking.num_flagged:
            sentences.append(
                f"{ranking.num_flagged} of {ranking.label} diverged or stayed at chance; ranked as measured."
            )
    return sentences
