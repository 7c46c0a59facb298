"""findings: what is printed and written, in which order, and how it exits."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import plotly.graph_objects as go
import pytest

from harness import console
from harness.console import stdout
from harness.findings import QUESTIONS, Finding, find
from harness.records import Store
from harness.report import gather

from .printed import content_of
from .recorded import IMAGES, NEAR, Record, Row, damage

Harness = Callable[..., tuple[int, str, str]]
MakeRuns = Callable[..., list[Row]]

NO_RUNS = "no runs in {0}; make some with: harness reproduce quick --results {0}\n"
"""On stderr."""


@pytest.fixture
def answered(record: Record, of_paper: MakeRuns, results: Path) -> dict[str, Finding]:
    """What a small store answers, by key, in order."""
    record(of_paper(*NEAR), [IMAGES] * len(NEAR))
    evidence = gather(Store(results))
    findings = {key: find(question, evidence) for key, question in QUESTIONS.items()}
    found = {key: finding for key, finding in findings.items() if finding is not None}
    assert {"verdicts", "paper", "seeds"} < found.keys()
    assert 3 < len(found) < len(QUESTIONS)
    return found


@pytest.fixture
def drawings(monkeypatch: pytest.MonkeyPatch) -> list[go.Figure]:
    """What was asked of Chromium, which is not there."""
    drawn: list[go.Figure] = []

    def to_image(figure: go.Figure, form: str, **_: object) -> bytes:
        assert form == "svg"
        drawn.append(figure)
        return b'<svg xmlns="http://www.w3.org/2000/svg"></svg>'

    monkeypatch.setattr(go.Figure, "to_image", to_image)
    return drawn


def headings(page: str) -> list[str]:
    return re.findall(r"^## (.*)$", page, re.MULTILINE)


def texts(*keys: str) -> list[str]:
    return [QUESTIONS[key].text for key in keys]


def shown(page: str) -> str:
    """Without the signs that keep text from being markup."""
    return re.sub(r"\\(.)", r"\1", page)


def test_what_is_recorded_is_printed_as_markdown_and_what_is_not_is_listed(
    harness: Harness, results: Path, answered: dict[str, Finding]
) -> None:
    code, out, err = harness("findings", "--results", results)
    assert (code, err) == (0, "")
    assert out.startswith("# Findings\n\nWritten by `harness findings`: ")
    assert headings(out) == [*texts(*answered), "Not answered yet"]
    for finding in answered.values():
        assert f"**{finding.answer.summary.text}**" in shown(out)
        assert all(f"- {detail.text}\n" in shown(out) for detail in finding.answer.details)
    listed = re.findall(r"^- (.*\?) By `(.*)`\.$", out.partition("## Not answered yet")[2], re.MULTILINE)
    missing = [QUESTIONS[key] for key in QUESTIONS if key not in answered]
    assert listed == [(its.text, "`, `".join(its.commands)) for its in missing]
    assert "<picture>" not in out


def test_findings_are_of_the_results_beside_unless_told(
    harness: Harness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answered: dict[str, Finding]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert harness("findings", "verdicts")[1] == harness("findings", "verdicts", "--results", "results")[1]
    assert headings(harness("findings")[1])[:-1] == texts(*answered)


def test_keys_choose_and_keep_their_order(
    harness: Harness, results: Path, answered: dict[str, Finding]
) -> None:
    keys = ["seeds", "memory", "verdicts", "seeds", "depth", "paper"]
    code, out, err = harness("findings", *keys, "--results", results)
    assert (code, err) == (0, "")
    assert f"Written by `harness findings {' '.join(keys)}`: " in out
    assert headings(out) == [*texts("seeds", "verdicts", "paper"), "Not answered yet"]
    unanswered = re.findall(r"^- (.*\?) By `", out, re.MULTILINE)
    assert unanswered == texts("memory", "depth")
    _, out, _ = harness("findings", "paper", "--results", results)
    assert headings(out) == texts("paper")


@pytest.mark.parametrize("options", [(), ("--json",), ("--brief",)])
def test_a_key_that_does_not_exist_is_exit_code_2_with_the_nearest(
    harness: Harness, results: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    results.mkdir()
    assert harness("findings", "seeds", "verdict", "--results", results, *options) == (
        2,
        "",
        "harness: no finding named 'verdict'; did you mean verdicts?\n",
    )
    code, out, err = harness("findings", "zzz\x1b[31m", "--results", results, "-o", tmp_path / "page.md")
    assert (code, out) == (2, "")
    assert err.startswith("harness: no finding named 'zzz\\x1b[31m'; known: ")
    assert err.endswith(f" and {len(QUESTIONS) - 15} more\n")
    assert list(tmp_path.rglob("*")) == [results]


def test_in_brief_the_summaries_alone_are_printed(
    harness: Harness, results: Path, answered: dict[str, Finding]
) -> None:
    code, out, err = harness("findings", "seeds", "memory", "paper", "--brief", "--results", results)
    assert code == 0
    assert re.findall(r"^\*\*(.*)\*\* ", out, re.MULTILINE) == texts("seeds", "paper")
    assert answered["seeds"].answer.summary.text in shown(out)
    assert not [detail for detail in answered["seeds"].answer.details if detail.text in shown(out)]
    assert "#" not in out
    assert "Worked out by `harness findings seeds`." in out
    [line] = err.splitlines()
    assert line == f"memory: nothing is recorded; record it with: {'; '.join(QUESTIONS['memory'].commands)}"


def test_on_a_terminal_without_options_it_is_brief_and_says_how_to_get_all(
    harness: Harness,
    results: Path,
    answered: dict[str, Finding],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    command = ("findings", "seeds", "memory", "--results", results)
    _, full, _ = harness(*command)
    _, brief, unanswered = harness(*command, "--brief")
    _, content, _ = harness(*command, "--json")
    assert len({full, brief, content}) == 3
    terminal = type(stdout)(force_terminal=True)
    monkeypatch.setattr(console, "stdout", terminal)
    file = tmp_path / "page.md"
    said = f"Everything, with its records: harness findings seeds memory --results {results} --output FILE\n"
    assert harness(*command) == (0, brief, unanswered + said)
    assert harness(*command, "--brief") == (0, brief, unanswered)
    assert harness(*command, "--json") == (0, content, "")
    assert harness(*command, "--output", file)[0] == 0
    assert file.read_text("utf-8") == full


def test_output_is_written_and_said(
    harness: Harness, results: Path, tmp_path: Path, answered: dict[str, Finding]
) -> None:
    _, printed, _ = harness("findings", "--results", results)
    for name, options in (("new folder/a.md", ("--output",)), ("b.txt", ("-o",))):
        file = tmp_path / name
        code, out, err = harness("findings", "--results", results, *options, file)
        assert (code, out, err) == (0, f"Findings: {file}\n", "")
        assert file.read_text("utf-8") == printed
    file.write_text("old " * 200_000)
    code, out, err = harness("findings", "seeds", "--brief", "--results", results, "-o", file)
    assert (code, out, err) == (0, f"Findings: {file}\n", "")
    assert file.read_text("utf-8") == harness("findings", "seeds", "--brief", "--results", results)[1]
    assert not list(tmp_path.rglob("*.tmp"))


def test_output_that_cannot_be_written_is_exit_code_1_and_one_line(
    harness: Harness, results: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    wanted = tmp_path / "file" / "page.md"
    results.mkdir()
    code, out, err = harness("findings", "what-is-reported", "--results", results, "-o", wanted)
    assert (code, out) == (1, "")
    said, line = err.splitlines(keepends=True)
    assert said == NO_RUNS.format(results)
    assert line.startswith(f"harness: cannot write {wanted}: ")


@pytest.mark.parametrize(
    ("page", "folder"), [("page.md", "pictures"), ("docs/page.md", "../pictures"), ("pictures/page.md", ".")]
)
@pytest.mark.parametrize("options", [(), ("--brief",)])
def test_pictures_are_drawn_and_linked_from_the_folder_of_the_output(
    harness: Harness,
    results: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    answered: dict[str, Finding],
    drawings: list[go.Figure],
    page: str,
    folder: str,
    options: tuple[str, ...],
) -> None:
    monkeypatch.chdir(tmp_path)
    command = ("findings", "--results", results, "--pictures", "pictures", "--output", page, *options)
    code, out, err = harness(*command)
    assert (code, out) == (0, f"Findings: {page}\n")
    with_charts = [key for key, finding in answered.items() if finding.answer.chart is not None]
    files = [f"{key}{suffix}.svg" for key in with_charts for suffix in ("", "-dark")]
    assert len(drawings) == len(files) > 3
    assert [line for line in err.splitlines() if line.startswith("drawn: ")] == [
        f"drawn: {Path('pictures', file)}" for file in files
    ]
    text = Path(page).read_text("utf-8")
    links = re.findall(r'(?:src|srcset)="([^"]+)"', text)
    assert sorted(links) == sorted(Path(folder, file).as_posix() for file in files)
    for link in links:
        assert (Path(page).parent / link).is_file()


def test_pictures_are_linked_from_here_without_an_output(
    harness: Harness,
    results: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    answered: dict[str, Finding],
    drawings: list[go.Figure],
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    code, out, _ = harness("findings", "paper", "--results", results, "--pictures", tmp_path / "there")
    assert code == 0
    assert re.findall(r'(?:src|srcset)="([^"]+)"', out) == ["../there/paper-dark.svg", "../there/paper.svg"]
    assert (tmp_path / "there" / "paper.svg").is_file()


def test_pictures_that_cannot_be_drawn_are_exit_code_1_with_the_remedy(
    harness: Harness,
    results: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    answered: dict[str, Finding],
) -> None:
    def to_image(*_: object, **__: object) -> bytes:
        raise ValueError("no browser")

    monkeypatch.setattr(go.Figure, "to_image", to_image)
    page = tmp_path / "page.md"
    code, out, err = harness("findings", "--results", results, "--pictures", tmp_path / "p", "-o", page)
    assert (code, out) == (1, "")
    [line] = err.splitlines()
    assert line.startswith("harness: cannot draw a picture (no browser)")
    assert "apt-get install chromium" in line
    assert not page.exists()


def test_json_is_one_versioned_object(harness: Harness, results: Path, answered: dict[str, Finding]) -> None:
    code, out, err = harness("findings", "--json", "--results", results)
    assert (code, err) == (0, "")
    assert json.loads(out)["version"] == 1
    content = content_of(out)
    assert content.keys() == {"findings", "unanswered"}
    assert [its["key"] for its in content["findings"]] == list(answered)
    for row, (key, finding) in zip(content["findings"], answered.items(), strict=True):
        statements = finding.answer.statements
        assert row == {
            "key": key,
            "question": QUESTIONS[key].text,
            "statements": [{"text": its.text, "records": list(its.records)} for its in statements],
            "caveat": finding.answer.caveat,
            "commands": finding.commands,
        }
    assert content["unanswered"] == [
        {"key": key, "question": its.text, "commands": list(its.commands)}
        for key, its in QUESTIONS.items()
        if key not in answered
    ]


def test_json_is_of_the_keys_in_their_order(
    harness: Harness, results: Path, answered: dict[str, Finding]
) -> None:
    content = content_of(harness("findings", "seeds", "memory", "paper", "--json", "--results", results)[1])
    assert [its["key"] for its in content["findings"]] == ["seeds", "paper"]
    assert [its["key"] for its in content["unanswered"]] == ["memory"]


@pytest.mark.parametrize(
    "option", [("--brief",), ("--pictures", "p"), ("--output", "page.md"), ("-o", "page.md")]
)
def test_json_goes_with_nothing_else(
    harness: Harness,
    results: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    option: tuple[str, ...],
) -> None:
    results.mkdir()
    monkeypatch.chdir(tmp_path)
    code, out, err = harness("findings", "--json", *option, "--results", results)
    assert (code, out) == (2, "")
    [line] = err.splitlines()
    assert line.startswith("harness: --json ")
    assert all(name in line for name in ("--brief", "--pictures", "--output"))
    assert list(tmp_path.rglob("*")) == [results]


def test_an_empty_store_answers_what_takes_no_records(harness: Harness, results: Path) -> None:
    results.mkdir()
    code, out, err = harness("findings", "--results", results)
    assert (code, err) == (0, NO_RUNS.format(results))
    assert headings(out) == [*texts("what-is-reported"), "Not answered yet"]
    assert re.findall(r"^- (.*\?) By `", out, re.MULTILINE) == texts(*(set_without("what-is-reported")))
    assert not list(results.iterdir())


def set_without(key: str) -> list[str]:
    return [its for its in QUESTIONS if its != key]


def test_of_nothing_nothing_is_printed_in_brief(harness: Harness, results: Path) -> None:
    results.mkdir()
    code, out, err = harness("findings", "seeds", "--brief", "--results", results)
    assert (code, out.strip()) == (0, "")
    said, line = err.splitlines(keepends=True)
    assert said == NO_RUNS.format(results)
    assert line.startswith("seeds: nothing is recorded; record it with: harness reproduce ")
    # who asks for all is not told so of each
    code, out, err = harness("findings", "--brief", "--results", results)
    assert (code, err) == (0, NO_RUNS.format(results))
    assert QUESTIONS["what-is-reported"].text in shown(out)
    _, out, _ = harness("findings", "seeds", "--json", "--results", results)
    assert content_of(out)["findings"] == []


@pytest.mark.parametrize("kind", ["runs", "identities", "profiles", "benchmarks", "verifications", "audits"])
@pytest.mark.parametrize("options", [(), ("--json",), ("--brief",)])
def test_a_broken_file_is_named_and_passed_over(
    harness: Harness, results: Path, record: Record, of_paper: MakeRuns, kind: str, options: tuple[str, ...]
) -> None:
    record(of_paper(*NEAR))
    _, sound, _ = harness("findings", "paper", "--results", results, *options)
    broken = damage(results, kind, "broken")
    code, out, err = harness("findings", "paper", "--results", results, *options)
    assert code == 0
    [line] = err.splitlines()
    assert line.startswith(f"passed over {broken}: ")
    assert out == sound
    assert "8.75 %" in shown(out)


def test_what_others_wrote_does_nothing_to_a_terminal(
    harness: Harness, results: Path, record: Record, of_paper: MakeRuns
) -> None:
    record([run | {"model": "\x1bc\x9b31m\u202e"} for run in of_paper(*NEAR)])
    code, out, _ = harness("findings", "seeds", "--results", results)
    assert code == 0
    assert "91.25 %" in out
    assert all(line.isprintable() for line in out.splitlines())


def test_the_command_is_listed_with_its_options(harness: Harness) -> None:
    code, out, _ = harness("findings", "--help")
    assert code == 0
    text = " ".join(word for word in out.split() if word != "│")
    assert f"by default all: {', '.join(QUESTIONS)}." in text
    assert all(name in text for name in ("--brief", "--pictures", "--output", "--results", "--json"))
