"""From the records to the sections of the report, a function for each question."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from harness.analysis.cost import CostPoint, cost_points
from harness.analysis.depth import DepthPoint, depth_gaps, depth_points, layer_profiles
from harness.analysis.groups import RunGroup
from harness.analysis.noise import detectable_difference, noise_split
from harness.analysis.paired import adjusted, model_differences
from harness.analysis.protocol import differences
from harness.analysis.summary import summarize
from harness.analysis.variance import complete_table, two_way
from harness.analysis.verdicts import VerdictRow, notes_by_claims, verdict_board
from harness.charts import (
    Chart,
    cost_figure,
    curves_figure,
    depth_figure,
    optimism_figure,
    responses_figure,
    verdict_figure,
)
from harness.claims import claims
from harness.formats import ABSENT, interval, p_value, percent, points, share
from harness.report.document import Badge, Cell, Report, Section, Table
from harness.report.evidence import Evidence
from harness.report.provenance import commands, environments, machine_checks

__all__ = ["compose"]

_OURS = "resnet20"
_MAX_SETTINGS = 3


def compose(evidence: Evidence, *, margin: float, command: str) -> Report:
    """The report of a store.

    Args:
        evidence: what is recorded.
        margin: which difference of accuracy does not matter, as a fraction.
        command: that makes this report, for its reader to repeat.
    """
    board = verdict_board(claims().values(), evidence.runs, evidence.cards, margin)
    of_evidence = (
        *(_curves, _depth, _implementations, _cost, _identity, _optimism, _noise, _sources_of_spread),
        *(machine_checks, commands, environments),
    )
    sections = [_verdicts(evidence, board, margin), *(make(evidence) for make in of_evidence)]
    return Report(
        title="ResNet reproducibility report",
        made_at=datetime.now(UTC),
        command=command,
        headlines=list(_headlines(evidence, board)),
        sections=[section for section in sections if section is not None],
    )


def _headlines(evidence: Evidence, board: Sequence[VerdictRow]) -> Iterator[str]:
    counts = Counter(row.verdict for row in board)
    judged = sum(counts[verdict] for verdict in ("reproduced", "better", "worse", "inconclusive"))
    if judged:
        told = ", ".join(
            f"{counts[verdict]} {verdict}"
            for verdict in ("reproduced", "better", "worse", "inconclusive")
            if counts[verdict]
        )
        yield f"Published numbers measured under their own protocol: {told}."
    else:
        yield "No published number was measured under its own protocol yet: every run here is shorter, or follows another recipe."
    if evidence.cards:
        same = sum(card["equivalence"] in {"identical", "equal", "permuted"} for card in evidence.cards)
        others = sum(card["counterpart"] is not None for card in evidence.cards)
        yield f"{same} of {others} networks of others are, as functions, those of the paper; {others - same} are not."
    repeated = [row for row in evidence.verifications if row["knob"] is None]
    if repeated:
        identical = sum(row["identical"] for row in repeated)
        yield f"{identical} of {len(repeated)} repetitions of a recorded run gave the same bits."
    if evidence.audits:
        kept = sum(percent(row["claimed_accuracy"]) == percent(row["accuracy"]) for row in evidence.audits)
        yield f"{kept} of {len(evidence.audits)} published checkpoints do what was claimed of them."
    yield (
        f"{sum(len(group.runs) for group in evidence.groups)} runs of {len({group.model for group in evidence.groups})} "
        "models stand behind this page; a mean is of the last iteration, never of the best epoch."
    )


def _verdicts(evidence: Evidence, board: Sequence[VerdictRow], margin: float) -> Section:
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


def _settings(groups: Sequence[RunGroup]) -> list[list[RunGroup]]:
    """Groups by setting, the longest runs first, then those of most models."""
    settings: dict[tuple[object, ...], list[RunGroup]] = {}
    for group in groups:
        settings.setdefault(group.setting, []).append(group)
    return sorted(settings.values(), key=lambda its: (-its[0].iterations * its[0].batch_size, -len(its)))


def _name_of(group: RunGroup) -> str:
    return f"{group.recipe}, {group.iterations:,} iterations, {group.precision}, on {group.device_name}"


def _curves(evidence: Evidence) -> Section | None:
    if not evidence.groups:
        return None
    paper_claims = [claim for claim in claims().values() if claim.recipe == "paper"]
    of_paper = [
        group
        for group in evidence.groups
        if any(
            claim.model == group.model and not differences(claim, group, evidence.networks)
            for claim in paper_claims
        )
    ]
    charts = [
        _captioned(
            curves_figure(of_paper, evidence.epochs, figure_6=(("resnet", 20), ("plain", 20))),
            "The paper's protocol over the paper's own curves (thin; Figure 6)"
            + ("" if of_paper else ": no run of it is recorded"),
        )
    ]
    others = [its for its in _settings(evidence.groups) if not any(group in of_paper for group in its)]
    charts += [
        _captioned(curves_figure(its, evidence.epochs, with_training=len(its) < 3), _name_of(its[0]))
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


def _captioned(chart: Chart, caption: str) -> Chart:
    return replace(chart, caption=caption)


def _depth(evidence: Evidence) -> Section | None:
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
                *evidence.setting_cells(paired.first),
                str(paired.difference.n),
                points(paired.difference.mean),
                interval(paired.difference.low, paired.difference.high, signed=True),
                points(gap.paper_difference),
            )
        )
    table = Table(
        columns=("depth", *evidence.setting_columns, "seeds", "gain", "95 % interval", "paper"),
        rows=rows,
        title="Test accuracy of the residual network minus that of the plain one, percentage points, paired by seed",
        numeric=frozenset({"depth", "iterations", "seeds", "gain", "95 % interval", "paper"}),
    )
    several = [list(its) for _, its in itertools.groupby(all_points, key=lambda point: point.group.setting)]
    charts = [_captioned(depth_figure(its), _name_of(its[0].group)) for its in several if _spans_depths(its)]
    by_setting = itertools.groupby(
        sorted(profiles, key=lambda profile: profile.group.setting),
        key=lambda profile: profile.group.setting,
    )
    charts += [
        _captioned(responses_figure(its), f"Layer responses and Figure 7 (dashed): {_name_of(its[0].group)}")
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


def _implementations(evidence: Evidence) -> Section | None:
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
            *evidence.setting_cells(paired.first),
            str(paired.difference.n),
            points(paired.difference.mean),
            interval(paired.difference.low, paired.difference.high, signed=True),
            p_value(p),
        )
        for paired, p in zip(found, adjusted(found), strict=True)
    ]
    return Section(
        key="implementations",
        title="Do implementations differ?",
        paragraphs=[
            (
                f"Every ResNet-20 that is the paper's network (option A or B) beside ours ({_OURS}), trained alike: the same images in the "
                "same order and views for each seed. p is of Student's paired test, adjusted by Holm for all rows of the table. Under a recipe that draws the "
                "weights anew, networks that are the same function give the same bits, and no difference at all."
            )
        ],
        tables=[
            Table(
                columns=(
                    "model",
                    *evidence.setting_columns,
                    *("seeds", "difference"),
                    *("95 % interval", "p (Holm)"),
                ),
                rows=rows,
                title=f"Test accuracy minus that of {_OURS}, percentage points, paired by seed",
                numeric=frozenset({"iterations", "seeds", "difference", "95 % interval", "p (Holm)"}),
            )
        ],
    )


def _cost(evidence: Evidence) -> Section | None:
    found = cost_points(evidence.groups, evidence.profiles)
    if not found:
        return None
    by_setting: dict[tuple[object, ...], list[CostPoint]] = {}
    for point in found:
        by_setting.setdefault(point.group.setting, []).append(point)
    largest = sorted(by_setting.values(), key=lambda its: (-len(its), -its[0].group.iterations))
    rows = [
        (
            point.model,
            *evidence.setting_cells(point.group),
            percent(point.test_error.mean),
            str(point.batch_size),
            f"{point.images_per_second:,.0f}",
            ABSENT if point.low is None else f"{point.low:,.0f} .. {point.high:,.0f}",
            ABSENT if point.parameters is None else f"{point.parameters:,}",
            ABSENT if point.macs is None else f"{point.macs:,}",
            ABSENT if point.joules_per_image is None else f"{1000 * point.joules_per_image:.3g}",
        )
        for its in largest
        for point in its
    ]
    busy = [point.model for point in found if point.busy]
    return Section(
        key="cost",
        title="What does it cost?",
        paragraphs=[
            (
                "Speed is the median of the latest profile of a training step on the same device in the same precision, with the interval of a bootstrap over rounds that were measured in turn with other models."
            )
        ],
        charts=[_captioned(cost_figure(its), _name_of(its[0].group)) for its in largest[:1] if len(its) > 1],
        tables=[
            Table(
                columns=(
                    "model",
                    *evidence.setting_columns,
                    *("test error, %", "mini-batch", "images/s", "95 % interval"),
                    *("parameters", "MACs", "mJ an image"),
                ),
                rows=rows,
                numeric=frozenset(
                    {
                        *("iterations", "test error, %", "mini-batch", "images/s", "95 % interval"),
                        *("parameters", "MACs", "mJ an image"),
                    }
                ),
            )
        ],
        notes=[
            f"Others used the machine while {', '.join(dict.fromkeys(busy))} was profiled: not to be trusted."
        ]
        if busy
        else [],
    )


_FUNCTIONS = {
    "identical": "the same, bit for bit",
    "equal": "the same, but for rounding",
    "permuted": "the same, with channels in another order",
    "different": "another",
}


def _identity(evidence: Evidence) -> Section | None:
    trained = {group.model for group in evidence.groups}
    others = [card for card in evidence.cards if card["counterpart"] is not None]
    if not others:
        return None
    shown = [
        card for card in others if card["model"] in trained or card["layers_on_main_path"] in {14, 18, 20}
    ]
    rows = [
        (
            str(card["model"]),
            str(card["model_source"]),
            str(card["counterpart"]),
            _FUNCTIONS.get(card["equivalence"], str(card["equivalence"])),
            f"{card['parameters']:,}",
            f"{card['macs']:,}",
            str(card["layers_on_main_path"]),
            str(card["shortcut"]),
            str(card["initialization"]),
        )
        for card in shown
    ]
    deviations = [
        f"{card['model']}: first deviates from {card['counterpart']} where {card['first_deviation']}"
        for card in shown
        if card["first_deviation"]
    ]
    return Section(
        key="identity",
        title="Is it the same network?",
        paragraphs=[
            (
                "Random weights were carried over into the paper's network; logits and gradients on real images were compared in "
                "float32 and float64. Parameters and multiply-accumulates are counted, shortcuts and initial weights are read off "
                "the network itself."
            )
        ],
        tables=[
            Table(
                columns=(
                    *("model", "source", "compared with", "function", "parameters", "MACs"),
                    *("layers", "shortcut", "initial weights"),
                ),
                rows=rows,
                numeric=frozenset({"parameters", "MACs", "layers"}),
                wrapped=frozenset({"function", "initial weights"}),
            )
        ],
        notes=deviations,
    )


def _optimism(evidence: Evidence) -> Section | None:
    every = [
        summary
        for group in evidence.groups
        for summary in summarize(group.runs)
        if summary.optimism is not None
    ]
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
                *evidence.setting_cells(summary.group),
                str(optimism.n),
                points(optimism.mean),
                interval(optimism.low, optimism.high, signed=True),
                points(optimism.maximum),
            )
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
        charts=[optimism_figure(known)]
        if any((its.optimism and its.optimism.maximum) for its in known)
        else [],
        tables=[
            Table(
                columns=(
                    "model",
                    *evidence.setting_columns,
                    *("seeds", "added"),
                    *("95 % interval", "most"),
                ),
                rows=rows,
                title="Best on test minus last, percentage points",
                numeric=frozenset({"iterations", "seeds", "added", "95 % interval", "most"}),
            )
        ],
    )


def _noise(evidence: Evidence) -> Section | None:
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
                *evidence.setting_cells(group),
                str(split.n),
                percent(split.sd),
                percent(split.sampling_sd),
                f"{share(split.sampling_share)} ({share(split.low)} .. {share(split.high)})",
                percent(split.between_sd),
                percent(detectable_difference(split.sd, split.n)),
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
                    *evidence.setting_columns,
                    *("seeds", "sd", "sd of sampling"),
                    *("share of sampling (95 % interval)", "sd of networks", "detectable"),
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


def _sources_of_spread(evidence: Evidence) -> Section | None:
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
