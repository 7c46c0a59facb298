"""Tables of verdicts and comparisons of accuracy, for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.text import Text

from harness.analysis.comparison import ModelComparison
from harness.analysis.groups import RunGroup
from harness.analysis.paired import adjusted
from harness.analysis.verdicts import Verdict, VerdictRow, notes_by_claims
from harness.console import stdout
from harness.formats import interval, p_value, percent, points, share
from harness.plain_table import new_table

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
    shown = [row for row in board if row.group is not None]
    table = new_table(
        *("claim", "claimed", "measured", "95 % interval", "n", "verdict"),
        *("model", *_SETTING),
        title=f"Test error, per cent; reproduced: shown to be within {100 * margin:g} points of the claim",
        details=("model",),
    )
    for row in shown:
        group, measured = row.group, row.measured
        assert group is not None
        table.add_row(
            row.claim.key,
            f"{row.claim.test_error_percent:.2f}",
            "-" if measured is None else percent(1 - measured.mean),
            "-" if measured is None else interval(*measured.error_interval),
            "0" if measured is None else str(measured.n),
            Text(row.verdict, _STYLES[row.verdict]),
            *(group.model, *_setting(group)),
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
    churn = ("answered differently", f"by seeds of {first}", f"by seeds of {second}")
    table = new_table(
        *("n", "difference", "95 % interval", "p (Holm)", "on other images", "detectable"),
        *(*churn, *_SETTING),
        title=f"{first} minus {second}: test accuracy in percentage points, paired by seed",
        numeric=churn,
        details=churn,
    )
    for comparison, p in zip(
        comparisons, adjusted([comparison.paired for comparison in comparisons]), strict=True
    ):
        paired, by_image = comparison.paired, comparison.by_image
        table.add_row(
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
            *_setting(paired.first),
        )
    stdout.print(table)
    stdout.print(
        "On other images: 95 % interval had the test set been another, seeds as they are. Detectable: the smallest "
        "difference that as many seeds, paired, would show with 80 % power at the 5 % level. Answered differently: share of "
        "images, between the two, and by two seeds of one alone."
    )
    _print_by_seed(comparisons, first, second)


def _print_by_seed(comparisons: Sequence[ModelComparison], first: str, second: str) -> None:
    only = (f"only {first} right", f"only {second} right")
    columns = ("seed", *only, "p (McNemar)", "p (Holm)", *_SETTING)
    table = new_table(*columns, title="Image by image", numeric=only)
    for comparison in comparisons:
        for its in comparison.by_image.seeds if comparison.by_image else ():
            table.add_row(
                str(its.seed),
                str(its.test.only_first),
                str(its.test.only_second),
                p_value(its.test.p),
                p_value(its.p_adjusted),
                *_setting(comparison.paired.first),
            )
    if table.rows:
        stdout.print()
        stdout.print(table)


_SETTING: Final = ("recipe", "iterations", "precision", "device")


def _setting(group: RunGroup) -> tuple[str, ...]:
    return group.recipe, f"{group.iterations:,}", group.precision, group.device_name
