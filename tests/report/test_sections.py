import json
import re
from datetime import UTC, datetime

import pytest

from harness import paper
from harness.analysis.noise import detectable_difference
from harness.charts.verdicts import VERDICT_COLORS
from harness.records import Store
from harness.report.document import Badge

NEAR = (0.912, 0.9125, 0.913)
"""Accuracies at the 8.75 % of ResNet-20."""


def names(chart):
    return [trace.name for trace in chart.figure.data]


def test_empty_store_has_a_report_that_says_so(report_of, sections_of):
    sections = sections_of()
    assert list(sections) == ["verdicts"]
    verdicts = sections["verdicts"]
    assert (verdicts.charts, verdicts.tables) == ([], [])
    [note] = verdicts.notes
    assert note.startswith("Not measured: he2015-resnet20, he2015-resnet32")
    report = report_of(command="harness report --results x")
    assert report.command == "harness report --results x"
    assert (
        report.headlines[0]
        == "No completed run of real images is recorded yet: harness reproduce makes some."
    )
    assert report.headlines[-1].startswith("0 runs of 0 models")


def test_every_section_is_there_where_there_is_something_to_show(full_store, sections_of):
    assert list(sections_of()) == [
        *(
            "verdicts",
            "curves",
            "depth",
            "implementations",
            "cost",
            "identity",
            "optimism",
            "noise",
            "spread",
        ),
        *("bits", "commands", "environments"),
    ]


def test_single_run_has_only_what_a_single_run_shows(record, make_run, sections_of):
    record([make_run(test_accuracy=0.9, test_accuracy_best=0.91)])
    assert list(sections_of()) == ["verdicts", "curves", "optimism", "commands", "environments"]


def test_runs_that_the_project_ships_are_told_from_one_s_own(store, record, make_run, fill, report_of):
    _, own = record([make_run(seed=0), make_run(seed=1)])
    assert report_of().headlines[-1].startswith("2 runs of 1 models stand behind this page; ")
    published = Store(store.root / "published")
    for run in (make_run(model="plain20"), own):  # the second is here, too
        published.write_run(fill("runs", run))
    assert (
        report_of()
        .headlines[-1]
        .startswith(
            "3 runs of 2 models stand behind this page, 2 of them recorded here and 1 published by the project; "
        )
    )


def test_runs_without_a_result_stand_only_among_the_machines(record, make_run, sections_of):
    record([make_run(status="failed", test_accuracy=None, test_accuracy_best=None)])
    assert list(sections_of()) == ["verdicts", "environments"]


def test_broken_files_are_named_with_their_kind_among_the_machines(store, record, make_run, sections_of):
    record([make_run()])
    for kind in ("runs", "profiles"):
        path = store.root / kind / "x.parquet"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"PAR1 nothing")
    notes = sections_of()["environments"].notes
    assert [note.partition(": cannot be read")[0] for note in notes] == [
        "Passed over runs/x.parquet",
        "Passed over profiles/x.parquet",
    ]


def test_runs_on_made_up_images_are_no_evidence(record, make_seeds, report_of):
    record(make_seeds(*NEAR, recipe="paper", data="synthetic"))
    report = report_of()
    assert report.sections[0].tables == []
    [note] = report.sections[0].notes
    assert note.startswith("Not measured: he2015-resnet20, ")
    assert report.headlines[0].startswith("No completed run of real images is recorded yet: ")
    assert report.headlines[-1].startswith("0 runs of 0 models")


# verdicts


def test_paper_protocol_is_judged(record, make_seeds, report_of, sections_of, cells_of):
    record(make_seeds(*NEAR, recipe="paper"))
    section = sections_of()["verdicts"]
    [table] = section.tables
    [row] = cells_of(table)
    # Student's quantile 4.3027 over the root of 3, times a standard deviation of 0.05 points
    assert row == {
        "claim": "he2015-resnet20",
        "verdict": "reproduced",
        "claimed": "8.75",
        "measured": "8.75",
        "95 % interval": "8.63 .. 8.87",
        "seeds": "3",
        "model": "resnet20",
        "recipe": "paper",
        "iterations": "64,000",
        "precision": "fp32",
    }
    assert isinstance(table.rows[0][1], Badge)
    assert len(section.charts) == 1
    assert report_of().headlines[0].endswith("under their own protocol: 1 reproduced.")


@pytest.mark.parametrize(("margin", "verdict"), [(0.005, "reproduced"), (0.0005, "inconclusive")])
def test_margin_is_stated_and_judges(record, make_seeds, sections_of, margin, verdict):
    record(make_seeds(*NEAR, recipe="paper"))
    section = sections_of(margin=margin)["verdicts"]
    assert section.tables[0].rows[0][1] == Badge(verdict)
    assert f"within {100 * margin:g} percentage points" in section.paragraphs[0]


def test_short_runs_are_not_comparable_and_the_reason_is_told(record, make_seeds, report_of, sections_of):
    record(make_seeds(*NEAR, recipe="paper", iterations=2000))
    section = sections_of()["verdicts"]
    assert section.tables[0].rows[0][1] == Badge("not comparable")
    assert "he2015-resnet20: not comparable: iterations: 2,000 here, 64,000 in the claim" in section.notes
    assert section.charts == []
    assert report_of().headlines[0].startswith("No published number was measured under its own protocol")


def test_single_seed_has_no_interval(record, make_seeds, sections_of, cells_of):
    record(make_seeds(0.9125, recipe="paper"))
    [row] = cells_of(sections_of()["verdicts"].tables[0])
    assert (row["verdict"], row["measured"], row["95 % interval"], row["seeds"]) == (
        *("inconclusive", "8.75", "-", "1"),
    )


def test_claim_without_any_result_is_a_row_that_says_so(record, make_run, sections_of, cells_of):
    tried = [make_run(recipe="paper", seed=seed, status="diverged", test_accuracy=None) for seed in (0, 1)]
    record(tried)
    section = sections_of()["verdicts"]
    [row] = cells_of(section.tables[0])
    assert (row["claim"], row["verdict"]) == ("he2015-resnet20", "not measured")
    assert (row["measured"], row["95 % interval"], row["seeds"]) == ("-", "-", "0")
    assert section.charts == []
    note, missing = section.notes
    assert note == "he2015-resnet20: 2 seeds diverged, and are left out"
    assert missing.startswith("Not measured: he2015-resnet32, ")


def test_badges_have_colours(full_store, sections_of):
    badges = {row[1].text for row in sections_of()["verdicts"].tables[0].rows}
    assert badges
    assert badges <= set(VERDICT_COLORS)


# curves


def test_paper_protocol_is_drawn_over_figure_6(record, make_seeds, sections_of):
    for model in ("resnet20", "plain20"):
        record(make_seeds(*NEAR, recipe="paper", model=model), errors=(0.5, 0.25, 0.125))
    [chart] = sections_of()["curves"].charts
    drawn = {trace.name: trace for trace in chart.figure.data if trace.name}
    ours = drawn["resnet20, test (3 seeds)"]
    assert (list(ours.x), list(ours.y)) == ([10, 20, 30], [50, 25, 12.5])
    for kind in ("resnet", "plain"):
        for curve in ("test", "train"):
            points = [point for point in paper.figure6() if point[:3] == (kind, 20, curve)]
            assert list(drawn[f"paper, {kind}-20, {curve}"].y) == [point.error_percent for point in points]
    assert "no run of it" not in chart.caption


def test_of_figure_6_only_the_networks_that_were_trained_are_drawn(record, make_seeds, sections_of):
    record(make_seeds(*NEAR, recipe="paper", model="resnet56"))
    [chart] = sections_of()["curves"].charts
    assert {name for name in names(chart) if name and name.startswith("paper")} == {
        *("paper, resnet-56, test", "paper, resnet-56, train"),
    }


def test_other_settings_have_their_own_figure(record, make_seeds, sections_of):
    record(make_seeds(0.9, 0.91))
    of_paper, ours = sections_of()["curves"].charts
    assert of_paper.caption.endswith("no run of it is recorded")
    assert all(name.startswith("paper, ") for name in names(of_paper))
    assert ours.caption == "short, 1,563 iterations, fp32, on Some CPU"
    assert "resnet20, train (2 seeds)" in names(ours)


def test_three_settings_are_drawn_the_longest_first_and_others_counted(record, make_seeds, sections_of):
    for iterations in (10, 30, 20, 50, 40):
        record(make_seeds(0.9, iterations=iterations))
    section = sections_of()["curves"]
    assert [chart.caption.split(",")[1] for chart in section.charts[1:]] == [
        *(" 50 iterations", " 40 iterations", " 30 iterations"),
    ]
    assert section.notes == ["2 more settings are not drawn."]


# between networks


def test_gain_of_shortcuts_is_paired_by_seed(record, make_seeds, sections_of, cells_of):
    record(make_seeds(0.90, 0.92, recipe="paper"))
    record(make_seeds(0.89, 0.89, recipe="paper", model="plain20"))
    section = sections_of()["depth"]
    [row] = cells_of(section.tables[0])
    # 1 and 3 points; the paper's errors are 9.68 % and 8.75 %
    assert (row["depth"], row["seeds"], row["gain"], row["paper"]) == ("20", "2", "+2.00", "+0.93")
    assert row["95 % interval"] == "-10.71 .. +14.71"
    assert section.charts == []  # of one depth


def test_responses_are_drawn_where_they_are_recorded(record, make_seeds, sections_of):
    record(make_seeds(0.9, layer_responses=[{"layer": "a", "std": 1.5}, {"layer": "b", "std": 0.5}]))
    section = sections_of()["depth"]
    assert section.tables == []
    [chart] = section.charts
    assert list(chart.figure.data[-1].y) == [1.5, 0.5]


def test_implementations_stand_beside_ours_if_they_are_the_same_network(
    store, record, fill, make_seeds, make_card, sections_of, cells_of
):
    record(make_seeds(0.90, 0.91))
    for model, equivalence in (("timm-resnet20", "equal"), ("kuangliu-resnet18", "different")):
        record(make_seeds(0.91, 0.93, model=model))
        card = make_card(model, counterpart="resnet20", equivalence=equivalence, first_deviation="x differs")
        store.write("identities", fill("identities", card))
    sections = sections_of()
    [row] = cells_of(sections["implementations"].tables[0])
    # 1 and 2 points: t is 3 with one degree of freedom, and 2 / pi atan(1 / 3) is p
    assert (row["model"], row["seeds"], row["difference"]) == ("timm-resnet20", "2", "+1.50")
    assert (row["95 % interval"], row["p (Holm)"]) == ("-4.85 .. +7.85", "0.205")
    functions = {row["model"]: row["function"] for row in cells_of(sections["identity"].tables[0])}
    assert functions == {"timm-resnet20": "the same, but for rounding", "kuangliu-resnet18": "another"}
    assert "kuangliu-resnet18: first deviates from resnet20 where x differs" in sections["identity"].notes


def test_networks_are_counted_in_the_headlines(store, fill, make_card, report_of):
    for model, equivalence in (("a", "identical"), ("b", "permuted"), ("c", "different")):
        card = make_card(model, counterpart="resnet20", equivalence=equivalence)
        store.write("identities", fill("identities", card))
    store.write("identities", fill("identities", make_card("resnet20")))
    line = "2 of 3 networks of others are, as functions, those of the paper; 1 are not."
    assert line in report_of().headlines


@pytest.mark.parametrize("latest_first", [False, True])
def test_of_several_cards_of_a_model_the_headline_counts_the_latest(
    store, fill, make_card, report_of, latest_first
):
    cards = [
        make_card(
            "a",
            counterpart="resnet20",
            equivalence=equivalence,
            identified_at=datetime(2026, month, 1, tzinfo=UTC),
        )
        for month, equivalence in ((1, "different"), (2, "equal"))
    ]
    for number, card in enumerate(cards[::-1] if latest_first else cards):
        store.write("identities", fill("identities", card | {"identity_id": f"card-{number}"}))
    store.write(
        "identities", fill("identities", make_card("b", counterpart="resnet20", equivalence="different"))
    )
    line = "1 of 2 networks of others are, as functions, those of the paper; 1 are not."
    assert line in report_of().headlines


def test_cost_is_that_of_the_profile(store, record, fill, make_seeds, sections_of, cells_of):
    for model, seconds, busy in (("resnet20", 0.1, False), ("plain20", 0.05, True)):
        record(make_seeds(0.9, 0.92, model=model))
        profile = {"session_id": model, "model": model, "mode": "train", "batch_size": 128}
        profile |= {"precision": "fp32", "device_name": "Some CPU", "round_seconds": [[seconds]] * 5}
        profile |= {"joules_per_image": 0.0123, "parameters": 270_000, "busy": busy}
        store.write("profiles", fill("profiles", profile))
    section = sections_of()["cost"]
    row = cells_of(section.tables[0])[0]
    assert (row["model"], row["test error, %"], row["mini-batch"]) == ("resnet20", "9.00", "128")
    assert (row["images/s"], row["95 % interval"]) == ("1,280", "1,280 .. 1,280")
    assert (row["parameters"], row["MACs"], row["mJ an image"]) == ("270,000", "-", "12.3")
    assert len(section.charts) == 1
    [note] = section.notes
    assert "plain20" in note
    assert "resnet20" not in note


# what a number can be trusted for


def test_optimism_is_told_where_there_is_some(record, make_seeds, sections_of, cells_of):
    record(make_seeds(0.90, 0.91, test_accuracy_best=0.92))
    record(make_seeds(0.90, 0.91, model="plain20"))
    section = sections_of()["optimism"]
    [row] = cells_of(section.tables[0])
    assert (row["model"], row["seeds"], row["added"], row["most"]) == ("resnet20", "2", "+1.50", "+2.00")
    assert len(section.charts) == 1


def test_runs_of_a_single_evaluation_have_no_best_epoch(record, make_seeds, sections_of):
    record(make_seeds(0.90, 0.91, test_accuracy_best=0.92), errors=(0.5,))
    assert "optimism" not in sections_of()


def test_optimism_that_is_none_has_neither_chart_nor_empty_table(record, make_seeds, sections_of):
    record(make_seeds(0.90, 0.91))
    section = sections_of().get("optimism")
    assert section is None or not [*section.charts, *section.tables]


def test_noise_is_split_by_images(record, make_seeds, sections_of, cells_of):
    # of four images two are always right; of two seeds the second has the other two right as well
    record(make_seeds(0.5, 1.0), right=[[True, True, False, False], [True] * 4])
    [row] = cells_of(sections_of()["noise"].tables[0])
    # variance of 0.5 and 1 is 0.125; of sampling (1/4 + 1/4) / 16, times 2 for so few seeds, is 0.0625
    assert (row["seeds"], row["sd"], row["sd of sampling"], row["sd of networks"]) == (
        *("2", "35.36", "25.00", "25.00"),
    )
    # chi-squared of one degree of freedom: 0.00098 and 5.02; at most all, and of so wide an interval no decimals
    assert row["share of sampling (95 % interval)"] == "50 % (0 % .. 100 %)"


def test_noise_of_many_seeds_is_known_to_a_decimal(record, make_seeds, sections_of, cells_of):
    right = [[(seed + image) % 7 > 0 for image in range(200)] for seed in range(150)]
    for number, its in enumerate(right):
        its[: number % 40] = [True] * (number % 40)
    record(make_seeds(*(sum(its) / 200 for its in right)), right=right)
    [row] = cells_of(sections_of()["noise"].tables[0])
    assert re.fullmatch(r"\d+\.\d % \(\d+\.\d % \.\. \d+\.\d %\)", row["share of sampling (95 % interval)"])


def test_seeds_that_differ_less_than_by_sampling_are_not_taken_to_be_as_sure(
    record, make_seeds, sections_of, cells_of
):
    # every image is right for one of the two: they differ by two images of eight, but sampling alone gives more
    right = [[True] * 5 + [False] * 3, [False] * 5 + [True] * 3]
    record(make_seeds(0.625, 0.375), right=right)
    [row] = cells_of(sections_of()["noise"].tables[0])
    sampling = (2 * 8 * 0.25) ** 0.5 / 8
    assert float(row["sd"]) == pytest.approx(100 * 0.25 / 2**0.5, abs=0.006)
    assert float(row["sd of sampling"]) == pytest.approx(100 * sampling, abs=0.006)
    assert row["sd of networks"] == "-"
    assert row["detectable"] == f"{100 * detectable_difference(sampling, 2):.2f}"


def test_noise_of_the_same_bits_is_one_row(record, make_seeds, sections_of, cells_of):
    record(make_seeds(0.5, 1.0, model="akamaster-resnet20"))  # without predictions, which the others have
    right = [[True, True, False, False], [True] * 4]
    for model in ("timm-resnet20", "torchvision-resnet20"):
        record(make_seeds(0.5, 1.0, model=model), right=right)
    record(make_seeds(0.5, 1.0, model="plain20", weights_sha256="x"), right=right)
    rows = cells_of(sections_of()["noise"].tables[0])
    assert {row["model"] for row in rows} == {
        "plain20",
        "akamaster-resnet20, timm-resnet20 and torchvision-resnet20 (the same bits)",
    }
    assert len(rows) == 2


def test_implementations_with_the_same_bits_are_one_row_and_one_comparison(
    store, record, fill, make_seeds, make_card, sections_of, cells_of
):
    record(make_seeds(0.90, 0.91))
    for model, weights, accuracies, counterpart in (
        ("a", "x", (0.91, 0.93), "resnet20"),
        ("b", "x", (0.91, 0.93), "resnet20"),
        ("c", "w", (0.90, 0.91), "resnet20"),
        ("d", "y", (0.93, 0.96), "resnet20-b"),
    ):
        record(make_seeds(*accuracies, model=model, weights_sha256=weights))
        card = make_card(model, counterpart=counterpart, equivalence="equal")
        store.write("identities", fill("identities", card))
    same, other = map(cells_of, sections_of()["implementations"].tables)
    told = ("model", "minus", "difference", "95 % interval", "p (Holm)")
    assert [tuple(row[name] for name in told) for row in same] == [
        ("a and b (the same bits)", "resnet20", "+1.50", "-4.85 .. +7.85", "0.205"),
        ("c", "resnet20", "+0.00", "same bits", "-"),
    ]
    assert [(row["model"], row["minus"], row["difference"]) for row in other] == [("d", "resnet20", "+4.00")]


def test_noise_needs_two_seeds_that_differ(record, make_seeds, sections_of):
    record(make_seeds(0.5), right=[[True, False]])
    record(make_seeds(0.5, 0.5, model="plain20"), right=[[True, False], [False, True]])
    assert "noise" not in sections_of()


def test_predictions_of_other_images_do_no_harm(record, make_seeds, sections_of):
    record(make_seeds(0.5, 1.0), right=[[True, False], [True, True, True]])
    assert "commands" in sections_of()


def test_spread_is_divided_where_there_is_a_table_of_models_and_recipes(record, make_seeds, sections_of):
    for model, recipe, accuracies in (
        ("resnet20", "paper", (0.90, 0.91)),
        ("resnet20", "short", (0.80, 0.81)),
        ("plain20", "paper", (0.90, 0.91)),
        ("plain20", "short", (0.80, 0.81)),
    ):
        assert "spread" not in sections_of()
        record(make_seeds(*accuracies, model=model, recipe=recipe))
    section = sections_of()["spread"]
    assert (
        "2 models (resnet20, plain20) under 2 recipes (paper, short), 2 seeds each" in section.paragraphs[0]
    )
    [table] = section.tables
    shares = {row[0]: float(row[1].removesuffix(" %")) for row in table.rows}
    assert list(shares) == ["model", "recipe", "model x recipe", "seed"]
    assert sum(shares.values()) == pytest.approx(100, abs=0.21)
    # sums of squares: recipe 0.02, seeds 0.0002 of 4 degrees of freedom; so 0.02 - 0.00005 of 0.0202
    assert shares["recipe"] == pytest.approx(100 * 0.01995 / 0.0202, abs=0.06)


def test_every_figure_is_plain_json(full_store, report_of):
    charts = [chart for section in report_of().sections for chart in section.charts]
    assert len(charts) >= 6
    for chart in charts:
        assert chart.alt
        json.loads(chart.figure.to_json())
