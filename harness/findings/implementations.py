"""Findings on implementations of one function: whether they train alike."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from harness.analysis.comparison import detectable
from harness.analysis.estimates import estimate
from harness.analysis.groups import RunGroup, group_runs, requested
from harness.analysis.protocol import Card
from harness.charts import Chart, seeds_figure
from harness.findings.comparisons import (
    Tested,
    certainty,
    joined,
    measured_once,
    names_of_cards,
    paired_runs,
    question_of,
    tested,
)
from harness.findings.finding import Answer, Question, Statement, names_of
from harness.formats import listed, percent
from harness.report import Evidence
from harness.report import accuracy as sections
from harness.report.layout import captioned

__all__ = ["QUESTIONS"]

_OURS: Final = "resnet20"
_UNDER: Final = "Under recipes that draw the initial weights themselves, "

_Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class _Twin:
    """Runs of a network of others that is one of ours, and ours in the same setting."""

    group: RunGroup
    ours: RunGroup
    card: Card
    pairs: Sequence[tuple[_Row, _Row]]
    """Of equal seed, threads and version of torch, where the weights of both are known: theirs, ours."""

    @property
    def num_equal(self) -> int:
        """Pairs with the same weights, bit for bit."""
        return sum(theirs["weights_sha256"] == ours["weights_sha256"] for theirs, ours in self.pairs)


def _twins(evidence: Evidence) -> list[_Twin]:
    """Under recipes that draw the initial weights themselves."""
    drawn = [group for group in evidence.groups if _initialization(group) == "he"]
    twins = []
    for group, ours in itertools.permutations(drawn, 2):
        card = evidence.networks.card(group.model, group.model_source)
        network = evidence.networks.network_of(group.model, group.model_source)
        if card is None or network == group.model or ours.model != network or ours.setting != group.setting:
            continue
        twins.append(_Twin(group=group, ours=ours, card=card, pairs=_pairs(group, ours, evidence.runs)))
    return [twin for twin in twins if twin.pairs]


def _initialization(group: RunGroup) -> str:
    spec = requested(group.runs[0])
    return "unknown" if spec is None else spec.recipe.initialization


def _pairs(group: RunGroup, ours: RunGroup, runs: Sequence[_Row]) -> list[tuple[_Row, _Row]]:
    """A seed of ours may have been run on several numbers of threads: the latest of the same counts."""
    known = {
        (run["seed"], run["threads"], run["torch"]): run
        for run in sorted(runs, key=lambda run: run["finished_at"])
        if run["status"] == "completed" and not run["resumed_from"] and run["weights_sha256"] is not None
        if run["model"] == ours.model and question_of(group_runs([run])[0]) == question_of(ours)
    }
    places = [(run, (run["seed"], run["threads"], run["torch"])) for run in group.runs]
    return [
        (run, known[place]) for run, place in places if place in known and run["weights_sha256"] is not None
    ]


def _implementations(evidence: Evidence) -> Answer | None:
    twins = _twins(evidence)
    functions, others = map(tested, sections.implementation_differences(evidence))
    own = measured_once([its for its in functions if _begins_by_itself(its)])
    other = measured_once([its for its in others if _begins_by_itself(its)])
    same = [twin for twin in twins if twin.card["equivalence"] == "identical"]
    rounded = [twin for twin in twins if twin.card["equivalence"] != "identical"]
    parts = [
        *([_of_same_bits(same)] if same else []),
        *_of_rounded(rounded, functions),
        *([_of_own_weights(own, evidence)] if own else []),
    ]
    if not parts:
        return None
    summary = [parts[0], *([parts[-1]] if own and len(parts) > 1 else [])]
    section = sections.implementations(evidence)
    return Answer(
        summary=joined(summary),
        details=[
            *(part for part in parts if part not in summary),
            *_by_implementation([*own, *other], evidence),
            *_drawn_alike([*own, *other]),
        ],
        tables=() if section is None else section.tables,
        chart=_chart_of_implementations([*own, *other], twins),
        caveat=(
            "Implementations that are not told apart need not be equal; of their speed and their published recipes this says nothing."
        ),
    )


def _of_same_bits(twins: Sequence[_Twin]) -> Statement:
    pairs = [pair for twin in twins for pair in twin.pairs]
    models = listed(list(dict.fromkeys(twin.group.model for twin in twins)))
    settings = "; ".join(dict.fromkeys(twin.group.setting_name for twin in twins))
    equal = sum(twin.num_equal for twin in twins)
    return Statement(
        f"{_UNDER}{equal} of {len(pairs)} run{'s' * (len(pairs) != 1)} of {models} end"
        f"{'s' * (len(pairs) == 1)} with the weights of ours, bit for bit ({settings}).",
        (*_names_of_pairs(pairs), *names_of_cards(twin.card for twin in twins)),
    )


def _names_of_pairs(pairs: Iterable[tuple[_Row, _Row]]) -> tuple[str, ...]:
    return names_of("runs", itertools.chain.from_iterable(pairs))


def _of_rounded(twins: Sequence[_Twin], functions: Sequence[Tested]) -> list[Statement]:
    """Those whose arithmetic is ordered otherwise: how far that drives them apart."""
    by_groups = {(id(its.paired.first), id(its.paired.second)): its for its in functions}
    return [
        Statement(
            f"{_UNDER}{twin.group.model}, which is {twin.ours.model} but for the order of its arithmetic, ends with the weights of "
            f"ours in {twin.num_equal} of {len(twin.pairs)} runs.{_difference(its)} Setting: {twin.group.setting_name}.",
            (
                *names_of("runs", [*paired_runs(its.paired), *itertools.chain.from_iterable(twin.pairs)]),
                *names_of_cards([twin.card]),
            ),
        )
        for twin in twins
        if (its := by_groups.get((id(twin.group), id(twin.ours)))) is not None
    ]


def _difference(its: Tested) -> str:
    if its.paired.same_bits:
        return ""
    return (
        f" Its test accuracy minus that of {its.paired.second.model}, paired by seed: {its.gain}, {its.told}."
    )


def _begins_by_itself(its: Tested) -> bool:
    """Under a recipe where each begins with weights of its own."""
    return _initialization(its.paired.first) == "implementation"


_Same = Sequence[Tested]
"""Comparisons that are one measurement: of implementations that end with the same bits."""


def _named(same: _Same) -> str:
    return sections.named(its.paired.first for its in same)


def _of_own_weights(own: Sequence[_Same], evidence: Evidence) -> Statement:
    """Of networks that are the same function."""
    apart = [_named(same) for same in own if same[0].is_told]
    most = max(own, key=lambda same: abs(same[0].paired.difference.mean))
    every = list(itertools.chain.from_iterable(own))
    settings = "; ".join(dict.fromkeys(its.paired.first.setting_name for its in every))
    ours = listed(list(dict.fromkeys(its.paired.second.model for its in every)))
    return Statement(
        f"Where each begins with weights that its own code draws, {len(apart) or 'none'} of {len(own)} "
        f"comparison{'s' * (len(own) > 1)} with {ours} {'are' if len(apart) > 1 else 'is'} significant"
        f"{f' ({listed(apart)})' if apart else ''}; the largest difference is that of {_named(most)}, {most[0].gain} of "
        f"test accuracy, paired by seed ({settings}).{_detectable(own)}",
        (
            *names_of("runs", itertools.chain.from_iterable(paired_runs(its.paired) for its in every)),
            *names_of_cards(_card_of(its.paired.first, evidence) for its in every),
        ),
    )


def _card_of(group: RunGroup, evidence: Evidence) -> Card | None:
    return evidence.networks.card(group.model, group.model_source)


def _detectable(own: Sequence[_Same]) -> str:
    """Before any of them is seen: Holm tests the least p first, at the level divided by their number."""
    found = [detectable(same[0].paired, same[0].among) for same in own]
    known = [percent(difference) for difference in found if difference is not None]
    if not known:
        return ""
    ends = dict.fromkeys([min(known, key=float), max(known, key=float)])
    among = own[0][0].among
    level = f"5 % / {among} (Holm's first step)" if among > 1 else "5 %"
    return (
        f" The smallest difference that so many pairs show with 80 % power, by the paired test at {level}, is "
        f"{' to '.join(ends)} points, by how far their differences spread."
    )


def _by_implementation(compared: Sequence[_Same], evidence: Evidence) -> Iterator[Statement]:
    for ours in {id(same[0].paired.second): same[0].paired.second for same in compared}.values():
        yield Statement(f"{_mean_of([ours])} Setting: {ours.setting_name}.", names_of("runs", ours.runs))
    for same in compared:
        its, groups = same[0], [one.paired.first for one in same]
        network = evidence.networks.network_of(groups[0].model, groups[0].model_source)
        ours = its.paired.second
        other = "" if network == ours.model else f" It is {network}, another function than {ours.model}."
        yield Statement(
            f"{_mean_of(groups)} Minus {ours.model}, paired by seed: {its.gain}, {its.told}.{other} Setting: "
            f"{groups[0].setting_name}.",
            (
                *names_of("runs", itertools.chain.from_iterable(group.runs for group in (*groups, ours))),
                *names_of_cards(_card_of(group, evidence) for group in groups),
            ),
        )


def _mean_of(groups: Sequence[RunGroup]) -> str:
    """Of groups that are one measurement."""
    found = estimate(groups[0].values("test_accuracy"))
    assert found is not None, "the groups were compared"
    sd = "" if found.sd is None else f", sd {percent(found.sd)}"
    return f"{sections.named(groups)}: test accuracy {percent(found.mean)} % ({certainty(found.n, found.low, found.high)}{sd})."


def _drawn_alike(compared: Sequence[_Same]) -> list[Statement]:
    """Implementations that draw the same initial weights as each other."""
    clusters: dict[tuple[Any, ...], list[RunGroup]] = {}
    for group in (its.paired.first for same in compared for its in same):
        initial = tuple((run["seed"], run["initial_weights_sha256"]) for run in group.runs)
        if all(digest is not None for _, digest in initial):
            clusters.setdefault((group.setting, initial), []).append(group)
    return [_of_cluster(groups) for groups in clusters.values() if len(groups) > 1]


def _of_cluster(groups: Sequence[RunGroup]) -> Statement:
    columns = list(zip(*(group.runs for group in groups), strict=True))
    equal = sum(len({run["weights_sha256"] for run in runs}) == 1 for runs in columns)
    return Statement(
        f"{listed([group.model for group in groups])} draw the same initial weights, and end with the same weights as each other, bit "
        f"for bit, for {equal} of {len(columns)} seeds. Setting: {groups[0].setting_name}.",
        names_of("runs", [run for group in groups for run in group.runs]),
    )


def _chart_of_implementations(compared: Sequence[_Same], twins: Sequence[_Twin]) -> Chart:
    pairs = [(its.paired.second, its.paired.first) for same in compared for its in same] or [
        (twin.ours, twin.group) for twin in twins
    ]
    settings = Counter(group.setting for _, group in pairs)
    chosen = settings.most_common(1)[0][0]
    shown = list({id(group): group for pair in pairs for group in pair if group.setting == chosen}.values())
    return captioned(seeds_figure(shown), shown[0].setting_name)


QUESTIONS: Final = (
    Question(
        key="implementations",
        text="Do implementations of the same function train alike?",
        commands=[
            (
                "harness reproduce quick --seeds 0-4 --models resnet20,torchvision-resnet20,timm-resnet20,akamaster-resnet20,"
                "bayesian-torch-resnet20,pytorchcv-resnet20,torchdistill-resnet20,alvarobartt-resnet20"
            ),
            "harness reproduce compare",
        ],
        answer=_implementations,
    ),
)
