import pytest

from harness.charts import color_of, live_figure


def test_errors_so_far_stand_over_the_iterations_and_those_of_training_are_dotted(make_live_run, traces_of):
    chart = live_figure([make_live_run((0.5, 0.625), (0.25, 0.375))])
    tested, trained = traces_of(chart)
    assert list(tested["x"]) == list(trained["x"]) == [10, 20]
    assert list(tested["y"]) == [62.5, 37.5]
    assert list(trained["y"]) == [50, 25]
    assert (tested["line"]["dash"], trained["line"]["dash"]) == ("solid", "dot")
    assert (tested["name"], trained["name"]) == (
        "resnet20, paper, fp32, seed 0, test",
        "resnet20, paper, fp32, seed 0, train",
    )
    assert chart.alt == "Error so far of resnet20, seed 0."


def test_each_model_has_a_colour_in_all_of_its_curves(make_live_run, traces_of):
    runs = [
        make_live_run((0.5, 0.6)),
        make_live_run((0.5, 0.6), model="plain20"),
        make_live_run((0.5, 0.6), seed=1),
    ]
    traces = traces_of(live_figure(runs))
    models = ["resnet20", "resnet20", "plain20", "plain20", "resnet20", "resnet20"]
    assert [trace["line"]["color"] for trace in traces] == [color_of(model) for model in models]
    assert color_of("resnet20") != color_of("plain20")


def test_curves_of_a_run_are_hidden_together(make_live_run, traces_of):
    runs = [
        make_live_run((0.5, 0.6)),
        make_live_run((0.5, 0.6), seed=1),
        make_live_run((0.5, 0.6), recipe="short"),
    ]
    groups = [trace["legendgroup"] for trace in traces_of(live_figure(runs))]
    assert groups[::2] == groups[1::2]
    assert len(set(groups)) == 3


@pytest.mark.parametrize(("num_epochs", "mode"), [(1, "lines+markers"), (2, "lines+markers"), (3, "lines")])
def test_curve_of_few_epochs_has_markers(make_live_run, traces_of, num_epochs, mode):
    traces = traces_of(live_figure([make_live_run(*[(0.5, 0.6)] * num_epochs)]))
    assert [trace["mode"] for trace in traces] == [mode, mode]


def test_run_without_an_epoch_is_not_drawn(make_live_run, traces_of):
    chart = live_figure([make_live_run(model="plain20"), make_live_run((0.5, 0.6))])
    assert [trace["name"].split(",")[0] for trace in traces_of(chart)] == ["resnet20", "resnet20"]
    assert "plain20" not in chart.alt


@pytest.mark.parametrize("backwards", [False, True])
def test_axis_ends_where_the_longest_run_will(make_live_run, backwards):
    runs = [
        make_live_run((0.5, 0.6)),
        make_live_run(iterations=300),
        make_live_run((0.5, 0.6), iterations=200),
    ]
    figure = live_figure(runs[::-1] if backwards else runs).figure
    assert figure.layout.xaxis.range == (0, 300)
    assert figure.layout.yaxis.rangemode == "tozero"


def test_names_of_others_are_no_markup(make_live_run, traces_of):
    traces = traces_of(live_figure([make_live_run((0.5, 0.6), model="<i>x:make", recipe="<b>mine")]))
    for trace, curve in zip(traces, ("test", "train"), strict=True):
        assert trace["name"] == f"&lt;i&gt;x:make, &lt;b&gt;mine, fp32, seed 0, {curve}"
        assert "<" not in trace["legendgroup"]


def test_nothing_gives_an_empty_figure(make_live_run, traces_of):
    chart = live_figure([])
    assert traces_of(chart) == []
    assert chart.figure.layout.xaxis.range is None
    assert traces_of(live_figure([make_live_run()])) == []
