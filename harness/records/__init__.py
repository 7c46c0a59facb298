"""Results on disk: the schema of every kind of record, and the store that reads and writes them."""

from harness.records.live import Live, LiveEpoch, LiveRun, LiveSweep
from harness.records.packs import PACKED
from harness.records.schema import ENDED, KINDS, SCHEMA_VERSION
from harness.records.store import BrokenFile, Store

__all__ = [
    "ENDED",
    "KINDS",
    "PACKED",
    "SCHEMA_VERSION",
    "BrokenFile",
    "Live",
    "LiveEpoch",
    "LiveRun",
    "LiveSweep",
    "Store",
]
