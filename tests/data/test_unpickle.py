import pickle
import struct

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from harness.data import unpickle
from harness.data.unpickle import unpickle_batch
from harness.errors import DataError, SourceError


def python2_pickle(pixels, labels):
    """A batch as Python 2's cPickle wrote it, protocol 2, opcode by opcode (see `pickletools`)."""

    def text(value):
        return b"U" + bytes([len(value)]) + value  # SHORT_BINSTRING

    def int4(value):
        return b"J" + struct.pack("<i", value)  # BININT

    content = pixels.tobytes()
    dtype = (
        b"cnumpy\ndtype\n" + text(b"u1") + b"K\x00K\x01\x87R"  # dtype('u1', 0, 1)
        b"(K\x03" + text(b"|") + b"NNN" + int4(-1) + int4(-1) + b"K\x00tb"  # its state
    )
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + text(b"b") + b"\x87R"
        b"(K\x01"
        + int4(len(pixels))
        + int4(3072)
        + b"\x86"
        + dtype
        + b"\x89"  # version, shape, dtype, C order
        b"T" + struct.pack("<i", len(content)) + content + b"tb"  # BINSTRING
    )
    numbers = b"](" + b"".join(b"K" + bytes([label]) for label in labels) + b"e"
    entries = (
        text(b"batch_label")
        + text(b"training batch 1 of 5")
        + text(b"labels")
        + numbers
        + text(b"data")
        + array
    )
    return b"\x80\x02}(" + entries + b"u."


@pytest.fixture
def pixels(fakes):
    return fakes.pixels["data_batch_1"]


@pytest.fixture
def labels(fakes):
    return fakes.labels["data_batch_1"].tolist()


def test_the_hand_made_python_2_pickle_is_a_real_one(pixels, labels):
    batch = pickle.loads(python2_pickle(pixels, labels), encoding="bytes")
    np.testing.assert_array_equal(batch[b"data"], pixels)
    assert batch[b"labels"] == labels


def test_reads_what_python_2_wrote(pixels, labels):
    read, read_labels = unpickle_batch(python2_pickle(pixels, labels))
    np.testing.assert_array_equal(read, pixels)
    assert read.dtype == np.uint8
    assert read_labels == labels


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4])
def test_reads_what_today_s_numpy_writes(fakes, pixels, labels, protocol):
    content = fakes.pickled("data_batch_1", protocol)
    assert b"numpy._core" in content
    read, read_labels = unpickle_batch(content)
    np.testing.assert_array_equal(read, pixels)
    assert read_labels == labels


def test_reads_column_order(pixels, labels):
    read, _ = unpickle_batch(pickle.dumps({"data": np.asfortranarray(pixels), "labels": labels}, 2))
    np.testing.assert_array_equal(read, pixels)


@pytest.mark.parametrize(
    ("batch", "complaint"),
    [
        ([], "holds a list"),
        ({"labels": []}, "no 'data'"),
        ({"data": np.zeros((1, 3072), np.uint8)}, "no 'labels'"),
        ({"data": [0], "labels": [0]}, "'data' is a list"),
        ({"data": np.zeros((1, 3072), np.int8), "labels": [0]}, "of dtype 'i1'"),
        ({"data": np.zeros((2, 1536), np.uint8), "labels": [0]}, r"of shape \(2, 1536\)"),
        ({"data": np.zeros(3072, np.uint8), "labels": [0]}, r"of shape \(3072,\)"),
        ({"data": np.zeros((1, 3072), object), "labels": [0]}, "of dtype 'O8'"),
    ],
)
def test_refuses_other_content(batch, complaint):
    with pytest.raises(SourceError, match=complaint):
        unpickle_batch(pickle.dumps(batch, 2))


class Call:
    """Pickles as a call of `function`."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_malicious_pickle_is_refused_and_nothing_runs(tmp_path, protocol):
    import os

    canary = tmp_path / "canary"
    content = pickle.dumps({"labels": [1], "data": Call(os.system, f"touch {canary}")}, protocol)
    with pytest.raises(
        DataError, match=r"asks for (posix|nt)\.system, which no CIFAR-10 batch needs; refused"
    ):
        unpickle_batch(content)
    assert not canary.exists()
    pickle.loads(content)
    assert canary.exists(), "the canary would have sung"


@pytest.mark.parametrize("function", [eval, getattr, __import__, np.load, np.frombuffer, np.array, bytearray])
def test_everything_but_the_four_globals_is_refused(function):
    with pytest.raises(SourceError, match="refused"):
        unpickle_batch(pickle.dumps(Call(function, "x"), 2))


def test_the_encoder_encodes_latin1_and_nothing_else():
    import codecs

    with pytest.raises(SourceError, match=r"encodes a str as 'rot13'; refused"):
        unpickle_batch(pickle.dumps(Call(codecs.encode, "x", "rot13"), 2))


def test_a_pickle_cannot_alter_the_stand_ins():
    # BUILD with (None, {"__call__": 1}) sets attributes on whatever numpy.dtype is
    content = b"\x80\x02cnumpy\ndtype\nN}X\x08\x00\x00\x00__call__K\x01s\x86b."
    with pytest.raises(SourceError, match="AttributeError"):
        unpickle_batch(content)


def test_the_encoder_encodes_no_more_than_there_is():
    content = b"\x80\x02c_codecs\nencode\nq\0X\x64\0\0\0" + b"o" * 100 + b"q\x01X\x06\0\0\0latin1q\x02"
    with pytest.raises(SourceError, match="encodes more text than it has"):
        unpickle_batch(content + 9 * b"h\0h\x01h\x02\x86R" + b".")
    # BUILD with (None, {"_left": 2**30}) would set it on whatever lets itself be altered
    built = b"h\0N}X\x05\0\0\0_leftJ\0\0\0@s\x86b0"
    with pytest.raises(SourceError, match="encodes more text than it has"):
        unpickle_batch(content + built + 9 * b"h\0h\x01h\x02\x86R" + b".")


@pytest.mark.parametrize("frame", [b"", b"\x95" + struct.pack("<Q", 10_001)], ids=["", "framed"])
def test_a_pickle_of_very_many_operations_is_refused(monkeypatch, frame):
    monkeypatch.setattr(unpickle, "_MAX_READS", 1000)
    with pytest.raises(SourceError, match="more than 1,000 reads"):
        unpickle_batch(b"\x80\x04" + frame + b"](" + b"]" * 10_000 + b"e.")


@pytest.mark.parametrize("key", [200_000 * b"\x85", 60 * b"2\x86"], ids=["deep", "shared"])
def test_tuples_within_tuples_are_not_hashed(key):
    with pytest.raises(SourceError, match="TypeError: unhashable"):
        unpickle_batch(b"\x80\x02})" + key + b"Ns.")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b".", "holds a bytearray"),
        (b"\x80\x02Nr\xff\xff\xff\x0f.", "holds a NoneType"),
        (b"\x80\x02c" + b"o" * 10_000 + b"\nsystem\n.", r"asks for o+\.\.\., which"),
    ],
)
def test_what_asks_for_much_is_refused_shortly(content, complaint):
    with pytest.raises(SourceError, match=complaint) as caught:
        unpickle_batch(content)
    assert len(str(caught.value)) < 400


@settings(deadline=None)
@given(st.binary(max_size=200))
@example(b"")
@example(b"\x80\x02}(U\x04data")
@example(b"\x80\x02cnumpy\ndtype\n)R.")
def test_damaged_pickles_raise_nothing_else(content):
    with pytest.raises(SourceError):
        unpickle_batch(content)
