import re
import subprocess
import sys

import pytest

from harness.charts.style import DARK, LIGHT, color_of, label, new_figure, symbol_of, translucent
from harness.models.catalogue import models

CATALOGUE = list(models())
OF_OTHERS = [
    "",
    "-",
    "mynet:make",
    "package.module:make_resnet20",
    "resnet99999",
    "resnet" + "9" * 5000,
    "plain",
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "{{7*7}}",
    "javascript:alert(1)",
    "a|b`c\n\u202ed\x00",
    "réseau",
    "网络20",
    "\udc80",
    "x" * 10_000,
]
COMPARED = [
    "resnet20",
    "plain20",
    "torchvision-resnet20",
    "timm-resnet20",
    "akamaster-resnet20",
    "pytorchcv-resnet20",
    "kuangliu-resnet18",
    "chenyaofo-resnet20",
    "yunjey-resnet20",
    "alvarobartt-resnet20",
    "bayesian-torch-resnet20",
    "torchdistill-resnet20",
]


def channels(color):
    return [int(color[at : at + 2], 16) for at in (1, 3, 5)]


def luminance(color):
    """Of WCAG 2."""
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in (channel / 255 for channel in channels(color))
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    low, high = sorted(map(luminance, (one, other)))
    return (high + 0.05) / (low + 0.05)


def test_contrast_is_that_of_the_formula():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


def test_compared_models_are_in_the_catalogue():
    assert set(COMPARED) <= set(CATALOGUE)


@pytest.mark.parametrize("model", [*CATALOGUE, *OF_OTHERS], ids=lambda model: ascii(model)[:40])
def test_every_model_has_a_colour_and_a_symbol(model):
    assert re.fullmatch("#[0-9a-f]{6}", color_of(model))
    assert re.fullmatch("[a-z-]+", symbol_of(model))


@pytest.mark.parametrize("back", ["#ffffff", "#0d1117"], ids=["light", "dark"])
@pytest.mark.parametrize(
    "model",
    [model for model in [*CATALOGUE, *OF_OTHERS] if model.isprintable()],
    ids=lambda model: model[:40],
)
def test_every_colour_is_seen_on_light_and_on_dark(model, back):
    assert contrast(color_of(model), back) >= 2.4


@pytest.mark.parametrize(("theme", "back"), [(LIGHT, "#ffffff"), (DARK, "#0d1117")], ids=["light", "dark"])
def test_text_and_the_papers_curves_are_read_on_their_background(theme, back):
    assert contrast(theme.text, back) >= 7
    assert contrast(theme.paper, back) >= 4.5
    assert contrast(theme.grid, back) < 2  # it stays behind


def test_colours_are_the_same_in_every_process():
    models_ = ["resnet20", "mynet:make", "<b>"]
    code = f"from harness.charts.style import color_of; print(*map(color_of, {models_}))"
    outputs = [
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": seed},
        ).stdout.split()
        for seed in ("1", "2")
    ]
    assert outputs[0] == outputs[1] == list(map(color_of, models_))


def test_models_that_are_compared_most_are_told_apart():
    colors = {model: color_of(model) for model in COMPARED}
    assert len(set(colors.values())) == len(COMPARED)
    near = [
        (one, other)
        for one in COMPARED
        for other in COMPARED
        if one < other
        and sum(abs(a - b) for a, b in zip(channels(colors[one]), channels(colors[other]), strict=True)) < 40
    ]
    assert near == []


@pytest.mark.parametrize("network", ["resnet{}", "plain{}", "akamaster-resnet{}"])
def test_depths_of_a_family_differ_in_colour_and_symbol(network):
    family = [network.format(depth) for depth in (20, 32, 44, 56, 110)]
    assert len({color_of(model) for model in family}) == len({symbol_of(model) for model in family}) == 5


def test_plain_networks_have_open_symbols_and_their_own_colour():
    assert (symbol_of("resnet20"), symbol_of("plain20")) == ("circle", "circle-open")
    assert symbol_of("timm-plain56") == f"{symbol_of('resnet56')}-open"
    assert symbol_of("kuangliu-vgg16") == "star"
    assert color_of("timm-plain20") != color_of("timm-resnet20")


def test_translucent_colour_keeps_its_channels():
    assert translucent("#0a10ff", 0.25) == "rgba(10,16,255,0.25)"


@pytest.mark.parametrize(
    ("text", "shown"),
    [("<b>x</b>", "&lt;b&gt;x&lt;/b&gt;"), ("a & b", "a &amp; b"), ("timm-resnet20", "timm-resnet20")],
)
def test_label_is_no_markup(text, shown):
    assert label(text) == shown


def test_new_figure_has_titles_and_takes_more():
    layout = new_figure(x="X, s", y="Y, m", height=70, showlegend=False, xaxis={"dtick": 3}).to_plotly_json()[
        "layout"
    ]
    assert (layout["xaxis"]["title"]["text"], layout["yaxis"]["title"]["text"]) == ("X, s", "Y, m")
    assert (layout["height"], layout["showlegend"], layout["xaxis"]["dtick"]) == (70, False, 3)
    assert layout["xaxis"]["gridcolor"] == LIGHT.grid
