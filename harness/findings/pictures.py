"""Pictures of findings: drawn by plotly in Chromium, and only where a finding has changed."""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import plotly.graph_objects as go

from harness.atomic import write_atomically
from harness.charts import DARK, LIGHT, Theme, paint
from harness.errors import PictureError, printable
from harness.findings.finding import Finding

__all__ = ["draw", "is_current"]

_WIDTH: Final = 760
_THEMES: Final[Mapping[str, Theme]] = {"": LIGHT, "-dark": DARK}
_UID: Final = re.compile(r'id="defs-([0-9a-f]{6})"')


def draw(findings: Sequence[Finding], folder: Path) -> list[Path]:
    """Draw what is missing in a folder, or shows other records; nothing is drawn where all is as it should be.

    Args:
        findings: those without a chart are passed over.
        folder: where ``KEY.svg`` and, for dark pages, ``KEY-dark.svg`` of each finding are.

    Returns:
        The files that were drawn.

    Raises:
        PictureError: kaleido or Chromium is not there, or fails.
        StorageError: a file cannot be written.
    """
    drawn = []
    for finding in findings:
        chart = finding.answer.chart
        if chart is None:
            continue
        for suffix, theme in _THEMES.items():
            file = folder / f"{finding.question.key}{suffix}.svg"
            figure = paint(copy.deepcopy(chart.figure), theme)
            if not is_current(file, figure):
                write_atomically(file, _svg(figure))
                drawn.append(file)
    return drawn


def is_current(file: Path, figure: go.Figure) -> bool:
    """Whether a file is a picture of this figure."""
    try:
        return _mark(figure) in file.read_bytes()
    except OSError:
        return False


def _svg(figure: go.Figure) -> bytes:
    """The picture, with the digest of the figure in it, and nothing that differs from one drawing to the next."""
    mark = _mark(figure)
    for number, trace in enumerate(figure.data):
        trace.uid = str(number)  # which is drawn by lot else
    try:
        drawn: bytes = figure.to_image("svg", width=_WIDTH, height=figure.layout.height or 420)
    except Exception as error:  # kaleido's and choreographer's exceptions have no common base
        raise PictureError(
            f"cannot draw a picture ({printable(error)}); it takes Chromium and, from the dependency group 'documents', "
            "kaleido: nox -s documents has both if Chromium is installed, e.g. apt-get install chromium"
        ) from error
    text = drawn.decode()
    if found := _UID.search(text):
        text = text.replace(found[1], "figure")
    start = text.index(">") + 1
    return text[:start].encode() + mark + text[start:].encode()


def _mark(figure: go.Figure) -> bytes:
    """What says which figure a picture is of, to six digits: other processors round the rest otherwise."""
    content = json.dumps([_WIDTH, _rounded(figure.to_dict())], sort_keys=True, default=str)
    return f"<metadata>figure {hashlib.sha256(content.encode()).hexdigest()}</metadata>".encode()


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping) and {"dtype", "bdata"} <= value.keys():  # as plotly has arrays
        array = np.frombuffer(base64.b64decode(value["bdata"]), value["dtype"])
        return [value.get("shape"), *_rounded(array.tolist())]
    if isinstance(value, Mapping):
        return {str(key): _rounded(its) for key, its in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(its) for its in value]
    return value
