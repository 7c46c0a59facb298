"""How commands write seeds; the commands themselves are tested with the inventory."""

import pytest

from harness.analysis.commands import seed_ranges
from harness.cli.options import numbers


@pytest.mark.parametrize(
    ("seeds", "ranges"),
    [
        ([], []),
        ([3], ["3"]),
        ([1, 0], ["0", "1"]),
        ([2, 0, 1], ["0-2"]),
        ([0, 2, 5, 6, 7, 9, 10], ["0", "2", "5-7", "9", "10"]),
        ([1, 1, 2, 3], ["1-3"]),
        ([2**63 - 1], [str(2**63 - 1)]),
    ],
)
def test_seeds_are_written_as_they_are_read(seeds, ranges):
    assert seed_ranges(seeds) == ranges
    assert not seeds or numbers(",".join(ranges)) == sorted(set(seeds))
