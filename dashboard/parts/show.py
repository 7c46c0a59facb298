"""How tables and charts are shown, and taken away."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from harness.charts import DARK, LIGHT, Chart, paint
from harness.formats import ABSENT

__all__ = ["show_chart", "show_table", "without_formulas"]

_CONFIG = {
    "displaylogo": False,
    "showSendToCloud": False,
    "toImageButtonOptions": {"format": "png", "scale": 2},
}
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def show_chart(chart: Chart, key: str) -> None:
    """A figure with its description; its toolbar saves it as PNG.

    Args:
        chart: what to show.
        key: of this chart among those of the page.
    """
    theme = DARK if st.context.theme.type == "dark" else LIGHT
    st.plotly_chart(
        paint(chart.figure, theme), key=key, alt=chart.alt, width="stretch", theme=None, config=_CONFIG
    )
    if chart.caption:
        st.caption(chart.caption)


def show_table(
    rows: Sequence[Mapping[str, Any]], key: str, helps: Mapping[str, str] | None = None, **options: Any
) -> Any:
    """A table that sorts, searches, and can be taken away as CSV and parquet, exactly as it is shown.

    Args:
        rows: cells by column.
        key: of this table among those of the page, and the name of its files.
        helps: what columns mean, by name.
        options: others of ``st.dataframe``.
    """
    frame = pd.DataFrame(list(rows))
    columns = {
        name: _column(frame[name], (helps or {}).get(name), pinned=number == 0)
        for number, name in enumerate(frame)
    }
    shown = st.dataframe(
        frame,
        key=key,
        hide_index=True,
        column_config=columns,
        width="stretch",
        placeholder=ABSENT,
        **options,
    )
    with st.container(horizontal=True):
        st.download_button(
            f"CSV of {key}",
            lambda: without_formulas(frame).to_csv(index=False),
            f"{key}.csv",
            "text/csv",
            key=f"{key}-csv",
            on_click="ignore",
        )
        st.download_button(
            f"parquet of {key}",
            lambda: _parquet(frame),
            f"{key}.parquet",
            "application/vnd.apache.parquet",
            key=f"{key}-parquet",
            on_click="ignore",
        )
    return shown


def _parquet(frame: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False)
    return buffer.getvalue()


def _column(values: pd.Series, text: str | None, *, pinned: bool) -> Any:
    """How a column is shown: with its help, and all its digits; the first stays while others are scrolled."""
    if _has_cents(values):
        return st.column_config.NumberColumn(help=text, format="%.2f", pinned=pinned)
    return st.column_config.Column(help=text, pinned=pinned)


def _has_cents(column: pd.Series) -> bool:
    """Whether it is of numbers with two digits after the point, which would else be shown with fewer."""
    if not pd.api.types.is_float_dtype(column):
        return False
    known = column.dropna()
    return len(known) > 0 and bool((known == known.round(2)).all()) and bool((known % 1 != 0).any())


def without_formulas(frame: pd.DataFrame) -> pd.DataFrame:
    """Texts that a spreadsheet would execute begin with an apostrophe instead; names of columns too."""
    safe = frame.rename(columns=_without_formula)
    for name in safe.columns:
        if not pd.api.types.is_numeric_dtype(safe[name]):
            safe[name] = [_without_formula(value) for value in safe[name]]
    return safe


def _without_formula(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
