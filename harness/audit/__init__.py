"""Published weights, evaluated as their repositories say, and what was claimed of them."""

from harness.audit.audit import audit
from harness.audit.checkpoints import PublishedCheckpoint, find_checkpoint, published_checkpoints

__all__ = ["PublishedCheckpoint", "audit", "find_checkpoint", "published_checkpoints"]
