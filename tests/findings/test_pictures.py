"""Pictures of findings: which are drawn anew, and what is said where none can be."""

import copy
from xml.etree import ElementTree

import numpy as np
import plotly.graph_objects as go
import pytest

from harness.charts import DARK, LIGHT, Chart, paint
from harness.errors import PictureError, StorageError
from harness.findings import Answer, Finding, Question, Statement, draw
from harness.findings.pictures import is_current

PATH = "M0,0"


def finding_of(figure, key="speed"):
    question = Question(key=key, text="How?", commands=(), answer=lambda _: None)
    chart = None if figure is None else Chart(figure, "A line.")
    return Finding(question, Answer(summary=Statement("So.", ()), chart=chart))


def a_figure(*values, height=None):
    figure = go.Figure([go.Scatter(x=[1, 2], y=list(values or (0.25, 0.5))), go.Bar(x=["a"], y=[3])])
    return figure.update_layout(height=height, title="A title")


def painted(figure, theme):
    return paint(copy.deepcopy(figure), theme)


@pytest.fixture
def drawings(monkeypatch):
    """What was asked of Chromium, which is not there; each picture has an identifier of its own, as kaleido's have."""
    asked = []

    def to_image(figure, form, **options):
        asked.append({"form": form, **options})
        uid = f"{len(asked):06x}"
        color = figure.layout.font.color
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="9"><defs id="defs-{uid}"><path id="c{uid}" d="{PATH}"/></defs>'
            f'<text fill="{color}">{figure.layout.title.text}</text></svg>'
        ).encode()

    monkeypatch.setattr(go.Figure, "to_image", to_image)
    return asked


@pytest.fixture
def no_chromium(monkeypatch):
    """A function that lets drawing fail from now on."""

    def fail(error=None):
        def to_image(figure, *_, **__):
            raise error or AssertionError("nothing is to be drawn")

        monkeypatch.setattr(go.Figure, "to_image", to_image)

    return fail


# -- what is drawn -------------------------------------------------------------------------------------------


def test_a_picture_for_light_pages_and_one_for_dark_ones(drawings, tmp_path):
    folder = tmp_path / "new" / "folder"
    files = draw(
        [finding_of(a_figure()), finding_of(None, "memory"), finding_of(a_figure(), "depth")], folder
    )
    assert files == [folder / f"{key}{suffix}.svg" for key in ("speed", "depth") for suffix in ("", "-dark")]
    assert sorted(folder.iterdir()) == sorted(files)
    colors = [ElementTree.parse(file).getroot()[-1].get("fill") for file in files]
    assert colors == [LIGHT.text, DARK.text] * 2


@pytest.mark.parametrize(("height", "drawn"), [(None, 420), (300, 300)])
def test_pictures_are_as_high_as_their_figures(drawings, tmp_path, height, drawn):
    draw([finding_of(a_figure(height=height))], tmp_path)
    assert drawings == [{"form": "svg", "width": 760, "height": drawn}] * 2


def test_the_figure_of_a_finding_stays_as_it_was(drawings, tmp_path):
    its = finding_of(a_figure())
    before = its.answer.chart.figure.to_json()
    draw([its], tmp_path)
    assert its.answer.chart.figure.to_json() == before


def test_pictures_hold_nothing_that_differs_from_one_drawing_to_the_next(drawings, tmp_path):
    first, second = (draw([finding_of(a_figure())], tmp_path / name) for name in "ab")
    assert len(drawings) == 4  # each with another identifier
    assert [file.read_bytes() for file in first] == [file.read_bytes() for file in second]


def test_the_picture_is_what_was_drawn_and_a_digest(drawings, tmp_path):
    light, dark = draw([finding_of(a_figure())], tmp_path)
    for file in (light, dark):
        digest, definitions, text = ElementTree.parse(file).getroot()
        assert digest.tag.endswith("metadata")
        assert definitions[0].get("d") == PATH
        assert text.text == "A title"


# -- what is drawn anew --------------------------------------------------------------------------------------


def test_nothing_is_drawn_where_all_is_current(drawings, no_chromium, tmp_path):
    its = [finding_of(a_figure()), finding_of(a_figure(7.0), "depth")]
    files = draw(its, tmp_path)
    before = [file.stat().st_mtime_ns for file in files]
    no_chromium()
    assert draw(its, tmp_path) == []
    assert [file.stat().st_mtime_ns for file in files] == before


def test_without_pictures_no_chromium_is_needed(no_chromium, tmp_path):
    no_chromium()
    assert draw([], tmp_path / "none") == []
    assert draw([finding_of(None)], tmp_path / "none") == []
    assert not (tmp_path / "none").exists()


def test_a_picture_that_is_missing_or_of_another_kind_is_drawn_alone(drawings, tmp_path):
    its = [finding_of(a_figure()), finding_of(a_figure(), "depth")]
    light, dark, *_ = files = draw(its, tmp_path)
    light.unlink()
    assert draw(its, tmp_path) == [light]
    dark.write_bytes(b"<svg></svg>")
    assert draw(its, tmp_path) == [dark]
    dark.write_bytes(light.read_bytes())  # of the other theme
    assert draw(its, tmp_path) == [dark]
    assert draw(its, tmp_path) == []
    assert all(file.exists() for file in files)


@pytest.mark.parametrize(
    "changed",
    [
        a_figure(0.25, 0.50001),
        a_figure(0.25, 0.5, 0.5),
        a_figure().update_layout(title="Another title"),
        a_figure(height=300),
        go.Figure(a_figure().data[:1], a_figure().layout),
    ],
    ids=["value", "values", "title", "height", "traces"],
)
def test_another_figure_is_drawn_anew(drawings, tmp_path, changed):
    files = draw([finding_of(a_figure())], tmp_path)
    before = [file.read_bytes() for file in files]
    assert draw([finding_of(changed)], tmp_path) == files
    assert all(file.read_bytes() != its for file, its in zip(files, before, strict=True))


def test_a_picture_is_current_for_its_own_figure_and_theme(drawings, tmp_path):
    light, dark = draw([finding_of(a_figure())], tmp_path)
    figures = {theme: painted(a_figure(), theme) for theme in (LIGHT, DARK)}
    assert is_current(light, figures[LIGHT])
    assert is_current(dark, figures[DARK])
    assert not is_current(light, figures[DARK])
    assert not is_current(dark, figures[LIGHT])
    assert not is_current(light, painted(a_figure(0.25, 0.51), LIGHT))


def test_no_file_is_no_current_picture(tmp_path):
    figure = painted(a_figure(), LIGHT)
    assert not is_current(tmp_path / "none.svg", figure)
    assert not is_current(tmp_path, figure)
    (tmp_path / "empty.svg").touch()
    assert not is_current(tmp_path / "empty.svg", figure)


NOISE = 1 + 1e-9
FORMS = [
    pytest.param(list, id="list"),
    pytest.param(tuple, id="tuple"),
    pytest.param(np.array, id="array"),
]


def of_values(form, values):
    figure = go.Figure([go.Scatter(x=form(values), y=[1, 2], error_x={"array": form(values)})])
    return figure.update_layout(xaxis_range=[values[0], 2.0 * values[1]])


@pytest.mark.parametrize("form", FORMS)
def test_noise_of_floats_makes_no_other_picture(drawings, tmp_path, form):
    values = [1 / 3, 12345.678]
    pictures = []
    for name, factor in (("a", 1), ("b", NOISE)):
        files = draw([finding_of(of_values(form, [factor * value for value in values]))], tmp_path / name)
        pictures.append([file.read_bytes() for file in files])
    assert pictures[0] == pictures[1]


@pytest.mark.parametrize("form", [list, tuple, np.array], ids=["list", "tuple", "array"])
def test_a_change_of_the_fourth_digit_makes_another_picture(drawings, tmp_path, form):
    one, other = (
        draw([finding_of(of_values(form, [value, 12345.678]))], tmp_path / f"{value}")
        for value in (0.3333, 0.3334)
    )
    assert all(a.read_bytes() != b.read_bytes() for a, b in zip(one, other, strict=True))


# -- what fails ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        ValueError("Image export using the 'kaleido' engine requires the Kaleido package"),
        RuntimeError("Kaleido requires Google Chrome to be installed"),
        OSError(2, "No such file"),
        TimeoutError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_without_kaleido_or_chromium_the_remedy_is_named(no_chromium, tmp_path, error):
    no_chromium(error)
    with pytest.raises(PictureError) as caught:
        draw([finding_of(a_figure())], tmp_path)
    text = str(caught.value)
    assert str(error) in text
    for remedy in ("kaleido", "'documents'", "nox -s documents", "apt-get install chromium"):
        assert remedy in text
    assert caught.value.__cause__ is error
    assert list(tmp_path.iterdir()) == []


def test_the_error_is_one_line_that_does_nothing_to_a_terminal(no_chromium, tmp_path):
    no_chromium(RuntimeError("first\nsecond\x1b[31m" + "x" * 10_000))
    with pytest.raises(PictureError) as caught:
        draw([finding_of(a_figure())], tmp_path)
    text = str(caught.value)
    assert text.isprintable()
    assert len(text) < 1000


def test_an_interruption_is_no_failure(no_chromium, tmp_path):
    no_chromium(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        draw([finding_of(a_figure())], tmp_path)


def test_a_folder_that_cannot_be_written_is_named(drawings, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="file"):
        draw([finding_of(a_figure())], tmp_path / "file")


# -- in Chromium ---------------------------------------------------------------------------------------------


@pytest.mark.browser
def test_chromium_draws_the_same_bytes_twice(tmp_path):
    first, second = (draw([finding_of(a_figure())], tmp_path / name) for name in "ab")
    assert len(first) == 2
    assert [file.read_bytes() for file in first] == [file.read_bytes() for file in second]
    for file in first:
        root = ElementTree.parse(file).getroot()
        assert (root.tag, root.get("width"), root.get("height")) == (
            "{http://www.w3.org/2000/svg}svg",
            "760",
            "420",
        )
        assert "A title" in "".join(root.itertext())
