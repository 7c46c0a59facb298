"""What pytest-benchmark measured, as records."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.errors import RecordError, printable

__all__ = ["read_report"]


def read_report(path: Path) -> list[dict[str, Any]]:
    """Rows of the records of kind ``benchmarks`` from a file of ``pytest --benchmark-only --benchmark-json FILE``.

    Raises:
        RecordError: it is no such file, or was not made by the harness's benchmarks.
    """
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        measured_at = datetime.fromisoformat(report["datetime"]).astimezone(UTC)
        here = report["machine_info"]["harness"]
        benchmarks = report["benchmarks"]
        node = re.sub(r"[^A-Za-z0-9.-]+", "-", report["machine_info"]["node"])[:_MAX_NODE]
        session_id = f"{measured_at:%Y%m%dT%H%M%S}-{node}"  # names a file
        return [
            {
                "session_id": session_id,
                "group": benchmark["group"] or "",
                "name": benchmark["name"],
                "parameters": json.dumps(benchmark["params"] or {}, default=str),
                "round_seconds": _times(benchmark["stats"]["data"]),
                "images": benchmark["extra_info"].get("images"),
                "extra": json.dumps(benchmark["extra_info"]),
                "measured_at": measured_at,
                **here,
            }
            for benchmark in benchmarks
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        reason = f"lacks {error}" if isinstance(error, KeyError) else error
        raise RecordError(
            f"{printable(path)}: is no report of the benchmarks ({printable(reason)}); make one with: pytest --benchmark-only "
            "--benchmark-json FILE"
        ) from error


_MAX_NODE = 100
"""Characters of the name of a machine."""


def _times(rounds: Sequence[float]) -> list[float]:
    """Seconds of each round.

    Raises:
        ValueError: there is none, or one that no round can take.
    """
    times = [float(seconds) for seconds in rounds]
    if not times or not all(0 < seconds < math.inf for seconds in times):
        raise ValueError("a benchmark has no rounds, or one that took no time")
    return times
