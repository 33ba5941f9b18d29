"""Figures as people read them: no NaN, no None, a true minus sign, percentages only here."""

import math
from collections.abc import Sequence

from nasproxy.ranking import Estimate

MISSING = "–"
PERCENT = "\N{NO-BREAK SPACE}%"
MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0


def format_number(value: float | None, digits: int = 2) -> str:
    """Fixed decimals, an en dash for None; what rounds to zero has no sign."""
    if value is None:
        return MISSING
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if not text.strip("-0.") else text.replace("-", "−")


def format_interval(estimate: Estimate, *, scale: float = 1, digits: int = 2) -> str:
    """'[low, high]', or nothing where there is no interval."""
    if estimate.low is None or estimate.high is None:
        return ""
    return f"[{format_number(scale * estimate.low, digits)}, {format_number(scale * estimate.high, digits)}]"


def format_estimate(estimate: Estimate, *, scale: float = 1, digits: int = 2) -> str:
    """'value [low, high]'; where there is no value, an en dash and why."""
    if estimate.value is None:
        return f"{MISSING} ({estimate.note})" if estimate.note else MISSING
    interval = format_interval(estimate, scale=scale, digits=digits)
    return f"{format_number(scale * estimate.value, digits)} {interval}".strip()


def format_p_value(p_value: float | None) -> str:
    """'p 0.03', 'p < 0.001', or nothing for None."""
    if p_value is None:
        return ""
    return "p < 0.001" if p_value < 0.001 else f"p {p_value:.2g}" if p_value < 0.095 else f"p {p_value:.1f}"


def format_count(count: int | None) -> str:
    """Thousands apart; an en dash for None."""
    return MISSING if count is None else f"{count:,}"


def format_percent(fraction: float, digits: int = 2) -> str:
    """A fraction as a percentage of up to so many decimals."""
    return f"{round(100 * fraction, digits):g}{PERCENT}"


def format_minutes(seconds: float | None) -> str:
    """Minutes, with a decimal below a hundred; an en dash for None."""
    if seconds is None:
        return MISSING
    minutes = seconds / MINUTE
    return f"{minutes:.1f}" if minutes < 100 else f"{minutes:,.0f}"


def format_duration(seconds: float | None) -> str:
    """Seconds, minutes, hours or days, whichever reads best; an en dash for None."""
    if seconds is None:
        return MISSING
    if seconds < 2 * MINUTE:
        return f"{seconds:.0f} s"
    if seconds < 2 * HOUR:
        return f"{seconds / MINUTE:.1f} min" if seconds < 10 * MINUTE else f"{seconds / MINUTE:.0f} min"
    return f"{seconds / HOUR:.1f} h" if seconds < 2 * DAY else f"{seconds / DAY:.1f} days"


def format_score(value: float) -> str:
    """Four significant digits, for scores of any size; thousands apart from 10,000 on."""
    text = f"{value:,.0f}" if 1e4 <= abs(value) < 1e7 else f"{value:.4g}"
    return text.replace("-", "−")


def format_size(count: float) -> str:
    """Three significant digits with k, M, G or T; beyond these with an exponent."""
    power = int(math.log10(count) // 3) if 1 <= count < 1e15 else 0
    return f"{count / 1000**power:.3g}{('', 'k', 'M', 'G', 'T')[power]}"


def join_names(names: Sequence[str]) -> str:
    """'a', 'a and b', 'a, b and c'."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
