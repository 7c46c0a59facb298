import pytest

from harness import paper
from harness.charts import color_of, curves_figure


def course(*errors):
    """Epochs of 10 iterations with these test errors, and training errors of a tenth more."""
    return [
        {
            "epoch": number,
            "iteration": 10 * (number + 1),
            "seconds": 7.0 * (number + 1),
            "test_error": error,
            "train_error": error + 0.1,
        }
        for number, error in enumerate(errors)
    ]


@pytest.fixture
def drawn(make_group, traces_of):
    """A function from courses of seeds to the traces of their figure."""

    def draw(*courses, model="resnet20", **options):
        group = make_group(*[0.9] * len(courses), model=model)
        epochs = {run["run_id"]: its for run, its in zip(group.runs, courses, strict=True) if its is not None}
        return traces_of(curves_figure([group], epochs, **options))

    return draw


def test_line_is_the_mean_and_band_is_from_least_to_greatest(drawn):
    band, line = drawn(
        course(0.5, 0.3, 0.2), course(0.4, 0.4, 0.2), course(0.6, 0.2, 0.2), with_training=False
    )
    assert list(line["x"]) == [10, 20, 30]
    assert list(line["y"]) == pytest.approx([50, 30, 20])
    # there along the greatest, back along the least
    assert list(band["x"]) == [10, 20, 30, 30, 20, 10]
    assert list(band["y"]) == pytest.approx([60, 40, 20, 20, 20, 40])
    assert band["fill"] == "toself"
    assert line["line"]["color"] == color_of("resnet20")
    assert line["name"] == "resnet20, test (3 seeds)"


def test_single_seed_has_no_band_and_training_is_dotted(drawn):
    test, train = drawn(course(0.5, 0.25, 0.125))
    assert list(test["y"]) == pytest.approx([50, 25, 12.5])
    assert list(train["y"]) == pytest.approx([60, 35, 22.5])
    assert (test["line"]["dash"], train["line"]["dash"]) == ("solid", "dot")
    assert (test["name"], train["name"]) == ("resnet20, test (1 seed)", "resnet20, train (1 seed)")


@pytest.mark.parametrize(("num_epochs", "mode"), [(1, "lines+markers"), (2, "lines+markers"), (3, "lines")])
def test_points_that_make_no_curve_are_marked(drawn, num_epochs, mode):
    [line] = drawn(course(*[0.5] * num_epochs), with_training=False)
    assert line["mode"] == mode


def test_courses_are_drawn_as_far_as_all_seeds_go(drawn):
    _, line = drawn(course(0.5, 0.3, 0.1), course(0.7, 0.5), with_training=False)
    assert (list(line["x"]), list(line["y"])) == ([10, 20], pytest.approx([60, 40]))


def test_runs_without_epochs_are_left_out(drawn):
    [line] = drawn(course(0.5, 0.3), None, with_training=False)
    assert list(line["y"]) == pytest.approx([50, 30])
    assert line["name"] == "resnet20, test (1 seed)"
    assert drawn(None, None) == []


@pytest.mark.parametrize("with_training", [True, False])
def test_figure_6_is_the_papers_data(traces_of, with_training):
    networks = [("resnet", 20), ("plain", 56)]
    chart = curves_figure([], {}, figure_6=networks, with_training=with_training)
    curves = ["test", "train"] if with_training else ["test"]
    expected = [(network, depth, curve) for network, depth in networks for curve in curves]
    traces = traces_of(chart)
    assert [trace["name"] for trace in traces] == [f"paper, {n}-{d}, {curve}" for n, d, curve in expected]
    for trace, wanted in zip(traces, expected, strict=True):
        points = [point for point in paper.figure6() if point[:3] == wanted]
        assert len(points) > 10
        assert list(trace["x"]) == [point.iteration for point in points]
        assert list(trace["y"]) == [point.error_percent for point in points]
    assert list(chart.figure.to_plotly_json()["layout"]["yaxis"]["range"]) == [0, 20]
    assert "the paper's plain-56" in chart.alt


def test_names_of_others_are_no_markup(drawn):
    [line] = drawn(course(0.5, 0.3), model="<b>x:make", with_training=False)
    assert line["name"] == "&lt;b&gt;x:make, test (1 seed)"


def test_nothing_gives_an_empty_figure(traces_of):
    assert traces_of(curves_figure([], {})) == []


@pytest.mark.parametrize(
    ("over", "x", "title"),
    [
        ("iteration", [10, 20], "iteration"),
        ("epoch", [1, 2], "epoch"),
        ("seconds", [7, 14], "seconds of training"),
    ],
)
def test_course_is_over_what_is_asked_for(make_group, over, x, title):
    group = make_group(0.9)
    chart = curves_figure(
        [group], {group.runs[0]["run_id"]: course(0.5, 0.3)}, with_training=False, over=over
    )
    assert list(chart.figure.data[0].x) == x
    assert chart.figure.layout.xaxis.title.text == title


def test_the_papers_curves_are_over_iterations_only():
    with pytest.raises(ValueError, match="over iterations, not over 'seconds'; leave them out"):
        curves_figure([], {}, figure_6=[("plain", 20)], over="seconds")


@pytest.mark.parametrize(
    ("band", "low", "high"),
    [
        ("range", 30, 50),
        ("sd", 40 - 14.142, 40 + 14.142),
        # 14.142 * 12.706 / sqrt(2)
        ("interval", 40 - 127.06, 40 + 127.06),
    ],
)
def test_band_is_the_one_that_is_asked_for(drawn, band, low, high):
    filled, _ = drawn(course(0.5), course(0.3), with_training=False, band=band)
    assert list(filled["y"]) == pytest.approx([high, low], rel=1e-4)


def test_smoothed_points_are_means_with_those_before_and_the_raw_curve_stays(drawn):
    raw, line = drawn(course(0.6, 0.3, 0.3, 0.0), with_training=False, smoothing=3)
    assert list(raw["y"]) == pytest.approx([60, 30, 30, 0])
    assert list(line["y"]) == pytest.approx([60, 45, 40, 20])


def test_band_is_of_the_smoothed_courses(drawn):
    _, filled, _ = drawn(course(0.6, 0.2), course(0.2, 0.2), with_training=False, smoothing=2)
    assert list(filled["y"]) == pytest.approx([60, 40, 20, 20])
