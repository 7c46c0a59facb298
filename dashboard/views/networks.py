"""Same network? Identity cards side by side, what differs marked, and which are the same function."""

from __future__ import annotations

import pandas as pd
import streamlit as st
from parts.filters import choose, chosen_shelf
from parts.show import show_chart, show_table

from harness.analysis.equivalence import implementations, relation
from harness.charts import relations_figure

_SHOWN = {
    "source": "model_source",
    "licence": "licence",
    "changed": "adapted",
    "parameters": "parameters",
    "MACs": "macs",
    "layers on the main path": "layers_on_main_path",
    "layers beside it": "layers_beside",
    "stem": "stem",
    "shortcuts": "num_shortcuts",
    "shortcut": "shortcut",
    "pooling": "pooling",
    "initial weights": "initialization",
    "compared with": "counterpart",
    "function": "equivalence",
    "first deviates at": "first_deviation",
}
_RELATIONS = (
    "Identical: bit for bit; equal: but for rounding; permuted: with channels in another order; different: another function. "
    "With the same weights in both, logits and gradients of real images are compared in float32 and float64."
)


def _order(network: str) -> tuple[bool, str, int]:
    """Plain ones, residual ones, those with projections; each by depth."""
    kind, depth = network.removesuffix("-b").rstrip("0123456789"), "".join(filter(str.isdecimal, network))
    return network.endswith("-b"), kind, int(depth[:6] or 0)


st.title("Same network?")
shelf = chosen_shelf()
if not shelf.cards:
    st.info("No identity card is recorded. This writes one for every model:")
    st.code("harness identify", language=None)
    st.stop()
passing = choose(shelf, "model").among(shelf.cards, model=lambda card: card["model"])
cards = {card["model"]: card for card in passing}
if not cards:
    st.info("No identity card passes these filters; remove one.")
    st.stop()

st.header("Side by side")
names = sorted(cards)
defaults = [name for name in ("resnet20", "akamaster-resnet20", "kuangliu-resnet18") if name in cards]
chosen = st.multiselect("Models", names, default=defaults or names[:2], key="cards", bind="query-params")
only = st.toggle("Only what differs", key="differing", bind="query-params")
if chosen:
    lines = {
        label: [str("-" if cards[name][column] is None else cards[name][column]) for name in chosen]
        for label, column in _SHOWN.items()
    }
    if only:
        lines = {label: cells for label, cells in lines.items() if len(set(cells)) > 1}
    table = pd.DataFrame.from_dict(lines, orient="index", columns=chosen)
    differing = table.apply(lambda line: line != line.iloc[0], axis=1)
    marks = differing.replace({True: "background-color: rgba(213, 94, 0, 0.18)", False: ""})
    st.dataframe(
        table.style.apply(lambda _: marks, axis=None),
        key="card-table",
        width="stretch",
        height="content",
        alt="Identity cards",
    )
    st.caption("Marked: what is otherwise than in the first column.")
if len(chosen) > 1:
    show_chart(
        relations_figure(
            {(one, other): relation(cards[one], cards[other]) for one in chosen for other in chosen},
            chosen,
            chosen,
        ),
        "relations",
    )
    st.caption(_RELATIONS)

st.header("Which are the paper's")
found = implementations(passing)
if found:
    rows = sorted({row for row, _ in found}, key=lambda row: (row != "ours", row))
    columns = sorted({column for _, column in found}, key=_order)
    show_chart(relations_figure(found, rows, columns), "implementations")
    st.caption(
        "Implementations by network of section 4.2; -b: with shortcuts of option B (projections). A row of its own is a network that "
        "is another than the one of the paper it resembles most."
    )
show_table(
    [
        {
            "model": card["model"],
            "compared with": card["counterpart"],
            "function": card["equivalence"],
            "largest difference of logits, float64": card["difference_of_logits_fp64"],
            "largest difference of gradients, float64": card["difference_of_gradients_fp64"],
            "first deviates at": card["first_deviation"],
            "parameters": card["parameters"],
            "MACs": card["macs"],
            "source": card["model_source"],
        }
        for card in cards.values()
    ],
    "identities",
    {
        "function": _RELATIONS,
        "largest difference of logits, float64": "Relative to the largest logit; sums in another order differ by some 1e-13",
        "largest difference of gradients, float64": "Relative to the largest gradient",
    },
)
