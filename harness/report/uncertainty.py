"""Sections on what a number can be trusted for: the best epoch, noise, code and recipe."""

from __future__ import annotations

from harness.analysis.noise import detectable_difference, noise_split
from harness.analysis.summary import summarize_group
from harness.analysis.variance import complete_table, two_way
from harness.charts import (
    optimism_figure,
)
from harness.formats import interval, percent, points, share
from harness.report.document import Section, Table
from harness.report.evidence import Evidence

__all__ = ["noise", "optimism", "sources_of_spread"]


def optimism(evidence: Evidence) -> Section | None:
    """What quoting the best epoch adds; None where nothing was trained."""
    every = [summary for summary in map(summarize_group, evidence.groups) if summary.optimism is not None]
    if not every:
        return None
    known = [summary for summary in every if summary.optimism and summary.optimism.maximum > 0]
    rows = []
    for summary in known:
        optimism = summary.optimism
        assert optimism is not None
        rows.append(
            (
                summary.group.model,
                str(optimism.n),
                points(optimism.mean),
                interval(optimism.low, optimism.high, signed=True),
                points(optimism.maximum),
                *evidence.setting_cells(summary.group),
            )
        )
    table = Table(
        columns=("model", "seeds", "added", "95 % interval", "most", *evidence.setting_columns),
        rows=rows,
        title="Best on test minus last, percentage points",
        numeric=frozenset({"iterations", "seeds", "added", "95 % interval", "most"}),
    )
    return Section(
        key="optimism",
        title="What is quoting the best epoch worth?",
        paragraphs=[
            (
                "Many repositories quote the epoch that is best on the test set. This is what that rule would have added to the "
                "accuracy after the last iteration, run by run. Where the learning rate ends at zero, the last epoch is nearly "
                "always the best, and it adds little."
            )
        ],
        charts=[optimism_figure(known)] if known else [],
        tables=[table] if known else [],
        notes=[
            (
                f"In {len(every) - len(known)} of {len(every)} groups of runs the last epoch was the best, or as good: there the rule "
                "would have added nothing."
            )
        ],
    )


def noise(evidence: Evidence) -> Section | None:
    """Where the spread over seeds comes from; None where there are no two seeds."""
    rows = []
    for group in evidence.groups:
        correct = [
            evidence.predictions[run["run_id"]].correct
            for run in group.runs
            if run["run_id"] in evidence.predictions
        ]
        split = noise_split(correct)
        if split is None:
            continue
        rows.append(
            (
                group.model,
                str(split.n),
                percent(split.sd),
                percent(split.sampling_sd),
                f"{share(split.sampling_share)} ({share(split.low)} .. {share(split.high)})",
                percent(split.between_sd),
                percent(detectable_difference(split.sd, split.n)),
                *evidence.setting_cells(group),
            )
        )
    if not rows:
        return None
    return Section(
        key="noise",
        title="How much is noise?",
        paragraphs=[
            (
                "Seeds differ partly because each happens to get other images of this test set right (sampling; Jordan 2023, "
                "arXiv:2304.01910), partly because some networks are better. The share is of the variance; few seeds know it badly. "
                "Detectable is the smallest difference of two models that so many seeds of each would show with 80 % power."
            )
        ],
        tables=[
            Table(
                columns=(
                    "model",
                    *("seeds", "sd", "sd of sampling"),
                    *("share of sampling (95 % interval)", "sd of networks", "detectable"),
                    *evidence.setting_columns,
                ),
                rows=rows,
                title="Standard deviation of test accuracy over seeds, percentage points",
                numeric=frozenset(
                    {
                        *("iterations", "seeds", "sd", "sd of sampling"),
                        *("share of sampling (95 % interval)", "sd of networks", "detectable"),
                    }
                ),
            )
        ],
    )


def sources_of_spread(evidence: Evidence) -> Section | None:
    """Models and recipes; None where there is no table of both."""
    found = complete_table(evidence.groups)
    if found is None:
        return None
    models, recipes, values = found
    divided = two_way(models, recipes, values)
    return Section(
        key="spread",
        title="Code or recipe?",
        paragraphs=[
            (
                f"{len(models)} models ({', '.join(models)}) under {len(recipes)} recipes ({', '.join(recipes)}), "
                f"{divided.num_seeds} seeds each: what the spread of their results comes from (epsilon squared, with a bootstrap "
                "over seeds)."
            )
        ],
        tables=[
            Table(
                columns=("source", "share", "95 % interval"),
                rows=[
                    (source, share(its.share), f"{share(its.low)} .. {share(its.high)}")
                    for source, its in divided.shares.items()
                ],
                numeric=frozenset({"share", "95 % interval"}),
            )
        ],
    )
