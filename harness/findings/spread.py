"""Findings on what an accuracy can be trusted for: best epoch, precision, batch statistics, and other seeds."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from harness.analysis.by_image import churn
from harness.analysis.estimates import CONFIDENCE, Estimate, estimate
from harness.analysis.groups import RunGroup, distinct, measurement_of, requested
from harness.analysis.noise import NoiseSplit, noise_split
from harness.analysis.paired import ghost_batch_differences, ghost_batch_size, precision_differences
from harness.analysis.summary import evaluated_often, selection_optimism
from harness.charts import seeds_figure
from harness.config import Precision
from harness.findings.comparisons import Tested, certainty, joined, paired_runs, tested
from harness.findings.finding import Answer, Question, Statement, names_of
from harness.findings.words import counted, one_or_several
from harness.formats import interval, p_value, percent, points, share
from harness.report import Evidence
from harness.report.accuracy import interval_of, named
from harness.report.document import Table
from harness.report.layout import captioned
from harness.report.uncertainty import noise, optimism

__all__ = ["QUESTIONS"]

_MAX_SETTINGS: Final = 4
_SCHEDULES: Final[Mapping[str, str]] = {
    "steps": "falls in steps",
    "linear": "falls linearly to 0",
    "cosine": "falls to 0 along half a cosine",
}

_Row = Mapping[str, Any]


def _best_epoch(evidence: Evidence) -> Answer | None:
    known = [its for group in evidence.groups for its in _added(group, evidence)]
    alike = distinct(known, _bits_of_run)
    if not alike:
        return None
    section = optimism(evidence)
    assert section is not None, "there are runs that know their best epoch"
    by_schedule: dict[str, list[_Added]] = {}
    for first, *_ in alike:
        by_schedule.setdefault(_schedule_of(first.run), []).append(first)
    leading, *others = sorted(by_schedule.items(), key=lambda item: -max(its.evaluations for its in item[1]))
    return Answer(
        summary=_of_schedule(*leading),
        details=[
            *(_of_schedule(*other) for other in others),
            *_left_out(evidence, [its.run for _, *repeating in alike for its in repeating]),
        ],
        tables=section.tables,
        chart=next(iter(section.charts), None),
        caveat="The epoch is chosen on the test set itself; of one that is chosen on held-out images this says nothing.",
    )


@dataclass(frozen=True)
class _Added:
    """What the best epoch would have added to a run."""

    run: _Row
    gain: float
    evaluations: int


def _added(group: RunGroup, evidence: Evidence) -> list[_Added]:
    """Run by run, where that is known."""
    runs = evaluated_often(group, evidence.epochs).runs
    alone = [(run, selection_optimism(replace(group, runs=(run,)))) for run in runs]
    return [
        _Added(run, its.mean, len(evidence.epochs[run["run_id"]])) for run, its in alone if its is not None
    ]


def _bits_of_run(added: _Added) -> Hashable | None:
    """Another device or implementation that gave the same is no further evidence."""
    digest = added.run["weights_sha256"]
    return None if digest is None else (digest, added.run["test_accuracy"], added.gain)


def _runs_of(added: Iterable[_Added]) -> tuple[str, ...]:
    return names_of("runs", (its.run for its in added))


def _of_schedule(schedule: str, added: Sequence[_Added]) -> Statement:
    return Statement(f"Where the learning rate {schedule}: {_sum_of_added(added)}", _runs_of(added))


def _left_out(evidence: Evidence, repeating: Sequence[_Row]) -> list[Statement]:
    runs = [run for group in evidence.groups for run in group.runs]
    often = {
        run["run_id"] for group in evidence.groups for run in evaluated_often(group, evidence.epochs).runs
    }
    once = [run for run in runs if run["run_id"] not in often]
    further = f"{one_or_several(repeating, 'is', 'are')} no further evidence"
    told = [
        f"{counted(len(its), 'run')} {why}"
        for its, why in (
            (repeating, f"with the weights of another, which {further}"),
            (once, "of a single evaluation, before which no epoch could have been better"),
        )
        if its
    ]
    return [Statement(f"Left out: {'; '.join(told)}.", names_of("runs", [*repeating, *once]))] if told else []


def _schedule_of(run: _Row) -> str:
    spec = requested(run)
    kind = "unknown" if spec is None else spec.recipe.schedule.kind
    return _SCHEDULES.get(kind, f"follows a schedule that is {kind}")


def _sum_of_added(added: Sequence[_Added]) -> str:
    """How often the best epoch on the test set was not the last, and how much it added."""
    gains = [its.gain for its in added]
    found, earlier = estimate(gains), sum(value > 0 for value in gains)
    assert found is not None, "gains are finite"
    fewest, most_often = (end(its.evaluations for its in added) for end in (min, max))
    times = f"{fewest} to {most_often}" if fewest < most_often else f"{fewest}"
    runs = f"{counted(found.n, 'run')} with {times} evaluations"
    if not earlier:
        bound = 1 - (1 - CONFIDENCE) ** (1 / found.n)
        return (
            f"In none of {runs} was an earlier epoch better on the test set than the last: quoting the best added nothing, and the share "
            f"of such runs in which it would is at most {share(bound)} (one-sided 95 % bound)."
        )
    most = f"at most {points(found.maximum)}"
    certain = f"95 % interval over runs {interval(found.low, found.high, signed=True)}, {most}"
    return (
        f"In {earlier} of {runs} an earlier epoch was better on the test set than the last; quoting the best adds "
        f"{points(found.mean)} percentage points of test accuracy on average ({most if found.low is None else certain})."
    )


def _precision(evidence: Evidence) -> Answer | None:
    found = tested(precision_differences(run for group in evidence.groups for run in group.runs))
    of_bf16 = [its for its in found if its.paired.first.precision == Precision.BF16]
    if not of_bf16:
        return None
    first = max(of_bf16, key=_weight)
    leading = [first, *(its for its in found if its is not first and its.is_told)]
    return Answer(
        summary=joined([_of_precision(its) for its in leading]),
        details=[_of_precision(its) for its in found if its not in leading],
        tables=[
            _table_of(found, evidence, "Test accuracy minus that of fp32, percentage points, paired by seed")
        ],
        caveat=(
            "The cost may be another at other lengths, recipes or networks. Of speed this says nothing: runs record how fast they "
            "were, but not what ran beside them."
        ),
    )


def _weight(its: Tested) -> tuple[int, int]:
    return its.paired.difference.n, its.paired.first.iterations


def _of_precision(its: Tested) -> Statement:
    group, baseline = its.paired.first, its.paired.second
    setting = f"{group.recipe}, {group.iterations:,} iterations, on {group.device_name}"
    return _compared(f"{group.model}, {group.precision} minus {baseline.precision}", its, setting)


def _two_gpus(evidence: Evidence) -> Answer | None:
    found = tested(ghost_batch_differences(run for group in evidence.groups for run in group.runs))
    if not found:
        return None
    first = max(found, key=_weight)
    return Answer(
        summary=_of_ghost_batches(first),
        details=[_of_ghost_batches(its) for its in found if its is not first],
        tables=[
            _table_of(
                found, evidence, "Test accuracy minus that over all images, percentage points, paired by seed"
            )
        ],
        caveat="The running averages are those of the first part; how the paper's own code kept them it does not say.",
    )


def _of_ghost_batches(its: Tested) -> Statement:
    group = its.paired.first
    over = f"over {ghost_batch_size(group)} images minus over all {group.batch_size}"
    return _compared(f"{group.model}, batch normalisation {over}", its, group.setting_name)


def _compared(what: str, its: Tested, setting: str) -> Statement:
    found = its.paired.difference
    spread = (
        ""
        if found.sd is None or its.paired.same_bits
        else f" The standard deviation of the differences is {percent(found.sd)}."
    )
    return Statement(
        f"{what}, paired by seed: {its.gain} of test accuracy, {its.told}.{spread} Setting: {setting}.",
        names_of("runs", paired_runs(its.paired)),
    )


def _table_of(found: Sequence[Tested], evidence: Evidence, title: str) -> Table:
    return Table(
        columns=(
            *("model", "seeds", "difference", "sd", "95 % interval", "p (Holm)"),
            *evidence.setting_columns,
        ),
        rows=[
            (
                its.paired.first.model,
                str(its.paired.difference.n),
                points(its.paired.difference.mean),
                percent(its.paired.difference.sd),
                interval_of(its.paired),
                p_value(its.p),
                *evidence.setting_cells(its.paired.first),
            )
            for its in found
        ],
        title=title,
        numeric=frozenset({"iterations", "seeds", "difference", "sd", "95 % interval", "p (Holm)"}),
    )


def _seeds(evidence: Evidence) -> Answer | None:
    several = [group for group in evidence.groups if len(group.values("test_accuracy")) > 1]
    if not several:
        return None
    several.sort(key=lambda group: (-len(group.values("test_accuracy")), -group.iterations))
    statements = [_of_seeds(same, evidence) for same in distinct(several, measurement_of)[:_MAX_SETTINGS]]
    section = noise(evidence)
    return Answer(
        summary=statements[0],
        details=statements[1:],
        tables=() if section is None else section.tables,
        chart=captioned(
            seeds_figure([group for group in several if group.setting == several[0].setting]),
            several[0].setting_name,
        ),
        caveat="Runs of another length, recipe or network may spread otherwise.",
    )


def _of_seeds(same: Sequence[RunGroup], evidence: Evidence) -> Statement:
    """Groups that are one measurement."""
    group = same[0]
    found = estimate(group.values("test_accuracy"))
    assert found is not None, "the group has values"
    predicted = max(
        ([run for run in its.runs if run["run_id"] in evidence.predictions] for its in same), key=len
    )
    split = noise_split([evidence.predictions[run["run_id"]].correct for run in predicted])
    first = (
        f"{named(same)} ({group.setting_name}): test accuracy has a standard deviation over seeds of {percent(found.sd)} "
        f"percentage points{_interval_of_sd(split, found)}, from {percent(found.minimum)} to {percent(found.maximum)} %, "
        f"mean {percent(found.mean)} % ({certainty(found.n, found.low, found.high)})."
    )
    sentences = [first, *_on_sampling(split, found), *_on_churn(predicted, evidence)]
    answered = names_of("predictions", predicted) if len(sentences) > 1 else ()
    runs = [run for its in same for run in its.runs if run["test_accuracy"] is not None]
    return Statement(" ".join(sentences), (*names_of("runs", runs), *answered))


def _interval_of_sd(split: NoiseSplit | None, found: Estimate) -> str:
    """From that of the share, which is as well chi-squared; nothing where it is of other seeds."""
    if split is None or split.n != found.n:
        return ""
    low, high = (split.sampling_sd / end**0.5 for end in (split.high, split.low))
    return f" (95 % interval {interval(low, high)})"


def _on_sampling(split: NoiseSplit | None, found: Estimate) -> list[str]:
    if split is None:
        return []
    among = "" if split.n == found.n else f" over the {split.n} seeds whose predictions are recorded"
    chance = ", above 100 % by chance" if split.sampling_share > 1 else ""
    text = (
        f"The sampling of this test set alone would give {percent(split.sampling_sd)}, {share(split.sampling_share)} of the "
        f"variance{chance}{among} (95 % interval {share(split.low)} .. {share(split.high)})."
    )
    return [text]


def _on_churn(runs: Sequence[_Row], evidence: Evidence) -> list[str]:
    answers = [evidence.predictions[run["run_id"]].classes for run in runs]
    sizes = {len(its) for its in answers}
    if len(answers) < 2 or len(sizes) > 1:
        return []
    pairs = [churn(*pair) for pair in itertools.combinations(answers, 2)]
    number, size = statistics.fmean(pairs), sizes.pop()
    over = f"mean over {len(pairs)} pairs" if len(pairs) > 1 else "one pair"
    return [f"Two seeds answer {number * size:,.0f} of {size:,} images differently ({over})."]


QUESTIONS: Final = (
    Question(
        key="best-epoch",
        text="What is quoting the best epoch worth?",
        commands=[
            "harness reproduce quick --seeds 0-4",
            "harness reproduce precision",
            "harness reproduce compare",
        ],
        answer=_best_epoch,
    ),
    Question(
        key="precision",
        text="What does bfloat16 cost in accuracy?",
        commands=["harness reproduce precision"],
        answer=_precision,
    ),
    Question(
        key="two-gpus",
        text="What did two GPUs change?",
        commands=["harness reproduce two-gpus"],
        answer=_two_gpus,
    ),
    Question(
        key="seeds",
        text="How much does another seed change?",
        commands=["harness reproduce precision"],
        answer=_seeds,
    ),
)
