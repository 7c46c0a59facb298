import pytest

from harness import paper

# section 4.2: "n = {3, 5, 7, 9}, leading to 20, 32, 44, and 56-layer networks", n = 18 and n = 200
DEPTHS = {3: 20, 5: 32, 7: 44, 9: 56, 18: 110, 200: 1202}


def test_depths_are_6n_plus_2():
    assert {paper.depth_of(n): n for n in DEPTHS} == paper.BLOCKS_PER_STAGE
    assert {n: paper.depth_of(n) for n in DEPTHS} == DEPTHS


def test_filters_double_where_maps_halve():
    assert paper.STAGE_CHANNELS == (16, 32, 64)


def test_table_6():
    rows = [
        (depth, paper.PARAMETERS_MILLION[depth], error)
        for depth, error in paper.TABLE6_TEST_ERROR_PERCENT.items()
    ]
    assert rows == [
        (20, 0.27, 8.75),
        (32, 0.46, 7.51),
        (44, 0.66, 7.17),
        (56, 0.85, 6.97),
        (110, 1.7, 6.43),
        (1202, 19.4, 7.93),
    ]


def end_of_curve(network, depth, curve):
    points = [p for p in paper.figure6() if (p.network, p.depth, p.curve) == (network, depth, curve)]
    return max(points, key=lambda point: point.iteration)


@pytest.mark.parametrize(("depth", "error"), [(20, 9.68), (32, 10.08), (44, 11.42), (56, 13.23)])
def test_ends_of_plain_test_curves(depth, error):
    assert end_of_curve("plain", depth, "test").error_percent == error
    assert paper.FIGURE6_FINAL_TEST_ERROR_PERCENT[depth] == error


@pytest.mark.parametrize(("depth", "error"), [(20, 1.44), (32, 1.15), (44, 3.20), (56, 5.85)])
def test_ends_of_plain_training_curves(depth, error):
    assert end_of_curve("plain", depth, "train").error_percent == error


@pytest.mark.parametrize("depth", [20, 32, 44, 56])
def test_ends_of_resnet_test_curves_agree_with_table_6(depth):
    end = end_of_curve("resnet", depth, "test").error_percent
    assert end == pytest.approx(paper.TABLE6_TEST_ERROR_PERCENT[depth], abs=0.04)


def test_curves_of_figure_6_lie_within_its_axes():
    points = paper.figure6()
    # curves begin where they cross the top of the axis, read back within 0.1
    assert all(0 <= point.error_percent <= 20.1 for point in points)
    assert all(0 < point.iteration <= 64_500 for point in points)
    assert {point.curve for point in points} == {"train", "test"}


def test_curves_of_figure_6_run_on_in_time():
    last = {}
    for point in paper.figure6():
        curve = point[:3]
        assert point.iteration >= last.get(curve, 0), point
        last[curve] = point.iteration
    assert {("plain", depth, "test") for depth in (20, 32, 44, 56)} <= last.keys()
    assert {("resnet", depth, "test") for depth in (20, 32, 44, 56, 110)} <= last.keys()


@pytest.mark.parametrize(
    ("network", "depth"), [("plain", 20), ("plain", 56), ("resnet", 20), ("resnet", 56), ("resnet", 110)]
)
def test_figure_7_has_every_3x3_layer(network, depth):
    # all weighted layers but the fully-connected one; one marker of ResNet-56 could not be read back
    expected = [layer for layer in range(1, depth) if (network, depth, layer) != ("resnet", 56, 18)]
    layers = [point.layer for point in paper.figure7() if (point.network, point.depth) == (network, depth)]
    assert layers == expected


def test_figure_7_has_no_other_network_and_only_positive_deviations():
    assert len(paper.figure7()) == 19 + 55 + 19 + 54 + 109
    assert all(point.response_std > 0 for point in paper.figure7())


def test_figure_7_shows_smaller_responses_in_resnets():
    # section 4.2, Analysis of Layer Responses: "ResNets have generally smaller responses than their plain
    # counterparts", and "the deeper ResNet has smaller magnitudes of responses"
    def mean(network, depth):
        values = [p.response_std for p in paper.figure7() if (p.network, p.depth) == (network, depth)]
        return sum(values) / len(values)

    assert mean("resnet", 110) < mean("resnet", 56) < mean("resnet", 20) < mean("plain", 20)
    assert mean("resnet", 56) < mean("plain", 56)
