"""What pytest-benchmark measured, as records."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.errors import RecordError

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
        session_id = f"{measured_at:%Y%m%dT%H%M%S}-{report['machine_info']['node']}"
        return [
            {
                "session_id": session_id.replace("/", "-"),
                "group": benchmark["group"] or "",
                "name": benchmark["name"],
                "parameters": json.dumps(benchmark["params"] or {}, default=str),
                "round_seconds": [float(seconds) for seconds in benchmark["stats"]["data"]],
                "images": benchmark["extra_info"].get("images"),
                "extra": json.dumps(benchmark["extra_info"]),
                "measured_at": measured_at,
                **here,
            }
            for benchmark in benchmarks
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = f"lacks {error}" if isinstance(error, KeyError) else str(error)
        raise RecordError(
            f"{path}: is no report of the benchmarks ({reason}); make one with: pytest --benchmark-only "
            "--benchmark-json FILE"
        ) from error
