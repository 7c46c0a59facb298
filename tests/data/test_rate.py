from hypothesis import given, settings
from hypothesis import strategies as st

from harness.data.rate import RateGuard


def test_nothing_is_judged_before_one_window_has_passed():
    guard = RateGuard(min_rate_bytes_per_s=100, window_s=10)
    assert [guard.too_slow(second, 0) for second in (0, 5, 9.9)] == [False] * 3
    assert guard.too_slow(10, 0)


def test_the_mean_over_the_window_counts():
    guard = RateGuard(min_rate_bytes_per_s=100, window_s=10)
    assert not guard.too_slow(0, 0)
    assert not guard.too_slow(9, 0)
    assert not guard.too_slow(10, 1000)  # 1000 bytes in 10 s: exactly enough
    assert guard.too_slow(10.5, 1000)  # 1000 bytes in 10.5 s
    assert not guard.too_slow(19, 1000)  # since second 9: 1000 bytes in 10 s
    assert guard.too_slow(20.5, 1000)  # since second 10: nothing


def test_an_old_burst_does_not_excuse_a_stall():
    guard = RateGuard(min_rate_bytes_per_s=100, window_s=10)
    guard.too_slow(0, 0)
    guard.too_slow(1, 1_000_000)
    assert not guard.too_slow(10, 1_000_000)
    assert guard.too_slow(11, 1_000_000)


@settings(deadline=None)
@given(st.lists(st.floats(0.001, 5), min_size=1, max_size=200), st.floats(100.0, 1e6))
def test_a_steady_source_at_or_above_the_rate_is_never_slow(steps, rate):
    guard = RateGuard(min_rate_bytes_per_s=100, window_s=10)
    now = 0.0
    for step in steps:
        now += step
        assert not guard.too_slow(now, int(now * rate * 1.001) + 1000)


@settings(deadline=None)
@given(st.lists(st.floats(0.001, 5), min_size=1, max_size=200))
def test_a_source_that_sends_nothing_is_slow_from_the_first_full_window(steps):
    guard = RateGuard(min_rate_bytes_per_s=100, window_s=10)
    guard.too_slow(0, 0)
    now = 0.0
    for step in steps:
        now += step
        assert guard.too_slow(now, 0) == (now >= 10)


def test_few_samples_are_kept_however_fast_they_come():
    guard = RateGuard(min_rate_bytes_per_s=1, window_s=10)
    for tick in range(100_000):
        guard.too_slow(tick / 1000, tick)
    assert len(guard._samples) < 50
