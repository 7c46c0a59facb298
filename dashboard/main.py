"""The pages, and what stands on all of them."""

from __future__ import annotations

from pathlib import Path

import streamlit as st
from parts.filters import choose_store

from harness.errors import StorageError

PAGES = [
    ("verdicts.py", "Did it reproduce?", ":material/fact_check:"),
    ("accuracy.py", "Accuracy", ":material/show_chart:"),
    ("cost.py", "Cost", ":material/speed:"),
    ("mistakes.py", "Mistakes", ":material/image_search:"),
    ("networks.py", "Same network?", ":material/hub:"),
    ("bits.py", "Same bits?", ":material/fingerprint:"),
    ("runs.py", "Runs", ":material/list:"),
    ("live.py", "Live", ":material/pending:"),
]

# a file of ours: icons by name are fetched from another host
st.set_page_config(page_icon=Path(__file__).with_name("icon.png"), layout="wide")
chosen = st.navigation(
    [
        st.Page(f"views/{file}", title=title, icon=icon, default=file == "verdicts.py")
        for file, title, icon in PAGES
    ]
)
if st.context.theme.type == "dark":
    # what is chosen of several stands in white on the primary colour, which is pale there
    st.html("<style>[data-tag], [data-tag] * { color: #06121f !important }</style>")
choose_store()
try:
    chosen.run()
except StorageError as error:  # of a store that cannot be reached
    st.error(str(error))
