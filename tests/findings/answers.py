"""What is recorded for these tests, looking at answers, and what they are compared with."""

import re
import statistics
from datetime import UTC, datetime

import pytest
from scipy import stats

from harness.records import KINDS

START = datetime(2026, 5, 1, tzinfo=UTC)
MACHINE = {"cpu_name": "Some CPU", "cpu_cores": 2, "device": "cpu", "device_name": "Some CPU"}
ON_CPU = "training of ResNet-20, 16 mini-batches of 128 images on all cores"
ON_GPU = "training of ResNet-20, 200 mini-batches of 128 images on a GPU"
EVALUATION = "evaluation of ResNet-20 on the test set, all cores"
UPDATES = "20 updates of ResNet-20, bare and by the trainer"
DATA_PATH = "data path, 5,120 training images cropped, mirrored and normalised"
ADDED = "what the harness adds to a run, few of 100, many of 1,000"
SHARES = "4 runs of ResNet-20, 20 mini-batches each, on 2 cores"
TODAY = "baseline, 4 loaders"
NEAR = (0.912, 0.9125, 0.913)
"""Accuracies at the 8.75 % of ResNet-20."""
SETTING = ["recipe", "iterations", "precision", "device_name"]
GAIN = re.compile(
    r"(\S+) percentage points \((\d+) seeds?, (?:95 % interval (\S+) \.\. ([^),]+)|no interval)\)"
)


def texts(answer):
    return [statement.text for statement in answer.statements]


def only(answer, words):
    """The one sentence that holds some words."""
    [found] = [statement for statement in answer.statements if words in statement.text]
    return found


def check(answer):
    """What every answer keeps to, whatever the records."""
    for table in answer.tables:
        assert table.rows
        assert {len(row) for row in table.rows} == {len(table.columns)}
        assert table.numeric | table.wrapped <= set(table.columns)
    for statement in answer.statements:
        assert all(name.partition("/")[0] in KINDS for name in statement.records)
        assert statement.text.endswith(".")
        assert "None" not in statement.text
        assert "nan" not in statement.text.split()


def row_of(table, name):
    [row] = [row for row in table.rows if row[0] == name]
    return row


def names(runs, kind="runs"):
    return {f"{kind}/{run['run_id']}" for run in runs}


def of_runs(statement):
    return {name for name in statement.records if name.startswith("runs/")}


def paired(first, second):
    """Mean, n and Student's interval of differences, in points."""
    differences = [100 * (a - b) for a, b in zip(first, second, strict=True)]
    mean, n = statistics.fmean(differences), len(differences)
    if n == 1:
        return mean, n, None, None
    return mean, n, *stats.t.interval(0.95, n - 1, mean, stats.sem(differences))


def gain_of(text):
    """What a sentence states as a difference paired by seed: mean, n and interval."""
    mean, n, low, high = GAIN.search(text).groups()
    return [float(mean), int(n), *(None if end is None else float(end) for end in (low, high))]


def near(*expected):
    """To the digits that are shown."""
    return [None if value is None else pytest.approx(value, abs=0.0051) for value in expected]


def by_contestant(frame, group):
    """A mapping from contestant to times, for each session that has the group, on the machine of the newest."""
    rows = frame[frame.group == group]
    machine = ["cpu_name", "cpu_cores"]
    rows = rows[(rows[machine] == rows[machine].iloc[0]).all(axis=1)]
    return [
        dict(zip(its.contestant, its.times, strict=True)) for _, its in rows.groupby("session_id", sort=False)
    ]
