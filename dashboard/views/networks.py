"""Same network? Identity cards side by side, what differs marked, and which are the same function."""

from __future__ import annotations

import pandas as pd
import streamlit as st
from parts.filters import chosen_shelf
from parts.show import show_table

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

st.title("Same network?")
shelf = chosen_shelf()
cards = {card["model"]: card for card in shelf.cards}
if not cards:
    st.info("No identity card is recorded. This writes one for every model:")
    st.code("harness identify", language="shell")
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
    st.dataframe(table.style.apply(lambda _: marks, axis=None), key="card-table", width="stretch")
    st.caption("Marked: what is otherwise than in the first column.")

st.header("Which are the paper's")
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
        "function": "identical: bit for bit; equal: but for rounding; permuted: channels in another order; different: another"
    },
)
