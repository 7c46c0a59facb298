"""Sections on accuracy: against claims, over training, by depth, between implementations."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from harness.analysis.depth import DepthPoint, depth_gaps, depth_points, layer_profiles
from harness.analysis.groups import RunGroup, follows_paper
from harness.analysis.paired import adjusted, model_differences
from harness.analysis.verdicts import VerdictRow, notes_by_claims
from harness.charts import (
    curves_figure,
    depth_figure,
    responses_figure,
    verdict_figure,
)
from harness.formats import ABSENT, interval, p_value, percent, points
from harness.paper import figure6
from harness.report.document import Badge, Cell, Section, Table
from harness.report.evidence import Evidence
from harness.report.layout import by_setting, captioned

__all__ = ["curves", "depth", "implementations", "verdicts"]

_OURS = "resnet20"
_MAX_SETTINGS = 3


def verdicts(evidence: Evidence, board: Sequence[VerdictRow], margin: float) -> Section:
    """Every claim beside what was measured."""
    shown = [row for row in board if row.group is not None]
    missing = [row.claim.key for row in board if row.group is None]
    judged = any(row.judgement is not None for row in shown)
    rows: list[tuple[Cell, ...]] = [
        (
            row.claim.key,
            Badge(row.verdict),
            f"{row.claim.test_error_percent:.2f}",
            ABSENT if row.measured is None else percent(1 - row.measured.mean),
            ABSENT if row.measured is None else interval(*row.measured.error_interval),
            "0" if row.measured is None else str(row.measured.n),
            row.group.model,
            *evidence.setting_cells(row.group),
        )
        for row in shown
        if row.group is not None
    ]
    table = Table(
        columns=(
            *("claim", "verdict", "claimed", "measured", "95 % interval", "seeds", "model"),
            *evidence.setting_columns,
        ),
        rows=rows,
        title="Test error, per cent",
        numeric=frozenset({"iterations", "claimed", "measured", "95 % interval", "seeds"}),
    )
    paragraphs = [
        (
            f"A number is reproduced if the mean over seeds is shown to lie within {100 * margin:g} percentage points of it: two "
            "one-sided t-tests at the 5 % level (TOST). It is worse or better if the mean is shown to lie beyond that margin. "
            "Neither shown is inconclusive. Runs of another length, recipe, network or rule of selection are not comparable."
        )
    ]
    notes = [f"{', '.join(keys)}: {note}" for note, keys in notes_by_claims(shown).items()]
    if missing:
        notes.append(f"Not measured: {', '.join(missing)}")
    return Section(
        key="verdicts",
        title="Did it reproduce?",
        paragraphs=paragraphs,
        charts=[verdict_figure(board, margin)] if judged else [],
        tables=[table] if rows else [],
        notes=notes,
    )


def curves(evidence: Evidence) -> Section | None:
    """Errors over training; None where nothing was trained."""
    if not evidence.groups:
        return None
    of_paper = [group for group in evidence.groups if follows_paper(group)]
    charts = [
        captioned(
            curves_figure(of_paper, evidence.epochs, figure_6=_networks_of_figure_6(of_paper)),
            "The paper's protocol over the paper's own curves (thin; Figure 6)"
            + ("" if of_paper else ": no run of it is recorded"),
        )
    ]
    others = [its for its in by_setting(evidence.groups) if not any(group in of_paper for group in its)]
    charts += [
        captioned(curves_figure(its, evidence.epochs, with_training=len(its) < 3), its[0].setting_name)
        for its in others[:_MAX_SETTINGS]
    ]
    return Section(
        key="curves",
        title="How did training go?",
        paragraphs=[
            (
                "Lines are means over seeds, bands reach from the least to the greatest seed; training error is dotted. It is of "
                "augmented images while the weights change."
            )
        ],
        charts=charts,
        notes=[f"{len(others) - _MAX_SETTINGS} more settings are not drawn."]
        if len(others) > _MAX_SETTINGS
        else [],
    )


def _networks_of_figure_6(groups: Sequence[RunGroup]) -> list[tuple[str, int]]:
    """Those of the figure that are among the groups; the shallowest two if none is."""
    drawn = dict.fromkeys((point.network, point.depth) for point in figure6())
    among = [its for its in drawn if "{}{}".format(*its) in {group.model for group in groups}]
    return among or [("plain", 20), ("resnet", 20)]


def depth(evidence: Evidence) -> Section | None:
    """Plain beside residual; None where there is nothing to compare."""
    all_points = depth_points(evidence.groups, evidence.networks)
    gaps = depth_gaps(all_points)
    profiles = layer_profiles(evidence.groups)
    if not gaps and not profiles:
        return None
    rows = []
    for gap in gaps:
        paired = gap.difference
        rows.append(
            (
                str(gap.depth),
                str(paired.difference.n),
                points(paired.difference.mean),
                interval(paired.difference.low, paired.difference.high, signed=True),
                points(gap.paper_difference),
                *evidence.setting_cells(paired.first),
            )
        )
    table = Table(
        columns=("depth", "seeds", "gain", "95 % interval", "paper", *evidence.setting_columns),
        rows=rows,
        title="Test accuracy of the residual network minus that of the plain one, percentage points, paired by seed",
        numeric=frozenset({"depth", "iterations", "seeds", "gain", "95 % interval", "paper"}),
    )
    several = [list(its) for _, its in itertools.groupby(all_points, key=lambda point: point.group.setting)]
    charts = [
        captioned(depth_figure(its), its[0].group.setting_name) for its in several if _spans_depths(its)
    ]
    by_setting = itertools.groupby(
        sorted(profiles, key=lambda profile: profile.group.setting),
        key=lambda profile: profile.group.setting,
    )
    charts += [
        captioned(
            responses_figure(its),
            f"Layer responses over all elements, and Figure 7 (dashed; over what, it does not say): {its[0].group.setting_name}",
        )
        for _, its in ((setting, list(group)) for setting, group in by_setting)
    ]
    return Section(
        key="depth",
        title="What are shortcuts worth?",
        paragraphs=[
            (
                "A plain network is the residual one without its shortcuts: the same layers, parameters and multiply-accumulates. "
                "Gains of short runs are no estimate of the converged one."
            )
        ],
        charts=charts,
        tables=[table] if rows else [],
    )


def _spans_depths(its: Sequence[DepthPoint]) -> bool:
    return len({point.depth for point in its}) > 1


def implementations(evidence: Evidence) -> Section | None:
    """The paper's ResNet-20 by others beside ours; None where there is nothing to compare."""
    networks = evidence.networks
    alike = [
        group
        for group in evidence.groups
        if networks.network_of(group.model, group.model_source) in {_OURS, f"{_OURS}-b"}
    ]
    found = model_differences(alike, _OURS)
    if not found:
        return None
    rows = [
        (
            paired.first.model,
            str(paired.difference.n),
            points(paired.difference.mean),
            interval(paired.difference.low, paired.difference.high, signed=True),
            p_value(p),
            *evidence.setting_cells(paired.first),
        )
        for paired, p in zip(found, adjusted(found), strict=True)
    ]
    return Section(
        key="implementations",
        title="Do implementations differ?",
        paragraphs=[
            (
                f"Every ResNet-20 that is the paper's network (option A or B) beside ours ({_OURS}), trained alike: the same images in the "
                "same order and views for each seed. p is of Student's paired test, adjusted by Holm for all rows of the table that have one. Under a recipe that draws the "
                "weights anew, networks that are the same function can end with the same bits: no difference at all, and nothing to test."
            )
        ],
        tables=[
            Table(
                columns=(
                    "model",
                    *("seeds", "difference"),
                    *("95 % interval", "p (Holm)"),
                    *evidence.setting_columns,
                ),
                rows=rows,
                title=f"Test accuracy minus that of {_OURS}, percentage points, paired by seed",
                numeric=frozenset({"iterations", "seeds", "difference", "95 % interval", "p (Holm)"}),
            )
        ],
    )
