"""Results on disk: the schema of every kind of record, and the store that reads and writes them."""

from harness.records.schema import KINDS, SCHEMA_VERSION
from harness.records.store import BrokenFile, Store

__all__ = ["KINDS", "SCHEMA_VERSION", "BrokenFile", "Store"]
