"""Numbers in the documents that nobody measured, and what in the code they are."""

import re
import tomllib
from pathlib import Path

from harness.analysis.estimates import CONFIDENCE
from harness.analysis.tost import ALPHA, POWER
from harness.analysis.verdicts import DEFAULT_MARGIN
from harness.bundling.wheels import NEWEST_GLIBC
from harness.claims import claims
from harness.config import load_recipe
from harness.config.values import NUM_TRAIN_IMAGES
from harness.data.download import MAX_DOWNLOAD_BYTES
from harness.data.members import MAX_MEMBER_BYTES
from harness.data.rate import RATE_WINDOW_S
from harness.execution.live import SECONDS_BETWEEN_OBJECTS
from harness.execution.lock import SECONDS_BETWEEN_BEATS, SILENCE
from harness.profiling.load import BUSY_SHARE
from harness.records import live
from harness.records.compact import MAX_BYTES

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))["project"]
PAPER = load_recipe("paper")
RESNET20 = claims()["he2015-resnet20"]
RESNET110 = claims()["he2015-resnet110"]


def least(package):
    """The oldest version that the project takes."""
    [found] = [
        re.search(r">=(.+)", its)[1] for its in PROJECT["dependencies"] if its.startswith(f"{package}>")
    ]
    return found


def megabytes(number):
    return f"{number / 2**20:g} MiB"


def level():
    assert ALPHA == BUSY_SHARE == 0.05
    return "5 %"


def confidence():
    return f"{100 * CONFIDENCE:g} %"


def python():
    return PROJECT["requires-python"].removeprefix(">=")


def section():
    return re.search(r"section (\S+)[.,]", PAPER.source)[1]


CONSTANTS = {
    "CHANGELOG.md": {"4.2": section},
    "README.md": {
        "1512.03385": lambda: re.search(r"arXiv:([\d.]+\d)", RESNET20.stated_in)[1],
        "4.2": section,
        "3.11": python,
        "8.75 %": lambda: f"{RESNET20.test_error_percent} %",
    },
    "SECURITY.md": {
        "64 MiB": lambda: megabytes(MAX_MEMBER_BYTES),
        "512 MiB": lambda: megabytes(MAX_DOWNLOAD_BYTES),
        "1 MiB": lambda: megabytes(live._MAX_BYTES),
    },
    "docs/decisions/0005-intervals-of-timings.md": {"95 %": confidence},
    "docs/decisions/0008-verdicts.md": {
        "5 %": level,
        "80 %": lambda: f"{100 * POWER:g} %",
        "90 %": lambda: f"{100 * (1 - 2 * ALPHA):g} %",
        "95 %": confidence,
        "0.16 points": lambda: f"{re.search(r'deviation (.+)$', RESNET110.note)[1]} points",
    },
    "docs/guide.md": {"4.2": section, "15 s": lambda: f"{RATE_WINDOW_S:g} s"},
    "docs/judging.md": {
        "0.5 percentage points": lambda: f"{100 * DEFAULT_MARGIN:g} percentage points",
        "5 %": level,
    },
    "docs/offline.md": {
        "3.11": python,
        "2.28": lambda: f"2.{NEWEST_GLIBC}",
        "2.9": lambda: least("torch"),
        "0.24": lambda: least("torchvision"),
    },
    "docs/reproducibility.md": {
        "64,000 of 128": lambda: f"{PAPER.iterations:,} of {PAPER.batch_size}",
        "163.84": lambda: f"{PAPER.iterations * PAPER.batch_size / NUM_TRAIN_IMAGES:g}",
    },
    "docs/speed.md": {"5 %": level},
    "docs/scaling.md": {
        "30 s": lambda: f"{SECONDS_BETWEEN_BEATS:g} s",
        "3 min": lambda: f"{SILENCE.total_seconds() / 60:g} min",
        "15 s": lambda: f"{SECONDS_BETWEEN_OBJECTS:g} s",
        "32 MiB": lambda: megabytes(MAX_BYTES),
    },
}
"""By document and text: a function that makes the text of what the code has."""
