"""Sections on the networks themselves: what they cost, and whether they are the paper's."""

from __future__ import annotations

from harness.analysis.cost import CostPoint, cost_points
from harness.charts import (
    cost_figure,
)
from harness.formats import ABSENT, percent
from harness.report.document import Section, Table
from harness.report.evidence import Evidence
from harness.report.layout import captioned

__all__ = ["cost", "identity"]


def cost(evidence: Evidence) -> Section | None:
    """Accuracy and speed; None where nothing was profiled."""
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
            percent(point.test_error.mean),
            str(point.batch_size),
            f"{(speed := point.costs['throughput']).value:,.0f}",
            ABSENT if speed.low is None else f"{speed.low:,.0f} .. {speed.high:,.0f}",
            *(
                f"{point.costs[cost].value:,.0f}" if cost in point.costs else ABSENT
                for cost in ("parameters", "MACs")
            ),
            f"{1000 * point.costs['energy'].value:.3g}" if "energy" in point.costs else ABSENT,
            *evidence.setting_cells(point.group),
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
        charts=[
            captioned(cost_figure(its), its[0].group.setting_name) for its in largest[:1] if len(its) > 1
        ],
        tables=[
            Table(
                columns=(
                    "model",
                    *("test error, %", "mini-batch", "images/s", "95 % interval"),
                    *("parameters", "MACs", "mJ an image"),
                    *evidence.setting_columns,
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


def identity(evidence: Evidence) -> Section | None:
    """Identity cards; None where there are none."""
    trained = {group.model for group in evidence.groups}
    others = evidence.compared_cards
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
