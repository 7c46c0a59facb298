"""Findings on what was published: whether weights do what is said of them, and how the numbers were chosen."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from harness.claims import Claim, claims
from harness.findings.finding import Answer, Question, Statement, names_of
from harness.findings.words import counted, families, one_or_several, small
from harness.formats import listed, percent, points
from harness.report import Evidence
from harness.report.document import Table

__all__ = ["QUESTIONS"]

_Row = Mapping[str, Any]


def _published_weights(evidence: Evidence) -> Answer | None:
    audits = sorted(evidence.audits, key=lambda row: (row["model"], row["audited_at"]))
    if not audits:
        return None
    kept = [row for row in audits if _keeps_its_claim(row)]
    carried = [row for row in audits if row["counterpart_accuracy"] == row["accuracy"]]
    differing = sum(row["num_predictions_differing"] for row in audits)
    predictions = sum(row["num_images"] for row in audits)
    return Answer(
        summary=Statement(
            f"{len(kept)} of {counted(len(audits), 'published checkpoint')} ({families(audits)}) "
            f"{one_or_several(kept, 'has', 'have')} on the test images the accuracy that is claimed, to two decimals of a per cent. Carried over into this harness's class, "
            f"{len(carried)} of {len(audits)} {one_or_several(carried, 'has', 'have')} the same accuracy as through the repository's, and "
            f"{differing:,} of {predictions:,} predictions differ.",
            names_of("audits", audits),
        ),
        details=[
            _of_logits(audits),
            *(_of_checkpoint(row) for row in audits if row not in kept or row not in carried),
            *_of_selection(audits),
        ],
        tables=[_table_of_audits(audits)],
        caveat="It does not show that training again gives these accuracies.",
    )


def _keeps_its_claim(row: _Row) -> bool:
    return percent(row["accuracy"]) == percent(row["claimed_accuracy"])


def _of_logits(audits: Sequence[_Row]) -> Statement:
    largest = max(row["difference_of_logits"] for row in audits)
    return Statement(
        f"Between the two classes, logits differ by at most {small(largest)} of the largest logit.",
        names_of("audits", audits),
    )


def _of_checkpoint(row: _Row) -> Statement:
    difference = row["accuracy"] - row["claimed_accuracy"]
    beside = (
        "as claimed" if _keeps_its_claim(row) else f"{points(difference)} percentage points from the claim"
    )
    return Statement(
        f"{row['model']} ({row['checkpoint']}): {percent(row['accuracy'])} % of {row['num_images']:,} images through its own class, "
        f"{beside}; {percent(row['counterpart_accuracy'])} % through ours, {row['counterpart']}. "
        f"{row['num_predictions_differing']:,} of {row['num_images']:,} predictions differ; logits differ by at most "
        f"{small(row['difference_of_logits'])} of the largest.",
        names_of("audits", [row]),
    )


def _of_selection(audits: Sequence[_Row]) -> list[Statement]:
    """How the numbers were chosen that are kept or not."""
    known = [row for row in audits if row["claim"] in claims()]
    if not known:
        return []
    told = listed(_by_selection([claims()[row["claim"]] for row in known]))
    return [
        Statement(
            f"Of the {counted(len(known), 'claim')} on these weights in harness/claims.toml, {told}.",
            names_of("audits", known),
        )
    ]


def _table_of_audits(audits: Sequence[_Row]) -> Table:
    numeric = ("claimed, %", "measured, %", "through ours, %", "images", "predictions differing")
    return Table(
        columns=("checkpoint", "source", *numeric),
        rows=[
            (
                row["model"],
                row["model_source"],
                percent(row["claimed_accuracy"]),
                percent(row["accuracy"]),
                percent(row["counterpart_accuracy"]),
                f"{row['num_images']:,}",
                f"{row['num_predictions_differing']:,}",
            )
            for row in audits
        ],
        title="Test accuracy of published weights",
        numeric=frozenset(numeric),
    )


_SELECTIONS: Final[Mapping[str, tuple[str, str]]] = {
    "taken to be last": (
        "is taken to be of the last iteration",
        "are taken to be of the last iteration",
    ),
    "last": ("is of the last iteration", "are of the last iteration"),
    "mean-of-5-runs": ("is a mean of 5 runs", "are means of 5 runs"),
    "best-of-5-runs": ("is the best of 5 runs", "are the best of 5 runs"),
    "best-on-test": ("is of the best epoch on the test set", "are of the best epoch on the test set"),
    "unknown": ("does not say how it was chosen", "do not say how they were chosen"),
}
"""Of one claim, and of several."""
_OF_PAPER: Final = "he2015-"
_AFTER_NAME: Final = re.compile(r"/| \(")


def _selection(claim: Claim) -> str:
    """As the claim has it; that those of He et al. are of the last iteration is how their section 4.2 is read here."""
    of_paper = claim.selection == "last" and claim.key.startswith(_OF_PAPER)
    return "taken to be last" if of_paper else claim.selection


def _by_selection(some: Sequence[Claim]) -> list[str]:
    """How many claims were chosen how, and by whom."""
    told = []
    for selection, (one, several) in _SELECTIONS.items():
        found = [claim for claim in some if _selection(claim) == selection]
        whose = Counter(_AFTER_NAME.split(claim.claimant)[0] for claim in found)
        if found:
            named = [name if len(whose) == 1 else f"{name} {number}" for name, number in whose.most_common()]
            told.append(f"{len(found)} {one_or_several(found, one, several)} ({', '.join(named)})")
    return told


def _from_figures(listed_claims: Sequence[Claim]) -> list[Statement]:
    found = [claim.key for claim in listed_claims if claim.read_from_figure]
    if not found:
        return []
    text = f"{len(found)} of the {len(listed_claims)} claims in harness/claims.toml are read from a figure: {listed(found)}."
    return [Statement(text, records=())]


def _documented(listed_claims: Sequence[Claim]) -> Statement:
    without = [claim.key for claim in listed_claims if not claim.recipes]
    number = len(listed_claims) - len(without)
    missing = f"; not {listed(without)}" if without else ""
    return Statement(
        f"{number} of the {len(listed_claims)} claims in harness/claims.toml have a documented recipe that this harness has{missing}.",
        records=(),
    )


def _what_is_reported(_: Evidence) -> Answer:
    every = list(claims().values())
    return Answer(
        summary=Statement(
            f"Of the {len(every)} claims in harness/claims.toml, {listed(_by_selection(every))}.", records=()
        ),
        details=[_documented(every), *_from_figures(every)],
        caveat="It does not show that a number is wrong, only how it was chosen.",
    )


QUESTIONS: Final = (
    Question(
        key="published-weights",
        text="Do published weights do what was claimed?",
        commands=["harness audit"],
        answer=_published_weights,
    ),
    Question(
        key="what-is-reported",
        text="How were the published numbers chosen?",
        commands=["harness verdicts"],
        answer=_what_is_reported,
    ),
)
