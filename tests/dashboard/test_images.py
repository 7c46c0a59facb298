"""The test images beside the dashboard, which may come while it runs."""

from types import SimpleNamespace

import pytest
import streamlit as st

from harness.errors import DataError

from .conftest import DASHBOARD


class FakeCache:
    """Of which a test says what is in it: nothing, whole images, or damaged ones."""

    content = None
    num_loaded = 0

    def __init__(self, root):
        self.folder = root

    def verify(self):
        if self.content is None:
            raise DataError("no CIFAR-10")
        return [SimpleNamespace(pixels_match=self.content == "whole", labels_match=True)]

    def load(self, sources, progress):
        assert self.content == "whole"
        type(self).num_loaded += 1
        return "images"


@pytest.fixture
def images(monkeypatch):
    """The module, with a cache of which a test says what is in it."""
    monkeypatch.syspath_prepend(DASHBOARD)
    from parts import images

    class Cache(FakeCache):
        pass

    monkeypatch.setattr(images, "Cache", Cache)
    st.cache_resource.clear()
    yield images
    st.cache_resource.clear()


@pytest.mark.parametrize("before", [None, "damaged"])
def test_images_that_were_fetched_meanwhile_are_found_and_kept(images, before):
    images.Cache.content = before
    assert images.images_here() is None
    images.Cache.content = "whole"
    assert images.images_here() == images.images_here() == "images"
    assert images.Cache.num_loaded == 1
