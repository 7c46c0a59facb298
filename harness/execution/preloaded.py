"""What a process imports from which workers on a CPU are forked, so that each begins with torch there.

Importing it computes nothing, since torch's threads would not survive a fork. It imports what training imports on its way,
`torch._dynamo` too, which an optimiser asks for in its first step: half of the seconds that a worker would need.
"""

from harness import allocator

__all__: list[str] = []

allocator.configure()  # before torch is imported; a fork keeps it

import pyarrow
import torch._dynamo  # noqa: F401

import harness.data
import harness.training.loop  # noqa: F401
from harness.environment import code_sha256, library_versions

code_sha256()  # of the code that is run, whatever becomes of its files; it is kept
library_versions()
pyarrow.array([0])  # the first array imports pandas, where it is installed
