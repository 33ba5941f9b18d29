import pytest

from nasproxy.formatting import (
    format_duration,
    format_estimate,
    format_interval,
    format_minutes,
    format_number,
    format_percent,
    format_score,
    join_names,
)
from nasproxy.ranking import Estimate


@pytest.mark.parametrize(
    ("value", "text"), [(None, "–"), (-0.004, "0.00"), (-0.05, "−0.05"), (1.0, "1.00"), (0.876, "0.88")]
)
def test_numbers_have_a_true_minus_and_no_negative_zero(value: float | None, text: str) -> None:
    assert format_number(value) == text


def test_an_estimate_without_interval_has_no_brackets() -> None:
    assert format_estimate(Estimate(0.5, None, None, 9)) == "0.50"
    assert format_estimate(Estimate(0.5, -0.1, 0.9, 9)) == "0.50 [−0.10, 0.90]"
    assert format_interval(Estimate(0.5, -0.1, 0.9, 9), scale=100, digits=0) == "[−10, 90]"
    assert format_interval(Estimate(0.5, None, None, 9)) == ""


def test_an_estimate_without_value_says_why() -> None:
    assert format_estimate(Estimate(None, None, None, 2, note="too few architectures")) == "– (too few architectures)"
    assert format_estimate(Estimate(None, None, None, 2)) == "–"


def test_small_things_are_written_as_people_do() -> None:
    times = (61, 600, 8000, 200_000)
    assert [format_duration(seconds) for seconds in times] == ["61 s", "10 min", "2.2 h", "2.3 days"]
    assert [format_minutes(seconds) for seconds in (61, 72_000)] == ["1.0", "1,200"]
    assert [format_score(score) for score in (0.01234567, 152_370.2, -3e9)] == ["0.01235", "152,370", "−3e+09"]
    assert [format_percent(share, 0) for share in (0.05, 0.996, 1.02)] == ["5\xa0%", "100\xa0%", "102\xa0%"]
    assert format_percent(0.125) == "12.5\xa0%"
    assert [join_names(list(names)) for names in ("a", "ab", "abc")] == ["a", "a and b", "a, b and c"]
