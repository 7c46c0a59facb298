"""Findings on depth: what shortcuts are worth."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence
from typing import Final

from harness.analysis.depth import (
    DepthGap,
    LayerProfile,
    depth_gaps,
    depth_points,
    layer_profiles,
    papers_test_error,
)
from harness.analysis.estimates import Estimate, estimate, exact_difference
from harness.analysis.groups import RunGroup
from harness.charts import Chart, depth_figure, seeds_figure
from harness.findings.comparisons import Tested, certainty, joined, paired_runs, tested
from harness.findings.finding import Answer, Question, Statement, names_of
from harness.findings.words import counted
from harness.formats import listed, percent
from harness.report import Evidence
from harness.report import accuracy as sections
from harness.report.layout import captioned

__all__ = ["QUESTIONS"]

_TRAINING_IMAGES: Final = 50_000
_MANY_EPOCHS: Final = 20
"""After fewer a network is far from trained to the end."""


def _depth(evidence: Evidence) -> Answer | None:
    gaps = depth_gaps(depth_points(evidence.groups, evidence.networks))
    if not gaps:
        return None
    rows = list(zip(gaps, tested([gap.difference for gap in gaps]), strict=True))
    leading = [
        max((row for row in rows if row[0].depth == depth), key=_weight_of_gap)
        for depth in sorted({gap.depth for gap in gaps})
    ]
    section = sections.depth(evidence)
    assert section is not None, "there are gaps"
    responses = _responses(evidence)
    return Answer(
        summary=joined([_of_gap(*row) for row in leading]),
        details=[
            *(_of_gap(*row) for row in rows if row not in leading),
            *(_of_responses(plain, residual) for plain, residual in responses),
        ],
        tables=section.tables,
        chart=_chart_of_depth(evidence, [gap for gap, _ in leading]),
        caveat="Gains of short runs are no estimate of those of networks that are trained to the end.",
    )


def _weight_of_gap(row: tuple[DepthGap, Tested]) -> tuple[bool, int, int]:
    """Several seeds of networks that are trained to their end, then the most seeds, then the longest."""
    paired = row[1].paired
    many_epochs = _num_epochs(paired.first) >= _MANY_EPOCHS
    return many_epochs and paired.difference.n > 1, paired.difference.n, paired.first.iterations


def _num_epochs(group: RunGroup) -> float:
    return group.iterations * group.batch_size / _TRAINING_IMAGES


def _of_gap(gap: DepthGap, its: Tested) -> Statement:
    residual, plain = its.paired.first, its.paired.second
    means = [
        statistics.fmean(run["test_accuracy"] for run in group.runs if run["seed"] in its.paired.seeds)
        for group in (residual, plain)
    ]
    stated = _stated_gap(gap.depth)
    papers = (
        ""
        if stated is None
        else f" The paper's own, trained to the end, differ by about {100 * stated:.1f} points (single runs; the plain network's read "
        "from Figure 6)."
    )
    epochs = _num_epochs(residual)
    after = (
        f", after {round(epochs, 1):g} epoch{'s' * (round(epochs, 1) != 1)}" if epochs < _MANY_EPOCHS else ""
    )
    return Statement(
        f"At {gap.depth} layers{after}, {residual.model} minus {plain.model}, paired by seed: {its.gain} of test "
        f"accuracy ({percent(means[0])} and {percent(means[1])} %), {its.told}. Setting: {residual.setting_name}.{papers}",
        names_of("runs", paired_runs(its.paired)),
    )


def _stated_gap(depth: int) -> float | None:
    """Error of the paper's plain network minus that of its residual one, as a fraction."""
    plain, residual = (papers_test_error(network, depth) for network in ("plain", "resnet"))
    return None if plain is None or residual is None else exact_difference(plain, residual)


_Profiles = tuple[LayerProfile, LayerProfile]
"""Of the plain and of the residual network of one depth, in one setting."""


def _responses(evidence: Evidence) -> list[_Profiles]:
    """By depth."""
    profiles = layer_profiles(evidence.groups)
    found = [
        (plain, residual)
        for plain, residual in itertools.product(profiles, profiles)
        if (plain.network, residual.network) == ("plain", "resnet")
        and (plain.depth, plain.group.setting) == (residual.depth, residual.group.setting)
        and len(plain.stds) == len(residual.stds)
    ]
    return sorted(found, key=lambda pair: pair[0].depth)


def _of_responses(plain: LayerProfile, residual: LayerProfile) -> Statement:
    smaller = sum(ours < theirs for ours, theirs in zip(residual.stds, plain.stds, strict=True))
    by_seed = [_mean_responses(profile) for profile in (residual, plain)]
    seeds = sorted(by_seed[0].keys() & by_seed[1].keys())
    found = estimate(by_seed[0][seed] - by_seed[1][seed] for seed in seeds)
    between = (
        "" if found is None else f" Paired by seed, they differ by {found.mean:+.3f} ({_plainly(found)})."
    )
    means = [
        f"{profile.group.model} {statistics.fmean(profile.stds):.3f} ({counted(profile.num_seeds, 'seed')})"
        for profile in (residual, plain)
    ]
    runs = [run for its in (residual, plain) for run in its.group.runs if run["layer_responses"]]
    return Statement(
        f"Responses of layers (standard deviation after batch normalisation, mean over {len(plain.stds)} layers): {listed(means)}; "
        f"those of the residual network are smaller in {smaller} of {len(plain.stds)} layers.{between} Setting: "
        f"{plain.group.setting_name}.",
        names_of("runs", runs),
    )


def _mean_responses(profile: LayerProfile) -> dict[int, float]:
    """By seed, over the layers."""
    return {
        run["seed"]: statistics.fmean(its["std"] for its in run["layer_responses"])
        for run in profile.group.runs
        if run["layer_responses"]
    }


def _plainly(found: Estimate) -> str:
    """Seeds and interval of what is no fraction."""
    if found.low is None or found.high is None:
        return certainty(found.n, None, None)
    return f"{counted(found.n, 'seed')}, 95 % interval {found.low:+.3f} .. {found.high:+.3f}"


def _chart_of_depth(evidence: Evidence, leading: Sequence[DepthGap]) -> Chart:
    """Error by depth where one setting has all of them; else every seed."""
    settings = {gap.difference.first.setting: gap.difference.first for gap in leading}
    if len(leading) > 1 and len(settings) == 1:
        [(setting, first)] = settings.items()
        its = [group for group in evidence.groups if group.setting == setting]
        return captioned(depth_figure(depth_points(its, evidence.networks)), first.setting_name)
    groups = [group for gap in leading for group in (gap.difference.first, gap.difference.second)]
    return captioned(seeds_figure(groups), "; ".join(first.setting_name for first in settings.values()))


QUESTIONS: Final = (
    Question(
        key="depth",
        text="What are shortcuts worth?",
        commands=["harness reproduce quick --seeds 0-4"],
        answer=_depth,
    ),
)
