"""report, and reproduce --report: what they print and write, and how they exit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.records import Store

from .printed import content_of, words
from .recorded import IMAGES, NEAR, Record, Row, complete, damage

Harness = Callable[..., tuple[int, str, str]]

NO_RUNS = "no runs in {0}; make some with: harness reproduce quick --results {0}\n"
"""On stderr."""


def test_a_report_is_written_beside_the_records_and_says_where(
    harness: Harness, results: Path, record: Record, of_paper: Callable[..., list[Row]]
) -> None:
    record(of_paper(*NEAR))
    code, out, err = harness("report", "--results", results)
    assert (code, err) == (0, "")
    assert out.splitlines() == [f"Report: {results / name}" for name in ("report.html", "report.md")]
    html, markdown = ((results / name).read_text("utf-8") for name in ("report.html", "report.md"))
    assert html.lstrip().lower().startswith("<!doctype html")
    assert "he2015-resnet20" in html
    assert "| he2015-resnet20 | **reproduced** | 8.75 | 8.75 | 8.63 .. 8.87 | 3 |" in markdown
    assert f"`harness report --results {results}`" in markdown
    # the records stay records
    assert Store(results).check() == (6, [])


def test_a_report_is_of_the_results_beside_unless_told(
    harness: Harness,
    tmp_path: Path,
    record: Record,
    of_paper: Callable[..., list[Row]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    record(of_paper(*NEAR))
    monkeypatch.chdir(tmp_path)
    code, out, _ = harness("report")
    assert code == 0
    assert words(out) == [f"Report: {Path('results', name)}" for name in ("report.html", "report.md")]
    assert (tmp_path / "results" / "report.html").is_file()


def test_a_report_is_written_where_told_and_nowhere_else(
    harness: Harness, results: Path, record: Record, of_paper: Callable[..., list[Row]], tmp_path: Path
) -> None:
    record(of_paper(*NEAR))
    files = [tmp_path / "new folder" / "a.md", tmp_path / "b.html"]
    code, out, _ = harness("report", "--results", results, "-o", files[0], "--output", files[1])
    assert code == 0
    assert out.splitlines() == [f"Report: {file}" for file in files]
    assert files[0].read_text("utf-8").startswith("# ")
    assert files[1].read_text("utf-8").lstrip().startswith("<")
    assert not list(results.glob("report.*"))
    _, out, _ = harness("report", "--results", results, "-o", tmp_path / "only.md")
    assert out.splitlines() == [f"Report: {tmp_path / 'only.md'}"]


@pytest.mark.parametrize("name", ["report.txt", "report", "report.md.gz", ".md"])
def test_a_report_of_another_kind_is_refused_before_anything_is_written(
    harness: Harness,
    results: Path,
    record: Record,
    of_paper: Callable[..., list[Row]],
    tmp_path: Path,
    name: str,
) -> None:
    record(of_paper(*NEAR))
    before = sorted(tmp_path.rglob("*"))
    code, out, err = harness("report", "--results", results, "-o", tmp_path / "a.html", "-o", tmp_path / name)
    assert (code, out) == (2, "")
    assert err == f"harness: {tmp_path / name}: end it in .html or .md, which say what to write\n"
    assert sorted(tmp_path.rglob("*")) == before


def test_a_report_that_cannot_be_written_is_exit_code_1_and_one_line(
    harness: Harness, results: Path, record: Record, of_paper: Callable[..., list[Row]], tmp_path: Path
) -> None:
    record(of_paper(*NEAR))
    (tmp_path / "file").write_text("in the way")
    folder = tmp_path / "folder.md"
    folder.mkdir()
    for wanted in (tmp_path / "file" / "report.html", folder):
        code, out, err = harness("report", "--results", results, "-o", wanted)
        assert (code, out) == (1, "")
        [line] = err.splitlines()
        assert line.startswith(f"harness: cannot write {wanted}: ")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.md", "results"]


def test_an_old_report_is_replaced_and_nothing_is_left(
    harness: Harness, results: Path, record: Record, of_paper: Callable[..., list[Row]]
) -> None:
    record(of_paper(*NEAR))
    files = [results / "report.html", results / "report.md"]
    old = "old " * 200_000
    for file in files:
        file.write_text(old)
    # who reads the old one meanwhile has it to its end
    with files[0].open() as reader:
        assert harness("report", "--results", results)[0] == 0
        assert reader.read() == old
    assert all("old old" not in file.read_text("utf-8") for file in files)
    assert sorted(path.name for path in results.iterdir()) == ["epochs", "report.html", "report.md", "runs"]
    assert not [path for path in results.rglob("*") if path.name.endswith(".tmp")]


def test_no_report_is_written_of_an_empty_store(harness: Harness, results: Path, tmp_path: Path) -> None:
    results.mkdir()
    for options in ((), ("-o", tmp_path / "report.md")):
        code, out, err = harness("report", "--results", results, *options)
        assert (code, out, err) == (1, "", f"harness: {NO_RUNS.format(results)}")
    assert list(tmp_path.rglob("*")) == [results]


def test_a_report_of_other_records_than_runs_is_written_and_says_that_there_are_none(
    harness: Harness, results: Path, make_card: Callable[..., Row]
) -> None:
    Store(results).write("identities", complete("identities", make_card("resnet20")))
    code, out, err = harness("report", "--results", results)
    assert (code, err) == (0, NO_RUNS.format(results))
    assert out.count("Report: ") == 2
    assert "Not measured: he2015-resnet20, " in (results / "report.md").read_text("utf-8")


@pytest.mark.parametrize("kind", ["runs", "epochs", "predictions", "identities", "profiles"])
def test_a_report_names_a_broken_file_and_passes_it_over(
    harness: Harness, results: Path, record: Record, make_run: Callable[..., Row], kind: str
) -> None:
    run = make_run()
    record([run], [IMAGES])
    broken = damage(results, kind, run["run_id"])
    code, out, err = harness("report", "--results", results)
    assert code == 0
    assert out.count("Report: ") == 2
    *said, line = err.splitlines(keepends=True)
    # the only run is the broken one, or is there
    assert said == ([NO_RUNS.format(results)] if kind == "runs" else [])
    assert line.startswith(f"passed over {broken}: cannot be read: ")
    assert f"Passed over {kind}/{broken.name}: cannot be read: " in (results / "report.md").read_text("utf-8")


def test_a_report_has_its_margin_and_says_how_it_is_made_again(
    harness: Harness, results: Path, record: Record, of_paper: Callable[..., list[Row]]
) -> None:
    record(of_paper(0.9065, 0.9070, 0.9075))
    texts = []
    for margin in ((), ("--margin", 0.5), ("--margin", 0.1)):
        # worse is a finding of the report, and no failure to write it
        assert harness("report", "--results", results, *margin)[0] == 0
        texts.append((results / "report.md").read_text("utf-8"))
    assert ["| he2015-resnet20 | **inconclusive** |" in text for text in texts] == [True, True, False]
    assert "| he2015-resnet20 | **worse** |" in texts[2]
    assert f"`harness report --results {results}`" in texts[0]
    assert f"`harness report --results {results}`" in texts[1]
    assert f"`harness report --results {results} --margin 0.1`" in texts[2]


@pytest.mark.parametrize(("name", "start"), [("report.HTML", "<!doctype html"), ("Report.Md", "# ")])
def test_a_suffix_of_a_report_may_be_in_capitals(
    harness: Harness,
    results: Path,
    record: Record,
    of_paper: Callable[..., list[Row]],
    tmp_path: Path,
    name: str,
    start: str,
) -> None:
    record(of_paper(*NEAR))
    code, out, err = harness("report", "--results", results, "-o", tmp_path / name)
    assert (code, err) == (0, "")
    assert out.splitlines() == [f"Report: {tmp_path / name}"]
    text = (tmp_path / name).read_text("utf-8")
    assert text.lstrip().lower().startswith(start)
    assert "he2015-resnet20" in text


# reproduce --report

REPORTS = ("report.html", "report.md")


def reports(results: Path) -> list[str]:
    return sorted(path.name for path in results.glob("*report*"))


def test_reproduce_writes_the_report_when_told_whether_or_not_there_was_anything_to_do(
    harness: Harness, write_module: Callable[..., Path], tiny_experiment: Path, results: Path
) -> None:
    write_module()
    options = (tiny_experiment, "--models", "mynet:net", "--data", "synthetic", "--results", results)
    code, out, err = harness("reproduce", *options)
    assert code == 0, err
    assert reports(results) == []
    assert "Report: " not in out

    code, out, err = harness("reproduce", *options, "--report")
    assert code == 0, err
    assert err.count("skipped") == 1
    assert out.splitlines()[-2:] == [f"Report: {results / name}" for name in REPORTS]
    assert reports(results) == list(REPORTS)

    for name in REPORTS:
        (results / name).unlink()
    code, out, err = harness("reproduce", *options, "--seeds", "1", "--report")
    assert code == 0, err
    assert "skipped" not in err
    assert reports(results) == list(REPORTS)
    assert f"`harness report --results {results}`" in (results / "report.md").read_text("utf-8")


def test_reproduce_with_a_report_has_one_json_object_on_stdout(
    harness: Harness, write_module: Callable[..., Path], tiny_experiment: Path, results: Path
) -> None:
    write_module()
    code, out, err = harness(
        *("reproduce", tiny_experiment, "--models", "mynet:net", "--data", "synthetic"),
        *("--results", results, "--report", "--json"),
    )
    assert code == 0, err
    assert reports(results) == list(REPORTS)
    assert [run["status"] for run in content_of(out)["runs"]] == ["completed"]
    assert err.splitlines()[-2:] == [f"Report: {results / name}" for name in REPORTS]


def test_reproduce_writes_the_report_of_runs_that_diverged(
    harness: Harness,
    write_module: Callable[..., Path],
    tiny_experiment: Path,
    tiny_recipe: Path,
    results: Path,
) -> None:
    write_module()
    tiny_recipe.write_text(tiny_recipe.read_text().replace("learning_rate = 0.1", "learning_rate = 1e30"))
    code, out, err = harness(
        *("reproduce", tiny_experiment, "--models", "mynet:net", "--iterations", 6, "--data", "synthetic"),
        *("--results", results, "--report"),
    )
    assert code == 4, err
    assert [run["status"] for run in Store(results).read("runs")[0].to_pylist()] == ["diverged"]
    assert out.splitlines()[-2:] == [f"Report: {results / name}" for name in REPORTS]
    assert reports(results) == list(REPORTS)


FAILS = """\
from torch import nn

class Fails(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3072, 10)

    def forward(self, images):
        if self.training and len(images) > 2:
            raise ArithmeticError("not today")
        return self.linear(images.flatten(1))

def net():
    return Fails()
"""


def test_reproduce_writes_the_report_of_runs_that_failed(
    harness: Harness, write_module: Callable[..., Path], tiny_experiment: Path, results: Path
) -> None:
    write_module(FAILS)
    code, out, err = harness(
        *("reproduce", tiny_experiment, "--models", "mynet:net", "--data", "synthetic"),
        *("--results", results, "--report"),
    )
    assert code == 4, err
    assert "not today" in err
    assert out.splitlines()[-2:] == [f"Report: {results / name}" for name in REPORTS]
    assert reports(results) == list(REPORTS)


@pytest.mark.usefixtures("nowhere")
def test_reproduce_writes_the_report_of_runs_that_were_skipped_for_want_of_a_network(
    harness: Harness, tiny_experiment: Path, results: Path
) -> None:
    code, out, err = harness(
        *("reproduce", tiny_experiment, "--models", "akamaster-resnet20", "--data", "synthetic"),
        *("--results", results, "--report"),
    )
    assert code == 4, err
    assert "akamaster-resnet20: skipped: " in err
    assert out.splitlines()[-2:] == [f"Report: {results / name}" for name in REPORTS]
