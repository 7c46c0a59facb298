"""Downloads one file over HTTP, resumably."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from harness import __version__
from harness.data.part_file import PartFile
from harness.data.progress import Progress
from harness.data.rate import RateGuard, SlowSourceError
from harness.errors import SourceError, printable

if TYPE_CHECKING:
    import requests

__all__ = ["MAX_DOWNLOAD_BYTES", "download"]

MAX_DOWNLOAD_BYTES = 512 * 2**20
"""Nothing larger is taken; the official archive has 170,498,071 bytes."""

_CONNECT_TIMEOUT_S = 10
_READ_TIMEOUT_S = 30
_MAX_CUTS = 5  # a transfer cut this often without a real gain is given up
_REAL_GAIN_BYTES = 2**20
_CHUNK_BYTES = 8192  # small, so that the rate of a trickle is judged soon


class _CutError(SourceError):
    """The connection ended before the file did."""


def download(
    url: str,
    target: Path,
    *,
    description: str,
    progress: Progress,
    guard: RateGuard | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Fetch `url` into `target`, which appears whole or not at all.

    What arrives is kept in ``<target>.part``; a later call goes on from there, and from the start where the
    server does not resume or its validator (ETag or Last-Modified) says that the file is another by now.
    A connection that is cut is taken up again at once, a few times; more often while it keeps getting somewhere.

    Args:
        url: what to fetch.
        target: the file to make; its folder exists.
        description: what the progress is reported as.
        progress: hears of every chunk, in bytes.
        guard: judges the rate; None waits however slow the source is.
        clock: seconds from any origin, for the guard.

    Raises:
        SourceError: the server cannot be reached, answers with an error, or the connection keeps being cut.
        SlowSourceError: the guard found the transfer too slow.
        OSError: the disk is full or not writable.
    """
    import requests

    part = PartFile(target, url)
    meter = _Meter(guard, clock)
    cuts, furthest = 0, part.num_bytes
    while True:
        try:
            with requests.Session() as session:
                _transfer(session, part, meter=meter, description=description, progress=progress)
        except _CutError:
            # a long download may be cut often, as long as it gets somewhere in between
            cuts = cuts + 1 if part.num_bytes < furthest + _REAL_GAIN_BYTES else 1
            furthest = max(furthest, part.num_bytes)
            if cuts == _MAX_CUTS:
                raise
        except (requests.RequestException, ValueError) as error:  # ValueError: of urllib3, about the URL
            raise SourceError(_explain(error)) from error
        else:
            part.finish()
            return


class _Meter:
    """Counts what one download receives over all its connections, and stops it when the guard says so."""

    def __init__(self, guard: RateGuard | None, clock: Callable[[], float]) -> None:
        self._guard = guard
        self._clock = clock
        self._received = 0

    def add(self, num_bytes: int) -> None:
        self._received += num_bytes
        if self._guard and self._guard.too_slow(self._clock(), self._received):
            raise SlowSourceError(f"delivers less than {self._guard} (what came is kept)")


def _transfer(
    session: requests.Session, part: PartFile, *, meter: _Meter, description: str, progress: Progress
) -> None:
    """One request, from where the part file ends to the end of the file."""
    from urllib3.exceptions import HTTPError

    headers = {
        # compressed on the way, lengths and ranges would not be those of the file
        "Accept-Encoding": "identity",
        "User-Agent": f"resnet-repro-harness/{__version__}",
        **part.range_headers(),
    }
    meter.add(0)
    timeouts = (_CONNECT_TIMEOUT_S, _READ_TIMEOUT_S)
    with session.get(part.url, headers=headers, stream=True, timeout=timeouts) as response:
        done, total = _accept(response, part)
        progress.advance(description, done, total)
        if done == total:
            return
        try:
            with part.open(response.headers, append=done > 0) as file:
                # undecoded: some servers declare a .tar.gz as an encoding of a .tar, and it would be unpacked
                for chunk in response.raw.stream(_CHUNK_BYTES, decode_content=False):
                    file.write(chunk)
                    done += len(chunk)
                    _check_size(done)
                    progress.advance(description, done, total)
                    if done != total:
                        meter.add(len(chunk))
        except HTTPError as error:
            raise _CutError(f"the connection was cut after {done} of {total or 'unknown'} bytes") from error
    if total is not None and done != total:
        raise _CutError(f"the connection was cut after {done} of {total} bytes")


def _accept(response: requests.Response, part: PartFile) -> tuple[int, int | None]:
    """Judge the answer: how many bytes are already there, and how many the file has, if known.

    Raises:
        SourceError: the answer is an error, or an empty file.
        _CutError: the part file does not fit the file any more; it is dropped, and the next request starts anew.
    """
    content_range = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+)", response.headers.get("Content-Range", ""))
    if response.status_code == 200:
        length = response.headers.get("Content-Length", "")
        total = _check_size(int(length)) if length.isdigit() else None
        if total == 0:
            raise SourceError(f"answers with an empty file to {_without_query(response.url)}")
        return 0, total
    if response.status_code in (206, 416) and part.num_bytes and content_range:
        start, total = content_range[1], _check_size(int(content_range[2]))
        if start is not None and int(start) == part.num_bytes:
            return part.num_bytes, total
        if start is None and total == part.num_bytes:
            return part.num_bytes, total
    if response.status_code in (206, 416):
        part.drop()
        raise _CutError("the server does not resume where the last transfer stopped")
    reason, url = printable(response.reason), _without_query(response.url)
    raise SourceError(f"answers {response.status_code} {reason} to {url}")


def _without_query(url: str) -> str:
    """What can be shown of an address: a query may hold a signature."""
    return printable(url.partition("?")[0])


def _check_size(num_bytes: int) -> int:
    if num_bytes > MAX_DOWNLOAD_BYTES:
        raise SourceError(
            f"sends {num_bytes} bytes or more; no copy of CIFAR-10 has over {MAX_DOWNLOAD_BYTES}"
        )
    return num_bytes


def _explain(error: Exception) -> str:
    """A few words for what `requests` says at length."""
    import requests

    if isinstance(error, requests.ConnectTimeout):
        return f"cannot be reached (no connection within {_CONNECT_TIMEOUT_S} s)"
    if isinstance(error, requests.ReadTimeout):
        return f"does not answer (nothing for {_READ_TIMEOUT_S} s)"
    if isinstance(error, requests.ConnectionError):
        return f"cannot be reached ({_root_cause(error)})"
    return f"fails ({type(error).__name__}: {printable(error)})"


def _root_cause(error: BaseException) -> str:
    """The operating system's own words, from under the layers of exceptions around them."""
    cause: BaseException | None = error
    reason = str(error)
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            reason = cause.strerror
        cause = cause.__cause__ or cause.__context__
    return reason
