"""Figures as people read them: no NaN, no None, a true minus sign, percentages only here."""

from collections.abc import Sequence

from nasproxy.ranking import Difference, Estimate

MISSING = "–"
PERCENT = "\N{NO-BREAK SPACE}%"


def format_number(value: float | None, digits: int = 2) -> str:
    """Fixed decimals, an en dash for None; what rounds to zero has no sign."""
    if value is None:
        return MISSING
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if not text.strip("-0.") else text.replace("-", "−")


def format_interval(estimate: Estimate | Difference, *, scale: float = 1, digits: int = 2) -> str:
    """'[low, high]', or nothing where there is no interval."""
    if estimate.low is None or estimate.high is None:
        return ""
    return f"[{format_number(scale * estimate.low, digits)}, {format_number(scale * estimate.high, digits)}]"


def format_estimate(estimate: Estimate | Difference, *, scale: float = 1, digits: int = 2) -> str:
    """'value [low, high]'."""
    value = None if estimate.value is None else scale * estimate.value
    return f"{format_number(value, digits)} {format_interval(estimate, scale=scale, digits=digits)}".strip()


def format_percent(fraction: float, digits: int = 2) -> str:
    """A fraction as a percentage of up to so many decimals."""
    return f"{round(100 * fraction, digits):g}{PERCENT}"


def format_p_value(p_value: float | None) -> str:
    """Two significant digits, and no claim below a thousandth."""
    if p_value is None:
        return MISSING
    return "< 0.001" if p_value < 0.001 else f"{p_value:.2g}"


def format_minutes(seconds: float) -> str:
    """Minutes, with a decimal below a hundred."""
    minutes = seconds / 60
    return f"{minutes:.1f}" if minutes < 100 else f"{minutes:,.0f}"


def format_duration(seconds: float) -> str:
    """Seconds, minutes or hours, whichever reads best."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def format_score(value: float) -> str:
    """Four significant digits, for scores of any size; thousands apart from 10,000 on."""
    text = f"{value:,.0f}" if 1e4 <= abs(value) < 1e7 else f"{value:.4g}"
    return text.replace("-", "−")


def join_names(names: Sequence[str]) -> str:
    """'a', 'a and b', 'a, b and c'."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
