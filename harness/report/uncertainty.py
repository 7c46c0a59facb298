"""Sections on what a number can be trusted for: the best epoch, noise, code and recipe."""

from __future__ import annotations

from harness.analysis.groups import distinct, measurement_of
from harness.analysis.noise import NoiseSplit, detectable_difference, noise_split
from harness.analysis.summary import evaluated_often, summarize_group
from harness.analysis.variance import complete_table, two_way
from harness.charts import (
    optimism_figure,
)
from harness.formats import interval, percent, points, share
from harness.report.accuracy import named
from harness.report.document import Section, Table
from harness.report.evidence import Evidence

__all__ = ["noise", "optimism", "sources_of_spread"]

_WIDE = 0.1
"""Of an interval for a share: its ends are known to per cent at best."""


def optimism(evidence: Evidence) -> Section | None:
    """What quoting the best epoch adds; None where no run was evaluated more than once."""
    groups = [evaluated_often(group, evidence.epochs) for group in evidence.groups]
    every = [summary for summary in map(summarize_group, groups) if summary.optimism is not None]
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
                "always the best, and it adds little. Runs that were evaluated only once are left out."
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
    for same in distinct(evidence.groups, measurement_of):
        group = same[0]
        known = [[run["run_id"] for run in its.runs if run["run_id"] in evidence.predictions] for its in same]
        split = noise_split([evidence.predictions[name].correct for name in max(known, key=len)])
        if split is None:
            continue
        rows.append(
            (
                named(same),
                str(split.n),
                percent(split.sd),
                percent(split.sampling_sd),
                _share(split),
                percent(split.between_sd or None),
                percent(detectable_difference(max(split.sd, split.sampling_sd), split.n)),
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
                "Detectable is the smallest difference of two models that so many seeds of each would show with 80 % power, unpaired; "
                "seeds that happen to differ less than the sampling alone lets them are taken to differ by that. Implementations "
                "that end with the same bits are one measurement, in one row."
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
                wrapped=frozenset({"model"}),
            )
        ],
    )


def _share(split: NoiseSplit) -> str:
    """Of sampling, at most all of the variance; without decimals where hardly the first digit is known."""
    found, low, high = (min(1.0, value) for value in (split.sampling_share, split.low, split.high))
    if high - low < _WIDE:
        return f"{share(found)} ({share(low)} .. {share(high)})"
    return f"{100 * found:.0f} % ({100 * low:.0f} % .. {100 * high:.0f} %)"


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
