"""When a source counts as too slow."""

from __future__ import annotations

from collections import deque

from harness.errors import SourceError

__all__ = ["MIN_RATE_BYTES_PER_S", "RATE_WINDOW_S", "RateGuard", "SlowSourceError"]

MIN_RATE_BYTES_PER_S = 250_000
"""Below this a source is left for the next. The data set then takes more than ten minutes; the official host,
throttled since June 2026, has been seen at 55-85 kB/s (pytorch/vision#9536)."""

RATE_WINDOW_S = 15.0
"""The rate is judged over this long, so that a hiccup does not count."""


class SlowSourceError(SourceError):
    """A source was left because it is slow; what it delivered is kept and it may be taken up again."""


class RateGuard:
    """Judges a transfer by its mean rate over a sliding window. Knows no clock: times are told to it.

    Args:
        min_rate_bytes_per_s: the rate below which a transfer is too slow.
        window_s: length of the window.
    """

    _NUM_SAMPLES_PER_WINDOW = 30

    def __init__(
        self, min_rate_bytes_per_s: float = MIN_RATE_BYTES_PER_S, window_s: float = RATE_WINDOW_S
    ) -> None:
        self._min_rate = min_rate_bytes_per_s
        self._window_s = window_s
        self._samples: deque[tuple[float, int]] = deque()

    def __str__(self) -> str:
        return f"{self._min_rate / 1000:.0f} kB/s over {self._window_s:.0f} s"

    def too_slow(self, now_s: float, num_bytes: int) -> bool:
        """Take a state of the transfer and judge it.

        Args:
            now_s: the time, from any origin; never less than in the call before.
            num_bytes: bytes transferred so far; never less than in the call before.

        Returns:
            Whether the last window was too slow. Always False before one whole window has passed.
        """
        # one sample in a thirtieth of a window is exact enough, and keeps fast transfers from piling them up
        if not self._samples or now_s - self._samples[-1][0] >= self._window_s / self._NUM_SAMPLES_PER_WINDOW:
            self._samples.append((now_s, num_bytes))
        while len(self._samples) > 1 and now_s - self._samples[1][0] >= self._window_s:
            self._samples.popleft()
        start_s, start_bytes = self._samples[0]
        elapsed_s = now_s - start_s
        return elapsed_s >= self._window_s and (num_bytes - start_bytes) / elapsed_s < self._min_rate
