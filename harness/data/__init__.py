"""CIFAR-10 from wherever it can be had, verified by content, in one canonical order. No torch.

    >>> from harness.data import load
    >>> images = load("synthetic")
    >>> images.train_images.shape
    (2048, 3, 32, 32)

`load` gives the data set, fetching it first where it is not there; `verify` checks the copy that is.
"""

from harness.data.cache import Cache, cache_folder
from harness.data.digests import BatchDigest, BatchReport, DigestTable
from harness.data.imageset import CLASSES, IMAGE_SHAPE, ImageSet
from harness.data.loading import DATA_NAMES, load, verify
from harness.data.progress import LineProgress, Progress, SilentProgress, show_progress
from harness.data.rate import MIN_RATE_BYTES_PER_S
from harness.data.readers import ACCEPTED_PATHS
from harness.data.sources import SOURCE_NAMES
from harness.data.synthetic import synthetic

__all__ = [
    "ACCEPTED_PATHS",
    "CLASSES",
    "DATA_NAMES",
    "IMAGE_SHAPE",
    "MIN_RATE_BYTES_PER_S",
    "SOURCE_NAMES",
    "BatchDigest",
    "BatchReport",
    "Cache",
    "DigestTable",
    "ImageSet",
    "LineProgress",
    "Progress",
    "SilentProgress",
    "cache_folder",
    "load",
    "show_progress",
    "synthetic",
    "verify",
]
