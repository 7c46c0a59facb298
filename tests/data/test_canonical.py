import numpy as np
import pytest

from harness.data.canonical import Block, canonicalise, check_labels, to_planes
from harness.errors import DigestError, SourceError


def blocks(fakes, order):
    return [Block(name, fakes.pixels[name], fakes.labels[name]) for name in order]


def canonical(fakes, given, progress):
    return canonicalise(given, fakes.table, description="reading", progress=progress)


def test_any_order_becomes_the_official_one(fakes, progress):
    arrays = canonical(fakes, blocks(fakes, reversed(fakes.table.names)), progress)
    np.testing.assert_array_equal(arrays["train_images"], fakes.train_images)
    np.testing.assert_array_equal(arrays["train_labels"], fakes.train_labels)
    np.testing.assert_array_equal(arrays["test_images"].reshape(20, 3072), fakes.pixels["test_batch"])
    np.testing.assert_array_equal(arrays["test_labels"], fakes.labels["test_batch"])


def test_progress_counts_the_pixels(fakes, progress):
    canonical(fakes, blocks(fakes, fakes.table.names), progress)
    batch = 20 * 3072
    assert progress.advances == [("reading", done * batch, 6 * batch) for done in range(7)]


def test_unknown_pixels_are_refused(fakes, progress):
    fakes.pixels["data_batch_3"][7, 7] ^= 1
    with pytest.raises(DigestError, match=r"data_batch_3: pixels with SHA-256 \w{12}… are no batch"):
        canonical(fakes, blocks(fakes, fakes.table.names), progress)


def test_known_pixels_with_other_labels_are_refused(fakes, progress):
    fakes.labels["data_batch_3"] = np.roll(fakes.labels["data_batch_3"], 1)
    with pytest.raises(DigestError, match="the pixels are those of data_batch_3, but the labels"):
        canonical(fakes, blocks(fakes, fakes.table.names), progress)


def test_missing_batches_are_named(fakes, progress):
    with pytest.raises(SourceError, match="lacks data_batch_2, test_batch;"):
        canonical(
            fakes, blocks(fakes, ["data_batch_1", "data_batch_3", "data_batch_4", "data_batch_5"]), progress
        )


def test_planes_part_the_colours():
    # two pixels an image: red 1 2, green 3 4, blue 5 6
    interleaved = np.zeros((1, 1024, 3), np.uint8)
    interleaved[0, :2] = [(1, 3, 5), (2, 4, 6)]
    planes = to_planes(interleaved).reshape(3, 1024)
    assert planes[:, :2].tolist() == [[1, 2], [3, 4], [5, 6]]


def test_labels_become_bytes():
    labels = check_labels([0, 9, 3])
    assert labels.dtype == np.uint8
    assert labels.tolist() == [0, 9, 3]


@pytest.mark.parametrize("labels", [None, "012", (1, 2), [10], [-1], [1.0], ["1"], [None], [2**80]])
def test_labels_must_be_a_list_of_classes(labels):
    with pytest.raises(SourceError, match="label"):
        check_labels(labels)


@pytest.mark.parametrize(
    ("label", "text"),
    [(10, "10"), (-1.5, "-1.5"), ("x\n", r"'x\\n'"), ([[]], "something of type list"), (None, "None")],
)
def test_a_wrong_label_is_shown_where_it_is_short(label, text):
    with pytest.raises(SourceError, match=f"^a label is {text}; labels are"):
        check_labels([0, label])


def test_a_label_of_very_many_digits_is_not_shown():
    with pytest.raises(SourceError, match="a label is something of type int"):
        check_labels([10**5000])
