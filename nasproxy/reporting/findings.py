"""What a comparison says, in plain sentences, and how sure it is.

No sentence claims a difference that is not sure at 5 % for all pairs of methods together (`Difference.is_sure`). ρ is
Spearman's rank correlation with full training over all architectures with a truth.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Literal

from nasproxy.choosing import describe_limits
from nasproxy.comparing import Comparison, FactorEffect, Method, Ranking
from nasproxy.formatting import format_estimate, format_number, format_percent, join_names
from nasproxy.ranking import Difference, Estimate, count_of
from nasproxy.reporting.cautions import describe_cautions
from nasproxy.trials import ProxyKind

_CROWD = 3
"""More names than these are not listed one by one."""

Verdict = Literal["better", "worse", "open", "unknown"]


def describe_findings(comparison: Comparison) -> list[str]:
    """What the truth cannot say, what the comparison says, then what to beware of; each sentence stands for itself."""
    return [*describe_limits(comparison), *describe_results(comparison), *describe_cautions(comparison)]


def describe_results(comparison: Comparison) -> list[str]:
    """The best proxy and its rivals, yardsticks, the ceiling, regret, factors.

    By a truth that cannot judge, there are no verdicts.
    """
    if not comparison.can_judge:
        return _best(comparison)
    parts = (_best, _sets, _rivals, _pairs, _yardsticks, _ceiling, _regret, _factors)
    return [sentence for part in parts for sentence in part(comparison)]


def verdict_of(difference: Difference, *, can_judge: bool = True) -> Verdict:
    """What a difference allows to say about the first of the two, in view of all pairs that were looked at.

    By a truth that cannot judge, it is open.
    """
    if difference.value is None or difference.p_value is None:
        return "unknown"
    if not (difference.is_sure and can_judge):
        return "open"
    return "better" if difference.value > 0 else "worse"


def _best(comparison: Comparison) -> list[str]:
    best = comparison.methods[0]
    rho = best.spearman
    if rho.value is None:
        return [f"No proxy has a rank correlation with full training: {rho.note or 'it is not defined here'}."]
    count = len(comparison.methods)
    place = f"has the highest measured ρ of {count} proxies" if count > 1 else "is the only proxy, with ρ"
    over = f"{rho.num_archs} architectures"
    if len(best.members) > 1:
        over += f", mean of {len(best.members)} sets"
    verdict = _against_chance(rho) if comparison.can_judge else "by this truth that says nothing"
    return [f"{best.label} {place}: {format_estimate(rho)} over {over}; {verdict}."]


def _against_chance(rho: Estimate) -> str:
    if rho.low is None or rho.high is None:
        return f"how sure that is cannot be said ({rho.note or 'it has no interval'})"
    if rho.low > 0:
        return "it ranks better than chance"
    return "it ranks backwards" if rho.high < 0 else "the interval includes 0, so it is not shown to beat chance"


def _sets(comparison: Comparison) -> list[str]:
    several = [method for method in comparison.methods if method.spread is not None]
    if not several or comparison.set_noise is None:
        return []
    spreads = [f"{method.label} {_spread(method)}" for method in several]
    return [
        f"From set to set, ρ of one method has a standard deviation of {join_names(spreads)}; pooled, and without what "
        f"the draw of architectures and seeds explains, {format_number(comparison.set_noise.deviation)}. Intervals and "
        "differences of methods include it."
    ]


def _spread(method: Method) -> str:
    return f"{format_number(method.spread)} ({len(method.members)} sets)"


def _rivals(comparison: Comparison) -> list[str]:
    first, *others = [method.label for method in comparison.methods]
    groups = _by_verdict(comparison, 0, range(1, len(others) + 1))
    said = {
        "better": "{first} clearly beats {names}.",
        "open": "{first} cannot be told from {names}.",
        "worse": "On the architectures that both scored, {first} ranks worse than {names}.",
        "unknown": "Whether {first} differs from {names} could not be tested.",
    }
    return [said[verdict].format(first=first, names=join_names(names)) for verdict, names in groups.items() if names]


def _pairs(comparison: Comparison) -> list[str]:
    pairs = list(combinations(range(len(comparison.methods)), 2))
    if not pairs:
        return []
    sure = sum(comparison.differences[row][column].is_sure for row, column in pairs)
    if len(pairs) == 1:
        return ["Whether they differ in ρ is tested by swapping their ranks of single architectures, at 5 %."]
    return [
        f"{sure} of {len(pairs)} pairs differ in ρ. Each is tested by swapping both ranks of single architectures; p "
        "is adjusted for all pairs by Holm’s method, so that, of proxies that err alike, any such claim is false in "
        "5 % of experiments at most."
    ]


def _by_verdict(comparison: Comparison, first: int, others: range | list[int]) -> dict[Verdict, list[str]]:
    groups: dict[Verdict, list[str]] = {"better": [], "open": [], "worse": [], "unknown": []}
    for other in others:
        groups[verdict_of(comparison.differences[first][other])].append(comparison.methods[other].label)
    return groups


def _yardsticks(comparison: Comparison) -> list[str]:
    trained = [index for index, method in enumerate(comparison.methods) if method.kind.is_trained]
    free = [index for index, method in enumerate(comparison.methods) if method.kind is ProxyKind.FORMULA]
    if not trained:
        are_free = len(free) == len(comparison.methods)
        why = "All proxies here are training-free" if are_free else "No proxy here trains nets of its own"
        return [f"{why}: no trained one is judged."]
    if not free:
        return [
            "No training-free proxy (params, flops, naswot …) is compared: whether training one pays cannot be said."
        ]
    names = join_names([comparison.methods[index].label for index in free])
    groups = {comparison.methods[index].label: _by_verdict(comparison, index, free) for index in trained}
    winners = [name for name, group in groups.items() if len(group["better"]) == len(free)]
    sentences = [f"{_each(winners)} every training-free proxy here ({names})."] if winners else []
    below = _gathered({name: group["worse"] for name, group in groups.items()})
    unbeaten = _gathered({name: group["open"] + group["unknown"] for name, group in groups.items()})
    for free_names, who in below.items():
        sentences.append(f"{join_names(who)} rank{_s(who)} worse than {_free(free_names)}.")
    for free_names, who in unbeaten.items():
        sentences.append(f"{join_names(who)} {'is' if len(who) == 1 else 'are'} not shown to beat {_free(free_names)}.")
    return sentences


def _gathered(named: Mapping[str, list[str]]) -> dict[tuple[str, ...], list[str]]:
    """Those that share a list of names, under that list; empty lists left out."""
    gathered: dict[tuple[str, ...], list[str]] = {}
    for name, others in named.items():
        if others:
            gathered.setdefault(tuple(others), []).append(name)
    return gathered


def _s(subjects: Sequence[str]) -> str:
    """Ending of the verb after one subject or several."""
    return "s" if len(subjects) == 1 else ""


def _free(names: Sequence[str]) -> str:
    return f"{join_names(names)}, which train{_s(names)} nothing"


def _each(names: list[str]) -> str:
    return f"{join_names(names)} {'beats' if len(names) == 1 else 'each beat'}"


def _ceiling(comparison: Comparison) -> list[str]:
    best, ceiling = comparison.methods[0], comparison.ceiling
    if ceiling.value is None or ceiling.value <= 0:
        return []
    sentence = f"Seed noise of the truth limits what can be measured to about ρ = {format_estimate(ceiling)}"
    rho = best.spearman
    if rho.value is None or rho.value <= 0:
        return [f"{sentence}."]
    share = format_percent(rho.value / ceiling.value, digits=0)
    if rho.high is not None and rho.high >= ceiling.value:
        return [f"{sentence}; {best.label} is at {share} of that, and its interval reaches it."]
    return [f"{sentence}; {best.label} is at {share} of that."]


def _regret(comparison: Comparison) -> list[str]:
    best = comparison.rankings[comparison.methods[0].members[0]]
    sentences = []
    if best.regret.value is not None:
        sentences.append(
            f"Training only the first pick of {best.label} loses {_points(best.regret)} of accuracy against the best "
            f"of the {best.num_archs} architectures with a truth{_noise(best.noise_regret)}."
        )
    if best.top_regret.value is not None:
        count = count_of(best.top_fraction, best.num_archs)
        top = format_percent(best.top_fraction)
        sentences.append(
            f"Training its top {top} ({count} with a truth) and keeping the best loses {_points(best.top_regret)}"
            f"{_random_regret(comparison, count)}{_noise(best.top_noise_regret)}."
        )
    return sentences


def _points(estimate: Estimate) -> str:
    return f"{format_estimate(estimate, scale=100, digits=1)} percentage points"


def _noise(lost: Estimate) -> str:
    if lost.value is None:
        return "; how much of it is the truth's seed noise is unknown"
    return f"; a perfect proxy would seem to lose {100 * lost.value:.1f}, by the truth's seed noise alone"


def _random_regret(comparison: Comparison, count: int) -> str:
    if not 0 < count <= len(comparison.random_regret_curve):
        return ""
    return f"; as many drawn at random lose {100 * comparison.random_regret_curve[count - 1]:.1f} on average"


def _factors(comparison: Comparison) -> list[str]:
    told_apart = [(effect, pairs) for effect in comparison.factor_effects if (pairs := sure_pairs(effect.truth))]
    if comparison.factor_effects and not told_apart:
        return ["The truth itself does not tell any two values of a factor apart."]
    among = "" if comparison.alignment.is_whole else " among the architectures with a truth"
    return [_factor_sentence(effect, pairs, comparison.rankings, among) for effect, pairs in told_apart]


def sure_pairs(estimates: Sequence[Estimate]) -> list[tuple[int, int]]:
    """Pairs (better, worse) of values whose intervals do not overlap, in the order of the values."""
    return [
        (better, worse)
        for better, one in enumerate(estimates)
        for worse, other in enumerate(estimates)
        if one.low is not None and other.high is not None and one.low > other.high
    ]


def _factor_sentence(
    effect: FactorEffect, pairs: list[tuple[int, int]], rankings: Sequence[Ranking], among: str
) -> str:
    by_count: dict[int, list[str]] = {}
    for ranking, estimates in zip(rankings, effect.proxies, strict=True):
        right = sum(_is_ordered(estimates[better], estimates[worse]) for better, worse in pairs)
        by_count.setdefault(right, []).append(ranking.label)
    total = len(pairs)
    better, worse = (effect.values[index] for index in pairs[0])
    sure = (
        f"that {better} beats {worse}"
        if total == 1
        else f"about {total} pairs of values, such as {better} over {worse}"
    )
    counts = _without_crowd(by_count)
    scores = "; ".join(f"{who} {right} of {total}" for right, who in counts.items())
    return f"{effect.factor}: the truth is sure {sure}{among}. Pairs ordered as in truth: {scores}."


def _without_crowd(by_count: Mapping[int, list[str]]) -> dict[int, str]:
    """Count -> who has it, highest first; a crowd comes last, as 'the others' or 'every proxy'."""
    said = {right: join_names(by_count[right]) for right in sorted(by_count, reverse=True)}
    largest = max(by_count, key=lambda right: len(by_count[right]))
    if len(by_count[largest]) > _CROWD:
        del said[largest]
        said[largest] = "the others" if said else "every proxy"
    return said


def _is_ordered(better: Estimate, worse: Estimate) -> bool:
    return better.value is not None and worse.value is not None and better.value > worse.value
