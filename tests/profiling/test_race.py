"""Training loops advanced in turn."""

import pytest

from harness.errors import HarnessError
from harness.profiling.race import Contestant, race

OURS = Contestant(name="ours", loop="ours")


def test_every_contestant_is_timed_in_every_round_and_all_end():
    baseline = Contestant(name="theirs", loop="baseline", num_loaders=1)
    pair = Contestant(name="two", loop="ours", num_processes=2)
    results = race([baseline, OURS, pair], data="synthetic", num_rounds=2, num_iterations=1)
    assert [result.contestant for result in results] == [baseline, OURS, pair]
    assert [result.images_per_round for result in results] == [128, 128, 256]
    for result in results:
        assert len(result.round_seconds) == 2
        assert 0 < min(result.round_seconds) < result.start_seconds


def test_a_contestant_that_fails_is_named(capfd):
    with pytest.raises(HarnessError, match="ours: the process exited with code 1"):
        race([OURS], model="resnet21", data="synthetic", num_rounds=1, num_iterations=1)
    assert "no model named 'resnet21'" in capfd.readouterr().err
