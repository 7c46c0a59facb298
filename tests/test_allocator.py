import subprocess
import sys

import pytest

from harness import allocator

MIB = 2**20


class FakeLibrary:
    """A C library whose mallopt remembers its calls."""

    def __init__(self, accepts=1):
        self.settings = {}
        self.accepts = accepts

    def mallopt(self, number, value):
        self.settings[number] = value
        return self.accepts


@pytest.fixture
def use_library(monkeypatch):
    def use(library):
        monkeypatch.setattr(sys, "platform", "linux")
        monkeypatch.setattr(allocator.ctypes, "CDLL", lambda _name: library)

    return use


def test_glibc_is_told_to_keep_large_blocks(use_library):
    library = FakeLibrary()
    use_library(library)
    assert allocator.configure() == "glibc-tuned"
    # malloc.h: M_MMAP_THRESHOLD -3, M_TRIM_THRESHOLD -1, M_TOP_PAD -2
    assert library.settings == {-3: 32 * MIB, -1: 1024 * MIB, -2: 64 * MIB}


@pytest.mark.parametrize("library", [FakeLibrary(accepts=0), object()], ids=["refuses", "has no mallopt"])
def test_other_c_library_is_recorded_as_default(use_library, library):
    use_library(library)
    assert allocator.configure() == "default"


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_other_systems_are_left_alone(monkeypatch, platform):
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda _name: pytest.fail("was touched"))
    assert allocator.configure() == "default"


IS_ON_HEAP = """
import ctypes
import sys
from harness import allocator

if sys.argv[1] == "tuned" and allocator.configure() != "glibc-tuned":
    sys.exit("no glibc")
malloc = ctypes.CDLL(None).malloc
malloc.restype, malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
address = malloc(16 * 2**20)
heap = next(line.split()[0] for line in open("/proc/self/maps") if line.endswith("[heap]\\n"))
first, last = (int(bound, 16) for bound in heap.split("-"))
print(first <= address < last)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize(("how", "on_heap"), [("tuned", "True"), ("default", "False")])
def test_block_of_16_mib_stays_on_the_heap_only_if_configured(how, on_heap):
    result = subprocess.run(
        [sys.executable, "-c", IS_ON_HEAP, how], capture_output=True, text=True, check=False
    )
    if "no glibc" in result.stderr:
        pytest.skip("no glibc")
    assert result.stdout.strip() == on_heap, result.stderr
