import math

import pytest

from harness.analysis.roofline import Roofline, rooflines


@pytest.fixture
def make_counted(make_profile):
    """A function from changed columns to a cell of 10 images with small counts, each call of which takes 0.1 s."""

    def make(**columns):
        counts = {
            "batch_size": 10,
            "macs": 1_000,
            "activation_bytes_per_image": 388,
            "parameters": 30,
            "parameters_total": 50,
            "ceiling_flops": 1_000.0,
            "ceiling_copy_bytes": 100.0,
        }
        return make_profile(seconds=0.1, **counts | columns)

    return make


@pytest.mark.parametrize(
    ("columns", "operations", "num_bytes"),
    [
        # a multiplication and an addition, 3 passes; activations cross 5 times, 4 bytes a parameter 3 times
        ({}, 2 * 3 * 1_000 * 10, 5 * 388 * 10 + 3 * 4 * 50),
        # activations have half of the bytes, parameters as many
        ({"precision": "bf16"}, 60_000, 9_700 + 600),
        ({"mode": "infer"}, 2 * 1 * 1_000 * 10, 2 * 388 * 10 + 1 * 4 * 50),
        ({"mode": "infer", "precision": "bf16"}, 20_000, 3_880 + 200),
        # parameters are read as often for one image
        ({"batch_size": 1}, 6_000, 1_940 + 600),
        ({"parameters_total": None}, 60_000, 19_400),
    ],
    ids=str,
)
def test_operations_and_bytes_of_a_step(make_counted, columns, operations, num_bytes):
    [found] = rooflines([make_counted(**columns)])
    assert found.intensity == operations / num_bytes
    assert found.flops == pytest.approx(operations / 0.1)
    assert (found.ceiling_flops, found.ceiling_bytes) == (1_000, 100)
    assert (found.model, found.mode, found.batch_size) == (
        "resnet20",
        columns.get("mode", "train"),
        columns.get("batch_size", 10),
    )


def test_intensity_of_training_is_three_operations_a_byte(make_counted):
    # 60,000 operations, 19,400 bytes of activations and 600 of parameters
    assert [found.intensity for found in rooflines([make_counted()])] == [3]


@pytest.mark.parametrize(
    ("intensity", "attainable"), [(3, 300), (9, 900), (10, 1_000), (11, 1_000), (50, 1_000)]
)
def test_roof_is_a_slope_and_then_flat(intensity, attainable):
    """The knee is at 1,000 operations per second over 100 bytes per second: 10 operations a byte."""
    at = Roofline(
        model="resnet20",
        mode="train",
        batch_size=128,
        intensity=intensity,
        flops=1.0,
        ceiling_flops=1_000,
        ceiling_bytes=100,
    )
    assert at.attainable == attainable


@pytest.mark.parametrize("value", [None, 0])
@pytest.mark.parametrize("column", ["macs", "activation_bytes_per_image"])
def test_cell_without_counts_has_no_place_under_the_roof(make_counted, column, value):
    assert rooflines([make_counted(**{column: value})]) == []


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan])
@pytest.mark.parametrize("column", ["ceiling_flops", "ceiling_copy_bytes"])
def test_cell_without_a_roof_is_left_out(make_counted, column, value):
    assert rooflines([make_counted(**{column: value})]) == []


def test_cells_under_the_roof_are_in_order(make_counted):
    sizes = [4, 1, 3, 2]
    cells = [make_counted(batch_size=size, **({"macs": None} if size == 3 else {})) for size in sizes]
    assert [found.batch_size for found in rooflines(cells)] == [4, 1, 2]
    assert rooflines([]) == []
