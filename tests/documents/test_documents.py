"""What the documents say: numbers follow from published records or from the code, and links lead somewhere."""

import ast
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .constants import CONSTANTS

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix()
    for path in [*ROOT.glob("*.md"), ROOT / "results" / "README.md", *(ROOT / "docs").rglob("*.md")]
)
PUBLISHED = ROOT / "results" / "published"
WHOLE = "docs/findings.md"

UNIT = (
    r"(?:%|per cent|percentage points?|points?|s|ms|min|h|minutes?|hours?|days?|years?|seconds?|images/s|times"
    r"|[KMGT]i?B|kB|mJ|W)"
)
RANGE = r"[-+]?\d[\d,.]*(?:\s*(?:to|\.\.|and)\s*[-+]?\d[\d,.]*)?"
MEASURED = re.compile(
    rf"(?<![\w./-])(?:{RANGE}\s?{UNIT}(?![\w/])|[-+]?\d+\.\d+(?![\w.])|\d[\d,]* of \d[\d,]*)"
)
"""A number with a unit, with decimals, or of a total: what one would measure or count."""
NO_PROSE = re.compile(
    r"<!-- \[\[\[cog .*?<!-- \[\[\[end\]\]\] -->"  # blocks that are generated, and compared below
    r"|```.*?```|`[^`\n]*`|(?<=\])\([^)]*\)",
    re.DOTALL,
)


def with_blocks():
    """The documents that ``nox -s documents`` writes blocks of."""
    tree = ast.parse((ROOT / "noxfile.py").read_bytes())
    [names] = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", None) == "GENERATED"
    ]
    return names


def typed_numbers(text):
    """Numbers that somebody typed, as one would measure them."""
    return [match.group().strip() for match in MEASURED.finditer(NO_PROSE.sub(" ", text))]


def test_documents_with_blocks_are_all_listed():
    marked = {name for name in DOCUMENTS if "[[[cog" in (ROOT / name).read_text("utf-8")}
    assert marked == set(with_blocks())


def test_blocks_follow_from_the_published_records():
    command = [
        sys.executable,
        "-m",
        "cogapp",
        "--check",
        "--diff",
        "-I",
        "docs",
        "-p",
        "from blocks import *",
    ]
    done = subprocess.run([*command, *with_blocks()], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}\nwrite them anew: nox -s documents"


def test_findings_follow_from_the_published_records(tmp_path):
    (tmp_path / "docs").mkdir()
    shutil.copytree(ROOT / "docs" / "pictures", tmp_path / "docs" / "pictures")
    command = [sys.executable, "-m", "harness", "findings", "--results", str(PUBLISHED)]
    command += ["--pictures", "docs/pictures", "--output", WHOLE]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), "write pictures anew: nox -s documents"
    assert (tmp_path / WHOLE).read_text("utf-8") == (ROOT / WHOLE).read_text("utf-8"), "nox -s documents"


def test_pictures_are_those_of_findings():
    shown = set(re.findall(r"pictures/([\w-]+\.svg)", (ROOT / WHOLE).read_text("utf-8")))
    assert {path.name for path in (ROOT / "docs" / "pictures").iterdir()} == shown


@pytest.mark.parametrize("name", sorted(set(DOCUMENTS) - {WHOLE}))
def test_no_number_is_typed_but_constants(name):
    found = typed_numbers((ROOT / name).read_text("utf-8"))
    known = CONSTANTS.get(name, {})
    assert set(found) == set(known), (
        "let a command make it (docs/blocks.py), or say in constants.py where it comes from"
    )


@pytest.mark.parametrize(
    ("name", "text"), [(name, text) for name, texts in CONSTANTS.items() for text in texts], ids=str
)
def test_constants_are_those_of_the_code(name, text):
    assert CONSTANTS[name][text]() == text


def test_faults_are_those_that_are_tested():
    tested = set()
    for path in (ROOT / "tests" / "faults").glob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", None) == "figure":
                tested |= patterns(node.args[0])
    shown = [row[0] for row in json.loads((PUBLISHED / "faults.json").read_text("utf-8"))["rows"]]
    matches = {test: {pattern for pattern in tested if re.fullmatch(pattern, test)} for test in shown}
    assert all(matches.values())
    assert set.union(*matches.values()) == tested


def patterns(argument):
    """What the name of a test looks like that is a string, or one with values in it."""
    if isinstance(argument, ast.Constant):
        return {re.escape(argument.value)}
    parts = [re.escape(its.value) if isinstance(its, ast.Constant) else ".+" for its in argument.values]
    return {"".join(parts)}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_somewhere(name):
    text = (ROOT / name).read_text("utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)|(?:src|srcset)=\"([^\"]+)\"", text):
        link = "".join(target)
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        file = (ROOT / name).parent / path if path else ROOT / name
        assert file.exists(), link
        if anchor:
            assert anchor in anchors(file.read_text("utf-8")), link


def anchors(text):
    """Of the headings of a document, as code hosts make them."""
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("takes 1.5 GiB", ["1.5 GiB"]),
        ("10 to 16 minutes on 2 cores", ["10 to 16 minutes"]),
        ("+0.33 points (-0.07 to +0.73)", ["+0.33 points", "-0.07", "+0.73"]),
        ("20 of 20 agree; `0.5 s` and 64,000 mini-batches", ["20 of 20"]),
        ("<!-- [[[cog x() ]]] -->\n5 s\n<!-- [[[end]]] -->\n", []),
    ],
)
def test_what_counts_as_a_number(text, found):
    assert typed_numbers(text) == found
