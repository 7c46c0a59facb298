import numpy as np
import pytest

from harness.data import CLASSES, ImageSet


def arrays(num_train=4, num_test=2):
    made = {
        "train_images": np.zeros((num_train, 3, 32, 32), np.uint8),
        "train_labels": np.zeros(num_train, np.uint8),
        "test_images": np.zeros((num_test, 3, 32, 32), np.uint8),
        "test_labels": np.zeros(num_test, np.uint8),
    }
    for array in made.values():
        array.setflags(write=False)
    return made


def test_counts_its_images():
    images = ImageSet(name="synthetic", sha256="", **arrays())
    assert (images.num_train, images.num_test, images.num_classes) == (4, 2, 10)


def test_does_not_print_its_pixels():
    assert (
        repr(ImageSet(name="synthetic", sha256="ab", **arrays())) == "ImageSet(name='synthetic', sha256='ab')"
    )


@pytest.mark.parametrize(
    ("name", "array", "complaint"),
    [
        ("train_images", np.zeros((4, 32, 32, 3), np.uint8), "train_images is uint8"),
        ("train_labels", np.zeros(4, np.int64), "train_labels is int64"),
        ("test_images", np.zeros((3, 3, 32, 32), np.uint8), "test_images is uint8"),
        ("test_labels", np.zeros(2, np.uint8), "test_labels is writable"),
    ],
)
def test_refuses_what_is_not_canonical(name, array, complaint):
    array.setflags(write=complaint.endswith("writable"))
    with pytest.raises(ValueError, match=complaint):
        ImageSet(name="synthetic", sha256="", **{**arrays(), name: array})


def test_the_classes_are_in_official_order():
    assert len(CLASSES) == 10
    assert CLASSES[0] == "airplane"
    assert CLASSES[3] == "cat"
    assert CLASSES[9] == "truck"
