"""Sections on accuracy: against claims, over training, by depth, between implementations."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

from harness.analysis.depth import DepthPoint, depth_gaps, depth_points, layer_profiles
from harness.analysis.groups import RunGroup, follows_paper
from harness.analysis.paired import PairedDifference, adjusted, measurements, model_differences
from harness.analysis.verdicts import VerdictRow, notes_by_claims
from harness.charts import (
    curves_figure,
    depth_figure,
    responses_figure,
    verdict_figure,
)
from harness.formats import ABSENT, interval, listed, p_value, percent, points
from harness.paper import figure6
from harness.report.document import Badge, Cell, Section, Table
from harness.report.evidence import Evidence
from harness.report.layout import by_setting, captioned

__all__ = [
    "curves",
    "depth",
    "implementation_differences",
    "implementations",
    "interval_of",
    "named",
    "verdicts",
]

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
        title="Test error, per cent (the verdict is by the narrower interval of 90 %)",
        numeric=frozenset({"iterations", "claimed", "measured", "95 % interval", "seeds"}),
    )
    paragraphs = [
        (
            f"A number is reproduced if the mean over seeds is shown to lie within {100 * margin:g} percentage points of it: two "
            "one-sided t-tests at the 5 % level (TOST), which is where the 90 % interval lies within the margin; the table has that of "
            "95 %. It is worse or better if the mean is shown to lie beyond that margin. "
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
                interval_of(paired),
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


def named(groups: Iterable[RunGroup]) -> str:
    """Models of groups that are one measurement."""
    models = list(dict.fromkeys(group.model for group in groups))
    return listed(models) + (" (the same bits)" if len(models) > 1 else "")


def interval_of(paired: PairedDifference) -> str:
    """95 % interval of a difference in percentage points; of the same bits there is none."""
    if paired.same_bits:
        return "same bits"
    return interval(paired.difference.low, paired.difference.high, signed=True)


def implementation_differences(evidence: Evidence) -> tuple[list[PairedDifference], list[PairedDifference]]:
    """Networks of others beside ours, wherever both were trained in the same setting.

    Returns:
        Those that are the same function; and beside our ResNet-20 those with projection shortcuts (option B), which are another.
    """
    by_network: dict[str, list[RunGroup]] = {}
    for group in evidence.groups:
        network = evidence.networks.network_of(group.model, group.model_source)
        by_network.setdefault(network, []).append(group)
    same = [paired for network, groups in by_network.items() for paired in model_differences(groups, network)]
    ours = [group for group in by_network.get(_OURS, ()) if group.model == _OURS]
    return same, model_differences([*ours, *by_network.get(f"{_OURS}-b", ())], _OURS)


def implementations(evidence: Evidence) -> Section | None:
    """Networks of others that are ours beside ours; None where there is nothing to compare."""
    same, others = implementation_differences(evidence)
    tables = [
        _table_of_differences(
            found, evidence, f"Test accuracy minus that of {whose}, percentage points, paired by seed"
        )
        for found, whose in (
            (same, "our network of the same function"),
            (
                others,
                f"{_OURS}, of networks with projection shortcuts (option B), which are another function",
            ),
        )
        if found
    ]
    if not tables:
        return None
    return Section(
        key="implementations",
        title="Do implementations differ?",
        paragraphs=[
            (
                "Networks of others beside ours, trained alike: the same images in the same order and views for each seed. p is of "
                "Student's paired test, adjusted by Holm for all rows of the table that have one. Implementations that end with the same "
                "bits for the same seeds are one measurement, in one row. Under a recipe that draws the weights anew, networks "
                "that are the same function can end with the bits of ours: no difference at all, and nothing to test."
            )
        ],
        tables=tables,
    )


def _table_of_differences(found: Sequence[PairedDifference], evidence: Evidence, title: str) -> Table:
    p_values = {id(paired): p for paired, p in zip(found, adjusted(found), strict=True)}
    return Table(
        columns=(
            *("model", "minus", "seeds", "difference", "95 % interval", "p (Holm)"),
            *evidence.setting_columns,
        ),
        rows=[
            (
                named(paired.first for paired in its),
                its[0].second.model,
                str(its[0].difference.n),
                points(its[0].difference.mean),
                interval_of(its[0]),
                p_value(p_values[id(its[0])]),
                *evidence.setting_cells(its[0].first),
            )
            for its in measurements(found)
        ],
        title=title,
        numeric=frozenset({"iterations", "seeds", "difference", "95 % interval", "p (Holm)"}),
        wrapped=frozenset({"model"}),
    )
