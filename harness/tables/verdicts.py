"""Tables of verdicts and comparisons of accuracy, for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.text import Text

from harness.analysis.comparison import ModelComparison
from harness.analysis.paired import adjusted
from harness.analysis.verdicts import Verdict, VerdictRow, notes_by_claims
from harness.console import new_table, stdout
from harness.formats import interval, p_value, percent, points, share

__all__ = ["print_model_comparisons", "print_verdicts"]

_STYLES: Final[dict[Verdict, str]] = {
    "reproduced": "green",
    "better": "cyan",
    "worse": "red",
    "inconclusive": "yellow",
    "not comparable": "dim",
    "not measured": "dim",
}


def print_verdicts(board: Sequence[VerdictRow], margin: float) -> None:
    """Table of claims beside what was measured; below it what is to be known of each, and what was not measured.

    Args:
        board: the rows.
        margin: that they were judged with, as a fraction.
    """
    table = new_table(
        *("claim", "model", "recipe", "precision", "claimed", "measured", "95 % interval", "n", "verdict"),
        title=f"Test error, per cent; reproduced: shown to be within {100 * margin:g} points of the claim",
    )
    table.columns[0].no_wrap = True
    shown = [row for row in board if row.group is not None]
    for row in shown:
        group, measured = row.group, row.measured
        assert group is not None
        table.add_row(
            row.claim.key,
            group.model,
            group.recipe,
            group.precision,
            f"{row.claim.test_error_percent:.2f}",
            "-" if measured is None else percent(1 - measured.mean),
            "-" if measured is None else interval(*measured.error_interval),
            "0" if measured is None else str(measured.n),
            Text(row.verdict, _STYLES[row.verdict]),
        )
    if shown:
        stdout.print(table)
    for note, keys in notes_by_claims(shown).items():
        stdout.print(f"{', '.join(keys)}: {note}")
    missing = [row.claim.key for row in board if row.group is None]
    if missing:
        stdout.print(f"Not measured: {', '.join(missing)}")


def print_model_comparisons(comparisons: Sequence[ModelComparison]) -> None:
    """Tables of two models in every setting that both have, over seeds and image by image."""
    first, second = comparisons[0].paired.first.model, comparisons[0].paired.second.model
    table = new_table(
        *("recipe", "iterations", "precision", "n", "difference", "95 % interval", "p (Holm)"),
        *("on other images", "detectable", "answered differently", first, second),
        title=f"{first} minus {second}: test accuracy in percentage points, paired by seed",
    )
    for comparison, p in zip(
        comparisons, adjusted([comparison.paired for comparison in comparisons]), strict=True
    ):
        paired, by_image = comparison.paired, comparison.by_image
        table.add_row(
            paired.first.recipe,
            f"{paired.first.iterations:,}",
            paired.first.precision,
            str(paired.difference.n),
            points(paired.difference.mean),
            interval(paired.difference.low, paired.difference.high, signed=True),
            p_value(p),
            "-" if by_image is None else interval(by_image.low, by_image.high, signed=True),
            percent(comparison.detectable),
            *(
                share(getattr(by_image, name, None))
                for name in ("churn", "churn_of_first", "churn_of_second")
            ),
        )
    stdout.print(table)
    stdout.print(
        "On other images: 95 % interval had the test set been another, seeds as they are. Detectable: the smallest "
        "difference that so many seeds of each would show with 80 % power. Answered differently: share of images, between "
        f"the two, and between seeds of {first} and of {second} alone."
    )
    _print_by_seed(comparisons, first, second)


def _print_by_seed(comparisons: Sequence[ModelComparison], first: str, second: str) -> None:
    table = new_table(
        *("recipe", "iterations", "precision", "seed", f"only {first} right", f"only {second} right"),
        *("p (McNemar)", "p (Holm)"),
        title="Image by image",
    )
    for comparison in comparisons:
        group = comparison.paired.first
        for its in comparison.by_image.seeds if comparison.by_image else ():
            table.add_row(
                group.recipe,
                f"{group.iterations:,}",
                group.precision,
                str(its.seed),
                str(its.test.only_first),
                str(its.test.only_second),
                p_value(its.test.p),
                p_value(its.p_adjusted),
            )
    if table.rows:
        stdout.print()
        stdout.print(table)
