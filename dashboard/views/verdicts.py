"""Did it reproduce? Every published number beside what was measured, and a leaderboard with its uncertainty."""

from __future__ import annotations

from collections import Counter

import streamlit as st
from parts.filters import chosen_groups, chosen_shelf
from parts.show import show_chart, show_table
from parts.stores import summaries_of
from parts.tables import group_row, per_cent, rounded

from harness.analysis.verdicts import DEFAULT_MARGIN, board_of_groups, notes_by_claims
from harness.charts import verdict_figure
from harness.claims import claims

_VERDICTS = ("reproduced", "better", "worse", "inconclusive", "not comparable")
_OF_THE_MEAN = "95 % interval of the mean over seeds (Student's t)"

st.title("Did it reproduce?")
shelf = chosen_shelf()
groups = chosen_groups(shelf)
margin = st.sidebar.number_input(
    "Margin, percentage points",
    min_value=0.05,
    max_value=10.0,
    value=100 * DEFAULT_MARGIN,
    step=0.05,
    key="margin",
    bind="query-params",
    help="A mean that is shown to lie nearer than this to a claim has reproduced it.",
)
board = board_of_groups(claims().values(), groups, shelf.networks, margin / 100)

counts = Counter(row.verdict for row in board)
with st.container(horizontal=True):
    for verdict in _VERDICTS:
        st.metric(verdict, counts[verdict], width="content")
st.caption(
    f"Reproduced: two one-sided t-tests show the mean over seeds to lie within {margin:g} points of the claim. Worse, better: it is "
    "shown to lie beyond. Inconclusive: neither is shown. Not comparable: the runs were not made as the claim was."
)

if any(row.judgement is not None for row in board):
    show_chart(verdict_figure(board, margin / 100), "verdicts")
shown = [row for row in board if row.group is not None]
show_table(
    [
        {
            "claim": row.claim.key,
            "verdict": row.verdict,
            "claimed error, %": row.claim.test_error_percent,
            "measured error, %": None if row.measured is None else per_cent(1 - row.measured.mean),
            "from": None if row.measured is None else per_cent(row.measured.error_interval[0]),
            "to": None if row.measured is None else per_cent(row.measured.error_interval[1]),
            **group_row(row.group, {}),
            "stated in": row.claim.stated_in,
        }
        for row in shown
        if row.group is not None
    ],
    "claims",
    {
        "verdict": "By two one-sided t-tests (TOST) with the margin on the left",
        "claimed error, %": "As published; where it was stated is in the last column",
        "measured error, %": "Mean over seeds of the epoch that the claim speaks of, usually the last",
        "from": _OF_THE_MEAN,
        "to": _OF_THE_MEAN,
        "seeds": "Completed runs that differ in nothing but their seed",
    },
)
with st.expander(
    "What is to be known beside these verdicts", expanded=not any(row.judgement for row in board)
):
    for note, keys in notes_by_claims(shown).items():
        st.text(f"{', '.join(keys)}: {note}")
    missing = [row.claim.key for row in board if row.group is None]
    if missing:
        st.text(f"Not measured: {', '.join(missing)}")

st.header("Leaderboard")
st.caption(
    "Test error after the last iteration, never of the best epoch; best first. Shortened runs say nothing of their recipe."
)
summaries = summaries_of(shelf, groups)
ranked = sorted(
    (summary for summary in summaries if summary.test_accuracy is not None),
    key=lambda summary: -summary.test_accuracy.mean,
)
show_table(
    [
        group_row(
            summary.group,
            {
                "test error, %": per_cent(1 - summary.test_accuracy.mean),
                "from": per_cent(summary.test_accuracy.error_interval[0]),
                "to": per_cent(summary.test_accuracy.error_interval[1]),
                "sd": per_cent(summary.test_accuracy.sd),
                "best epoch adds": None if summary.optimism is None else per_cent(summary.optimism.mean),
                "images/s": None
                if summary.images_per_second is None
                else rounded(summary.images_per_second.mean, 0),
            },
        )
        | {"shortened": summary.group.shortened}
        for summary in ranked
    ],
    "leaderboard",
    {
        "from": _OF_THE_MEAN,
        "to": _OF_THE_MEAN,
        "sd": "Standard deviation over seeds, in percentage points",
        "best epoch adds": "Percentage points of accuracy that quoting the best test epoch would add, mean over seeds",
        "images/s": "In training, without warm-up and compilation, mean over seeds",
        "shortened": "Fewer iterations than the recipe says",
    },
)
