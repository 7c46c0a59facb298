"""Reads the official batches, which are pickles, without letting a pickle do anything.

Unpickling normally imports and calls whatever the file names. Here the four globals that a pickled numpy array
needs are answered by inert stand-ins of our own, and every other one is refused, so no code outside this module
runs, numpy's included. What a small pickle could make much of is limited: its operations, its memo (a dict, in
Python's own unpickler), its encoding; and nothing that it made is hashed or shown whole.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from harness.data.canonical import shown
from harness.data.imageset import PIXELS_PER_IMAGE, UInt8Array
from harness.errors import SourceError, printable

__all__ = ["unpickle_batch"]

_MAX_READS = 500_000
"""Of a pickle, one or two per operation; an official batch has 60,000."""


def unpickle_batch(content: bytes) -> tuple[UInt8Array, object]:
    """Read one official python batch.

    Args:
        content: the pickle: a dict with ``data`` (a uint8 array of shape (n, 3072)) and ``labels`` (a list of n
            integers), with keys of bytes (as Python 2 wrote them) or of str.

    Returns:
        pixels, uint8 of shape (n, 3072), and the labels as they stand, unchecked.

    Raises:
        SourceError: the content is not such a pickle, or it asks for anything beyond plain data and arrays.
    """
    try:
        batch = _DataUnpickler(content).load()
    except SourceError:
        raise
    except Exception as error:
        # a damaged pickle can raise nearly anything; all of it means the same to the caller
        raise SourceError(f"not a readable pickle ({type(error).__name__}: {printable(error)})") from error
    if not isinstance(batch, dict):
        raise SourceError(f"holds a {type(batch).__name__}, where an official batch holds a dict")
    return _pixels(_entry(batch, "data")), _entry(batch, "labels")


class _DataUnpickler(pickle._Unpickler):
    """Knows four globals, none of which does anything."""

    def __init__(self, content: bytes) -> None:
        # encoding="bytes" leaves the 8-bit strings of Python 2 as they are
        super().__init__(_CountedReader(content), encoding="bytes")
        self._encoder = _Latin1Encoder(len(content))

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("_codecs", "encode"):
            return self._encoder
        try:
            return _STAND_INS[module, name]
        except KeyError:
            asked = printable(f"{printable(module)}.{printable(name)}")
            raise SourceError(
                f"the pickle asks for {asked}, which no CIFAR-10 batch needs; refused, nothing was run"
            ) from None


def _load_frame(unpickler: Any) -> None:
    unpickler.read(8)  # frames only save reads, and these are counted


def _load_bytearray(_unpickler: Any) -> None:
    raise SourceError(
        "the pickle holds a bytearray; no CIFAR-10 batch does"
    )  # made before its bytes are there


def _unhashable(load: Callable[[Any], None]) -> Callable[[Any], None]:
    def load_tuple(unpickler: Any) -> None:
        load(unpickler)
        unpickler.stack[-1] = _UnhashableTuple(unpickler.stack[-1])

    return load_tuple


_DataUnpickler.dispatch = {
    **pickle._Unpickler.dispatch,
    pickle.FRAME[0]: _load_frame,
    pickle.BYTEARRAY8[0]: _load_bytearray,
    **{
        code[0]: _unhashable(pickle._Unpickler.dispatch[code[0]])
        for code in (pickle.TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3)
    },
}


class _CountedReader(io.BytesIO):
    """Refuses to be read very often."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self._left = _MAX_READS

    def read(self, size: int | None = -1) -> bytes:
        self._left -= 1
        if self._left < 0:
            raise SourceError(f"the pickle takes more than {_MAX_READS:,} reads; no CIFAR-10 batch does")
        return super().read(size)


class _UnhashableTuple(tuple[object, ...]):
    """Cannot be a key: the hash of tuples within tuples takes for ever where they are shared, or all of the stack."""

    __slots__ = ()
    __hash__ = None  # type: ignore[assignment]


# The stand-ins are instances that have no attributes, or a __setstate__ that sets none of them, and no __dict__; not
# classes or functions: whatever a pickle may do to an object it has hold of, there is nothing on these to set.


class _NdarrayType:
    """Answers ``numpy.ndarray``, which a pickled array names as its type."""

    __slots__ = ()


class _DtypeMaker:
    """Answers ``numpy.dtype``."""

    __slots__ = ()

    def __call__(self, code: object, *_flags: object) -> _PickledDtype:
        return _PickledDtype(code)


class _ArrayMaker:
    """Answers numpy's ``_reconstruct``, which makes the empty array that the pickle then fills."""

    __slots__ = ()

    def __call__(self, *_subtype_shape_and_code: object) -> _PickledArray:
        return _PickledArray()


class _Latin1Encoder:
    """Answers ``_codecs.encode``, by which protocol 2 writes bytes under Python 3; so many in all."""

    __slots__ = ("_left",)

    def __init__(self, limit: int) -> None:
        self._left = limit

    def __call__(self, text: object, encoding: object) -> bytes:
        if not isinstance(text, str) or encoding not in ("latin1", b"latin1"):
            raise SourceError(f"the pickle encodes a {type(text).__name__} as {shown(encoding)}; refused")
        self._left -= len(text)
        if self._left < 0:
            raise SourceError("the pickle encodes more text than it has; refused")
        return text.encode("latin1")

    def __setstate__(self, _state: object) -> None:
        pass


class _PickledDtype:
    """A dtype as pickled: its code; its state (byte order, alignment) says nothing about single bytes."""

    __slots__ = ("code",)

    def __init__(self, code: object) -> None:
        self.code = code.decode("latin1") if isinstance(code, bytes) else code

    def __setstate__(self, _state: object) -> None:
        pass


class _PickledArray:
    """An array as pickled: (version, shape, dtype, Fortran order, bytes)."""

    __slots__ = ("state",)

    def __init__(self) -> None:
        self.state: object = None

    def __setstate__(self, state: object) -> None:
        self.state = state


_STAND_INS: dict[tuple[str, str], object] = {
    ("numpy.core.multiarray", "_reconstruct"): _ArrayMaker(),
    ("numpy._core.multiarray", "_reconstruct"): _ArrayMaker(),
    ("numpy", "ndarray"): _NdarrayType(),
    ("numpy", "dtype"): _DtypeMaker(),
}


def _entry(batch: dict[Any, Any], key: str) -> object:
    for spelling in (key, key.encode()):
        if spelling in batch:
            return batch[spelling]
    raise SourceError(f"the pickled dict has no {key!r}; an official batch has 'data' and 'labels'")


def _pixels(data: object) -> UInt8Array:
    def refuse(found: object) -> NoReturn:
        raise SourceError(
            f"'data' is {found}; an official batch has a uint8 array of shape (n, {PIXELS_PER_IMAGE})"
        )

    if not isinstance(data, _PickledArray):
        refuse(f"a {type(data).__name__}")
    if not (isinstance(data.state, tuple) and len(data.state) == 5):
        refuse("an array without its content")
    _, shape, dtype, fortran_order, content = data.state
    if not (isinstance(dtype, _PickledDtype) and dtype.code == "u1"):
        refuse(f"of dtype {shown(getattr(dtype, 'code', dtype))}")
    # the shape is compared with what the bytes allow, never computed with: it may be anything
    if not isinstance(content, bytes) or shape != (len(content) // PIXELS_PER_IMAGE, PIXELS_PER_IMAGE):
        is_short = isinstance(shape, tuple) and all(isinstance(length, int) for length in shape[:9])
        refuse(f"of shape {printable(shape[:9]) if is_short else shown(shape)}")
    if len(content) % PIXELS_PER_IMAGE:
        refuse(f"of {len(content)} bytes")
    values = np.frombuffer(content, np.uint8)
    if fortran_order:
        return np.ascontiguousarray(values.reshape(PIXELS_PER_IMAGE, -1).T)
    return values.reshape(-1, PIXELS_PER_IMAGE)
