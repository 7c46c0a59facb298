import subprocess
import sys

import pytest

from harness import paper
from harness.analysis.depth import depth_gaps, depth_points, layer_profiles
from harness.analysis.groups import group_runs
from harness.analysis.protocol import Networks

NO_CARDS = Networks([])


@pytest.fixture
def points_of(make_seeds):
    """Points of groups, each of a model with these accuracies."""

    def make(*models, networks=NO_CARDS, **changes):
        runs = [run for model, *values in models for run in make_seeds(*values, model=model, **changes)]
        return depth_points(group_runs(runs), networks)

    return make


@pytest.fixture
def responses_of(make_run):
    """Profiles of runs of one model, with these deviations by layer; None where none were recorded."""

    def make(model, *of_seeds, **changes):
        runs = [
            make_run(
                model=model,
                seed=seed,
                layer_responses=None
                if stds is None
                else [{"layer": f"bn{number}", "std": std} for number, std in enumerate(stds)],
                **changes,
            )
            for seed, stds in enumerate(of_seeds)
        ]
        return layer_profiles(group_runs(runs))

    return make


# points


def test_networks_are_read_from_their_names(points_of):
    points = points_of(("resnet56", 0.93, 0.95), ("plain20", 0.90), ("resnet20", 0.91))
    assert [(point.network, point.depth, point.group.model) for point in points] == [
        ("plain", 20, "plain20"),
        ("resnet", 20, "resnet20"),
        ("resnet", 56, "resnet56"),
    ]
    errors = points[2].test_error
    assert (errors.n, errors.mean) == (2, pytest.approx(0.06, rel=1e-9))
    assert errors.sd == pytest.approx(0.02 / 2**0.5, rel=1e-9)


@pytest.mark.parametrize(
    "model",
    [
        "timm-resnet20",
        "akamaster-resnet56",
        "mynet:make",
        "net:resnet20",
        "resnet20-b",
        "resnet",
        "vgg16",
        "plain20\n",
    ],
)
def test_networks_of_others_are_left_out(points_of, model):
    assert points_of((model, 0.9), recipe="paper") == []


def test_network_that_equals_one_of_the_papers_would_count_twice(points_of, make_card):
    networks = Networks(
        [
            make_card("resnet20"),
            make_card("resnet21", counterpart="resnet20", equivalence="permuted"),
            make_card("resnet22", counterpart="resnet20", equivalence="different"),
        ]
    )
    points = points_of(("resnet20", 0.9), ("resnet21", 0.9), ("resnet22", 0.9), networks=networks)
    assert [point.group.model for point in points] == ["resnet20", "resnet22"]


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("resnet20", 0.0875),
        ("resnet32", 0.0751),
        ("resnet110", 0.0661),
        ("plain20", 0.0968),
        ("plain56", 0.1323),
        ("resnet26", None),
        ("plain110", None),  # of which the paper says only that it exceeds 60 %
    ],
)
def test_errors_of_the_paper_stand_beside_runs_of_its_protocol(points_of, model, expected):
    [point] = points_of((model, 0.9, 0.91), recipe="paper")
    assert point.paper_test_error == expected


@pytest.mark.parametrize(
    "changes",
    [
        {"recipe": "short"},
        {"recipe": "alvarobartt"},
        {"recipe": "paper", "iterations": 63_999},
        {"recipe": "paper", "iterations": 100},
        {"recipe": "paper", "data": "synthetic"},
        {"recipe": "paper", "recipe_changes": {"batch_size": 64}},
        {"recipe": "paper", "recipe_changes": {"initialization": "implementation"}},
        {"recipe": "paper", "recipe_changes": {"normalization": {"kind": "none"}}},
        {"recipe": "paper", "recipe_changes": {"iterations": 32_000}},
        {"recipe": "paper", "spec": "{}"},
    ],
)
def test_runs_made_otherwise_have_no_error_of_the_paper_beside_them(points_of, changes):
    [point] = points_of(("resnet20", 0.9, 0.91), **changes)
    assert point.paper_test_error is None
    assert point.test_error.mean == pytest.approx(0.095, rel=1e-9)


@pytest.mark.parametrize(
    "changes",
    [
        {"precision": "bf16"},
        {"device_name": "Some GPU"},
        {"recipe_changes": {"name": "mine", "summary": "the paper's, copied", "source": "the paper"}},
    ],
)
def test_precision_device_and_name_of_the_recipe_do_not_matter(points_of, changes):
    [point] = points_of(("resnet20", 0.9, 0.91), recipe="paper", **changes)
    assert point.paper_test_error == 0.0875


def test_points_are_ordered_by_setting_kind_and_depth(points_of, make_run):
    runs = [
        make_run(model=model, device_name=device)
        for model in ("resnet110", "resnet20", "plain56", "plain20")
        for device in ("B", "A")
    ]
    found = [
        (point.group.device_name, point.network, point.depth)
        for point in depth_points(group_runs(runs), NO_CARDS)
    ]
    kinds = [("plain", 20), ("plain", 56), ("resnet", 20), ("resnet", 110)]
    assert found == [(device, *kind) for device in "AB" for kind in kinds]


def test_runs_that_did_not_complete_make_no_point(make_run):
    runs = [make_run(status=status, test_accuracy=None) for status in ("diverged", "failed")]
    runs += [make_run(model="plain20", resumed_from=["another"])]
    assert depth_points(group_runs(runs), NO_CARDS) == []
    assert layer_profiles(group_runs(runs)) == []


# gaps


def test_gap_is_what_shortcuts_are_worth(points_of):
    [gap] = depth_gaps(points_of(("resnet20", 0.92, 0.91), ("plain20", 0.90, 0.905), recipe="paper"))
    assert gap.depth == 20
    assert (gap.difference.first.model, gap.difference.second.model) == ("resnet20", "plain20")
    assert gap.difference.difference.mean == pytest.approx(0.0125, rel=1e-9)
    assert gap.paper_difference == pytest.approx(0.0968 - 0.0875, rel=1e-9)


def test_gaps_are_by_depth(points_of):
    models = [(f"{kind}{depth}", 0.9, 0.8) for kind in ("plain", "resnet") for depth in (20, 32, 56, 110)]
    gaps = depth_gaps(points_of(*models, recipe="paper"))
    assert [gap.depth for gap in gaps] == [20, 32, 56, 110]
    differences = [gap.paper_difference for gap in gaps]
    assert differences[:3] == pytest.approx([0.0093, 0.0257, 0.0626], rel=1e-9)
    assert differences[3] is None  # the paper has no plain network of 110 layers in its figure


def test_gap_of_another_protocol_has_none_of_the_paper_beside_it(points_of):
    [gap] = depth_gaps(points_of(("resnet20", 0.92), ("plain20", 0.90), recipe="short"))
    assert gap.paper_difference is None
    assert gap.difference.difference.mean == 0.02


@pytest.mark.parametrize(
    ("of_residual", "of_plain"),
    [
        ({"model": "resnet20"}, {"model": "plain32"}),
        ({"model": "resnet20"}, {"model": "plain20", "precision": "bf16"}),
        ({"model": "resnet20"}, {"model": "plain20", "recipe": "paper"}),
        ({"model": "resnet20"}, {"model": "plain20", "device_name": "Some GPU"}),
        ({"model": "resnet20"}, {"model": "plain20", "iterations": 10}),
        ({"model": "resnet20", "seed": 1}, {"model": "plain20", "seed": 2}),
        ({"model": "resnet20"}, {"model": "resnet20", "precision": "bf16"}),
        ({"model": "plain20"}, {"model": "plain20", "precision": "bf16"}),
    ],
)
def test_without_a_counterpart_there_is_no_gap(make_run, of_residual, of_plain):
    points = depth_points(group_runs([make_run(**of_residual), make_run(**of_plain)]), NO_CARDS)
    assert len(points) == 2
    assert depth_gaps(points) == []


def test_gap_is_of_the_most_seeds_in_common(make_seeds):
    runs = make_seeds(0.92, 0.93, 0.94) + make_seeds(0.90, 0.91, 0.92, model="plain20")
    other = make_seeds(0.5, model="plain20", model_source="mine")
    for order in (runs + other, other + runs):
        [gap] = depth_gaps(depth_points(group_runs(order), NO_CARDS))
        assert (gap.difference.difference.n, gap.difference.difference.mean) == (3, 0.02)


# responses


def test_responses_are_means_over_seeds_by_layer(responses_of):
    first, second, third = ([base + layer for layer in range(19)] for base in (1.0, 2.0, 6.0))
    [profile] = responses_of("resnet20", first, second, third)
    assert (profile.network, profile.depth, profile.num_seeds) == ("resnet", 20, 3)
    assert profile.group.model == "resnet20"
    assert profile.stds == pytest.approx(tuple(3.0 + layer for layer in range(19)), rel=1e-12)


@pytest.mark.parametrize(
    ("model", "num_layers"), [("plain20", 19), ("resnet20", 19), ("plain56", 55), ("resnet110", 109)]
)
def test_figure_7_stands_beside_ours_by_layer(responses_of, model, num_layers):
    [profile] = responses_of(model, [1.0] * num_layers)
    kind, depth = profile.network, profile.depth
    expected = {
        point.layer: point.response_std for point in paper.figure7() if (*point[:2],) == (kind, depth)
    }
    assert profile.paper_stds == tuple(expected[layer] for layer in range(1, num_layers + 1))
    assert len(set(profile.paper_stds)) > 5


def test_first_layers_of_the_figure_by_hand(responses_of):
    [profile] = responses_of("plain20", [1.0] * 19)
    assert profile.paper_stds[:3] == (2.065, 2.015, 1.873)


def test_layer_that_cannot_be_read_from_the_figure_is_left_open(responses_of):
    [profile] = responses_of("resnet56", [float(layer) for layer in range(1, 56)])
    assert len(profile.stds) == len(profile.paper_stds) == 55
    assert [layer for layer, std in enumerate(profile.paper_stds, 1) if std is None] == [18]
    # those behind it keep their places
    by_layer = {point.layer: point.response_std for point in paper.figure7() if point[:2] == ("resnet", 56)}
    assert (profile.paper_stds[16], profile.paper_stds[18]) == (by_layer[17], by_layer[19])
    assert profile.stds[17] == 18.0


@pytest.mark.parametrize(("model", "num_layers"), [("resnet32", 31), ("plain110", 109)])
def test_networks_that_are_not_in_the_figure_have_nothing_beside_them(responses_of, model, num_layers):
    [profile] = responses_of(model, [1.0] * num_layers)
    assert profile.paper_stds == (None,) * num_layers


def test_runs_without_responses_are_passed_over(responses_of):
    [profile] = responses_of("resnet20", None, [1.0] * 19, [], [3.0] * 19)
    assert profile.num_seeds == 2
    assert profile.stds == (2.0,) * 19
    assert len(profile.group.runs) == 4
    assert responses_of("resnet20", None, None) == []
    assert responses_of("resnet20", []) == []


@pytest.mark.parametrize("model", ["timm-resnet20", "mynet:make", "resnet20-b", "vgg16"])
def test_responses_of_others_networks_are_left_out(responses_of, model):
    assert responses_of(model, [1.0] * 19) == []


def test_profiles_are_by_group(make_run):
    responses = [{"layer": "bn", "std": 1.0}]
    runs = [
        make_run(model=model, precision=precision, layer_responses=responses)
        for model in ("resnet20", "plain20")
        for precision in ("fp32", "bf16")
    ]
    found = [(profile.group.model, profile.group.precision) for profile in layer_profiles(group_runs(runs))]
    assert found == [
        (model, precision) for model in ("resnet20", "plain20") for precision in ("fp32", "bf16")
    ]


def test_without_runs_there_is_nothing():
    assert depth_points([], NO_CARDS) == depth_gaps([]) == layer_profiles([]) == []


def test_neither_torch_is_needed_nor_the_slow_part_of_scipy():
    code = "import sys, harness.analysis.depth; sys.exit(bool({'scipy.stats', 'torch'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
