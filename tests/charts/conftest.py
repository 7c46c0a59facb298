import base64

import numpy as np
import pytest

from harness.analysis.estimates import estimate
from harness.analysis.groups import group_runs


@pytest.fixture
def make_group(make_seeds):
    """A function from accuracies and changed columns to their group."""

    def make(*accuracies, **changes):
        [group] = group_runs(make_seeds(*accuracies, **changes))
        return group

    return make


@pytest.fixture
def make_estimate():
    """A function from values to their estimate."""

    def make(*values):
        return estimate(values)

    return make


def decoded(value):
    """What plotly writes as bytes, as a list."""
    if isinstance(value, dict) and set(value) == {"dtype", "bdata"}:
        return np.frombuffer(base64.b64decode(value["bdata"]), dtype=value["dtype"]).tolist()
    return value


@pytest.fixture
def traces_of():
    """A function from a chart to its traces; each axis must say what it shows, or be one of names."""

    def read(chart):
        figure = chart.figure.to_plotly_json()
        assert chart.alt
        for name in ("xaxis", "yaxis"):
            axis = figure["layout"][name]
            assert axis["title"]["text"] or axis["type"] == "category"
        return [{name: decoded(value) for name, value in trace.items()} for trace in figure["data"]]

    return read
