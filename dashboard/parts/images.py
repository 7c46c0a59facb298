"""The test images, if they are on this machine; the dashboard fetches nothing."""

from __future__ import annotations

import streamlit as st

from harness.data import Cache, ImageSet, SilentProgress, cache_folder
from harness.errors import DataError

__all__ = ["images_here"]


def images_here() -> ImageSet | None:
    """CIFAR-10 from the cache, verified; None if it is not there, or damaged, which is left as it is."""
    try:
        return _images()
    except DataError:
        return None


@st.cache_resource(show_spinner="Reading images")
def _images() -> ImageSet:
    """Kept once they are there; until then they are looked for each time.

    Raises:
        DataError: they are not there, or damaged.
    """
    cache = Cache(cache_folder())
    if not all(report.pixels_match and report.labels_match for report in cache.verify()):
        raise DataError(f"the CIFAR-10 in {cache.folder} is damaged")
    return cache.load(list, SilentProgress())
