"""Rounds that were taken in turn, tabulated by pytest-benchmark."""

import itertools
import time


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


def in_turn(subjects, *, num_rounds):
    """Seconds that each function takes, by its key; all are called once first, then in turn."""
    for subject in subjects.values():
        subject()
    seconds = {key: [] for key in subjects}
    for _ in range(num_rounds):
        for key, subject in subjects.items():
            start = time.perf_counter()
            subject()
            seconds[key].append(time.perf_counter() - start)
    return seconds
