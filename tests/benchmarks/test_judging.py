"""From records to verdicts and to the report."""

from pathlib import Path

import pytest

from harness.analysis.verdicts import DEFAULT_MARGIN, verdict_board
from harness.claims import claims
from harness.records import Store
from harness.report import compose, gather, to_html

RESULTS = Store(Path(__file__).parents[2] / "results")


@pytest.mark.benchmark(group="verdicts on runs that are read", min_rounds=3)
@pytest.mark.parametrize("num_runs", [100, 10_000])
def test_verdicts(benchmark, num_runs):
    runs = RESULTS.read("runs")[0].to_pylist()
    many = [run | {"seed": number} for number in range(num_runs // len(runs) + 1) for run in runs][:num_runs]
    cards = RESULTS.read("identities")[0].to_pylist()
    board = benchmark(verdict_board, claims().values(), many, cards, DEFAULT_MARGIN)
    assert {row.claim.key for row in board} == set(claims())


@pytest.mark.benchmark(group="the report of what is published", min_rounds=3)
def test_report(benchmark):
    def make():
        return to_html(compose(gather(RESULTS), margin=DEFAULT_MARGIN, command="harness report"))

    assert benchmark(make).startswith("<!DOCTYPE html>")
