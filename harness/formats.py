"""Numbers as people read them: in tables, in the report, on the dashboard."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = [
    "ABSENT",
    "duration",
    "duration_range",
    "interval",
    "listed",
    "p_value",
    "percent",
    "points",
    "seconds_for_people",
    "share",
]

ABSENT = "-"
"""What stands where there is no number."""
_SMALLEST_P = 0.001


def duration(seconds: float) -> str:
    """Time for people: ``45 s``, ``3 min 20 s``, ``2 h 05 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def duration_range(low: float, high: float) -> str:
    """Time that is not sure, as coarse as it is: ``2 h 10 min to 2 h 40 min``; one time if both ends read the same."""
    step = max(step for step in _STEPS if step <= max(1.0, (high - low) / 3))
    ends = duration(low // step * step), duration(-(-high // step) * step)
    return ends[0] if ends[0] == ends[1] else " to ".join(ends)


_STEPS = (1, 5, 10, 30, 60, 300, 600, 1800, 3600)


def seconds_for_people(value: float) -> str:
    """Time with three digits: ``1.23 s``, ``45.6 ms``, ``789 us``."""
    if value >= 999.5:
        return f"{value:.0f} s"
    for factor, unit in ((1, "s"), (1e3, "ms"), (1e6, "us")):
        if value * factor >= 0.9995:  # which is shown as 1
            return f"{value * factor:.3g} {unit}"
    return f"{value * 1e9:.3g} ns"


def percent(fraction: float | None) -> str:
    """Per cent without its sign: ``91.25``, as fine as 10,000 images are."""
    return ABSENT if fraction is None else f"{100 * fraction:z.2f}"


def share(fraction: float | None) -> str:
    """Per cent with its sign, and one digit: ``12.3 %``."""
    return ABSENT if fraction is None else f"{100 * fraction:z.1f} %"


def points(fraction: float | None) -> str:
    """Percentage points with their sign; what rounds to nothing has none of its own."""
    return ABSENT if fraction is None else f"{100 * fraction:+z.2f}"


def interval(low: float | None, high: float | None, *, signed: bool = False) -> str:
    """Both ends of an interval of fractions, in per cent or percentage points."""
    if low is None or high is None:
        return ABSENT
    form = points if signed else percent
    return f"{form(low)} .. {form(high)}"


def p_value(p: float | None) -> str:
    """Three digits, or ``< 0.001``."""
    if p is None:
        return ABSENT
    return f"< {_SMALLEST_P}" if p < _SMALLEST_P else f"{p:.3f}"


def listed(words: Sequence[str]) -> str:
    """``a, b and c``."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
