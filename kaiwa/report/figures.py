"""Figures as text, each with unit and, if known, interval."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

NONE = "–"
UNIT = "\N{NO-BREAK SPACE}%"
Interval = Mapping[str, Any]  # {"mean", "low", "high", "n"}, null where nothing was measured


def number(value: Any, digits: int = 3) -> str:
    """Format a number to three significant digits, thousands marked; "–" for None and for values that are not
    finite.
    """
    if value is None or isinstance(value, bool) or (isinstance(value, float) and not math.isfinite(value)):
        return NONE
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return f"{value:,}"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    if value and (abs(value) < 1e-3):
        return f"{value:.{digits - 1}e}"
    text = f"{value:.{digits}g}"
    return f"{value:,.0f}" if "e" in text else text  # 999.7 to three digits is 1,000, not 1e+03


def percent(value: Any) -> str:
    """Format a share: 0.634 -> '63 %' (a no-break space); one decimal near 0 and 100 %, where a percent matters."""
    if value is None:
        return NONE
    share = float(value) * 100
    near = 0 < min(abs(share), abs(100 - share)) < 2
    return f"{share:.1f}{UNIT}" if near else f"{share:.0f}{UNIT}"


def is_measured(interval: Interval | None) -> bool:
    return bool(interval) and interval is not None and interval.get("mean") is not None


def limits(interval: Interval, *, share: bool = True, signed: bool = False) -> str:
    """Format an interval's limits: '58–68 %' for a share, else '−0.02 … 0.11'."""
    low, high = interval.get("low"), interval.get("high")
    if low is None or high is None:
        return NONE
    if share:
        return f"{percent(max(0.0, low)).removesuffix(UNIT)}–{percent(min(1.0, high))}"
    return f"{sign(low) if signed else number(low)} … {sign(high) if signed else number(high)}"


def sign(value: float | None, digits: int = 2) -> str:
    """Format a difference with its sign: '+0.12', '−0.03'."""
    if value is None:
        return NONE
    text = f"{abs(value):.{digits}f}"
    return text if float(text) == 0 else f"{'−' if value < 0 else '+'}{text}"


def clock(seconds: float | None) -> str:
    """Format seconds: 254 -> '4:14'; 8.2 -> '8.2 s'; 15 -> '15 s'."""
    if seconds is None:
        return NONE
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


def against(interval: Interval | None, neutral: float) -> str:
    """Return where an interval lies: "above", "below" or "around" the neutral value, or "missing"."""
    if not is_measured(interval) or interval is None or interval.get("low") is None:
        return "missing"
    if interval["low"] > neutral:
        return "above"
    return "below" if interval["high"] < neutral else "around"
