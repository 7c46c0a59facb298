"""Rounds that were timed by `harness.profiling.timing` or a race, tabulated by pytest-benchmark."""

import itertools


class Clock:
    """Shows times that were measured before; the timer of tests that call `tabulate`."""

    def __init__(self):
        self._time = 0.0
        self._ticks = itertools.count()

    def __call__(self):
        return self._time + 1e-9 * next(self._ticks)  # a clock that stood still would be waited for

    def tabulate(self, benchmark, round_seconds):
        """A row of the table."""
        rounds = iter(round_seconds)

        def show_next():
            self._time += next(rounds)

        benchmark.pedantic(show_next, rounds=len(round_seconds), iterations=1)
