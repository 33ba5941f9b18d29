"""What the dashboard says of studies and trials, in Markdown."""

from collections.abc import Iterable, Mapping, Sequence

from nasproxy.dashboard.sides import Side
from nasproxy.formatting import MISSING, PERCENT, format_duration, format_estimate, format_number
from nasproxy.ranking import Estimate
from nasproxy.trials import SearchInfo, State, Trial, Trials

READING_A_SEARCH = """\
**How to read it**

- A *trial* is one architecture over all its seeds; a higher value is better. Its id is the user attribute `arch_id`.
- *Hyperparameter Importance* says which factors tell the best tenth of the architectures from the others (PED-ANOVA).
- *Intermediate values* are validation accuracies, mean over seeds; *Step* counts the updates of all seeds.
- *Pruned* was cut by a screen, *Running* is in a rung that is not over; their ranks are behind those that went on.
- A trial that is *Fail* has no finite score and no rank. Those whose user attribute `state` is diverged or at-chance
  are ranked as measured."""

READING_SEARCHES = """\
**How to read it**

- A *trial* is one architecture. Trial 0 is the best by the first objective, trial 1 the next, and so on: with another
  one as *y Axis*, *History* falls from left to right if both rank alike.
- The *Pareto front* draws any two objectives against each other.
- *Hyperparameter Importance* says for each objective which factors tell its best tenth from the others (PED-ANOVA): do
  the searches see the same ones?
- *Complete* has a value of every objective, and only these are drawn. *Pruned* was not searched for every objective,
  such as an architecture without full training; *Fail* was, and one value is not finite.
- All values and ranks (1 is the best) are user attributes, and in the note of each trial.
- *Timeline* is that of the first search which has the architecture."""


def search_facts(trials: Trials) -> dict[str, str]:
    """What was run."""
    info, cost = trials.info, trials.cost
    counts = ", ".join(f"{count} {state}" for state in State if (count := trials.count(state)))
    return {
        "proxy": info.proxy,
        "proxy made in": format_duration(cost.condense_seconds),
        "ranked by": info.selection_metric,
        "data": f"{info.dataset}; {cost.num_images:,} images, {cost.num_stored_images:,} stored",
        "space": info.space,
        "architectures": f"{len(trials):,}: {counts}" if trials else "none yet",
        **({"sample": info.sample.describe()} if info.sample else {}),
        "seeds": f"{info.num_seeds} per architecture",
        "recipe": _recipe(info),
        "device": info.device or MISSING,
    }


def spearman_facts(spearman: Mapping[str, Estimate]) -> dict[str, str]:
    """How proxies rank, by the names of their searches."""
    return {f"{name}: Spearman ρ with the truth": _estimate(estimate) for name, estimate in spearman.items()}


def search_note(trials: Trials, picture_urls: Iterable[str]) -> str:
    """What was run, and how to read its study."""
    pictures = [f"![{trials.info.proxy}]({url})" for url in picture_urls]
    facts = _table(["", ""], search_facts(trials).items())
    return _paragraphs(f"## {trials.name}", facts, *pictures, READING_A_SEARCH)


def trial_note(trial: Trial, side: Side, info: SearchInfo) -> str:
    """All that a search measured of an architecture, seed by seed.

    Args:
        trial: as the search has it.
        side: its search beside others: where it stands.
        info: of the search.
    """
    metric = trial.rungs[-1].metric if trial.rungs else ""
    is_accuracy = info.has_accuracies and not metric
    measured = {
        metric or info.selection_metric: (trial.selection_score, trial.selection_scores),
        metric or info.evaluation_metric: (trial.evaluation_score, trial.evaluation_scores),
    }
    rows = [
        [name, *(_score(value, is_accuracy=is_accuracy) for value in (mean, *values))]
        for name, (mean, values) in measured.items()
        if values
    ]
    seeds = [f"seed {number}" for number in range(1, len(rows[0]) - 1)] if rows else []
    return _paragraphs(
        f"## {trial.arch_id}",
        f"{trial.state}; rank {_rank(trial.arch_id, side)}; {_costs(trial)}; {format_duration(trial.train_seconds)}",
        _table(["", "mean", *seeds], rows) if rows else "",
        _reason(trial),
    )


def searches_note(name: str, sides: Sequence[Side], num_objectives: int, spearman: Mapping[str, Estimate]) -> str:
    """What stands side by side, and how to read it.

    Args:
        name: of the study.
        sides: the searches, the first being what trials are sorted by.
        num_objectives: how many of them are objectives.
        spearman: of proxies with the truth, by name of the search; none where there is no truth.
    """
    rows = [
        [
            side.label,
            side.trials.info.proxy,
            side.measure,
            f"{len(side.values):,}",
            _estimate(spearman[side.label]) if side.label in spearman else "",
        ]
        for side in sides
    ]
    left_out = ", ".join(side.label for side in sides[num_objectives:])
    return _paragraphs(
        f"## {name}",
        _table(["", "proxy", "value", "architectures", "Spearman ρ with the truth [95 %]"], rows),
        f"User attributes only, because more objectives would tell nothing apart: {left_out}." if left_out else "",
        READING_SEARCHES,
    )


def arch_note(arch_id: str, sides: Sequence[Side]) -> str:
    """What each search says of an architecture."""
    found = [(side, side.trials.by_id[arch_id]) for side in sides if arch_id in side.trials.by_id]
    rows = [
        [side.label, _rank(arch_id, side), _score(side.values.get(arch_id), is_accuracy=side.is_accuracy), trial.state]
        for side, trial in found
    ]
    return _paragraphs(
        f"## {arch_id}",
        _costs(found[0][1]),
        _table(["", "rank", "value", "state"], rows),
        *(_reason(trial) for _, trial in found),
    )


def _rank(arch_id: str, side: Side) -> str:
    rank = side.ranks.get(arch_id)
    return "none" if rank is None else f"{rank} of {len(side.ranks)}"


def _recipe(info: SearchInfo) -> str:
    ignored = "epochs" if info.recipe.get("steps") else "steps"
    return ", ".join(f"{name} {value}" for name, value in info.recipe.items() if name != ignored) or MISSING


def _costs(trial: Trial) -> str:
    if trial.num_params is None or trial.flops is None:
        return "size not known"
    return f"{trial.num_params:,} parameters; {trial.flops:,} FLOPs per image"


def _reason(trial: Trial) -> str:
    return f"Reason: `{trial.reason.replace('`', '')}`" if trial.reason else ""


def _score(value: float | None, *, is_accuracy: bool) -> str:
    if value is None:
        return MISSING
    return f"{format_number(100 * value)}{PERCENT}" if is_accuracy else f"{value:.5g}"


def _estimate(estimate: Estimate) -> str:
    text = format_estimate(estimate)
    return text if estimate.value is None else f"{text}, n = {estimate.num_archs}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """The cells end in a wide space, because the dashboard draws them without a margin."""
    lines = [head, ["---"] * len(head), *([f"{cell.replace('|', '/')}\N{EM SPACE}" for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _paragraphs(*parts: str) -> str:
    return "\n\n".join(part for part in parts if part)
