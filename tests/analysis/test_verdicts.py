import subprocess
import sys
from dataclasses import replace
from decimal import Decimal

import pytest

from harness.analysis.protocol import Difference
from harness.analysis.tost import judge
from harness.analysis.verdicts import DEFAULT_MARGIN, measured_once, notes_by_claims, verdict_board
from harness.claims import claims

CLAIMS = claims()
NEAR = (0.912, 0.9125, 0.913)
"""Accuracies at the 8.75 % of ResNet-20."""
MINE = {"model": "mynet:make", "model_source": "mynet.py at a"}


@pytest.fixture
def of_paper(make_seeds):
    """Completed runs of ResNet-20 by the paper's recipe."""

    def make(*accuracies, **changes):
        return make_seeds(*accuracies, **{"recipe": "paper"} | changes)

    return make


def rows_of(key, runs, cards=(), **margin):
    return verdict_board([CLAIMS[key]], runs, cards, **margin)


def row_of(key, runs, cards=(), **margin):
    [row] = rows_of(key, runs, cards, **margin)
    return row


def reasons(row):
    return [str(difference) for difference in row.differences]


# verdicts


@pytest.mark.parametrize(
    ("accuracies", "verdict"),
    [
        (NEAR, "reproduced"),
        ((0.9125, 0.9125, 0.9125), "reproduced"),
        ((0.9125, 0.9127), "reproduced"),
        ((0.9155, 0.9160, 0.9165), "reproduced"),  # above the claim, within the margin
        ((0.900, 0.901, 0.902), "worse"),
        ((0.923, 0.924, 0.925), "better"),
        ((0.90, 0.92), "inconclusive"),
        ((0.9065, 0.9075, 0.9085), "inconclusive"),  # at the margin
        ((0.88, 0.91, 0.94), "inconclusive"),
        ((0.90, 0.90), "inconclusive"),
        ((0.90, 0.90, 0.90), "worse"),
    ],
)
def test_verdict_is_that_of_the_tests(of_paper, accuracies, verdict):
    row = row_of("he2015-resnet20", of_paper(*accuracies))
    assert row.verdict == verdict
    assert row.claim is CLAIMS["he2015-resnet20"]
    assert row.claimed == 0.9125
    assert row.judgement == judge(accuracies, 0.9125, DEFAULT_MARGIN)
    assert row.differences == ()
    assert row.group.seeds == tuple(range(len(accuracies)))
    assert (row.measured.n, row.measured.mean) == (
        len(accuracies),
        pytest.approx(sum(accuracies) / len(accuracies)),
    )


@pytest.mark.parametrize("accuracy", [0.9125, 0.5, 0.99])
def test_single_seed_shows_nothing(of_paper, accuracy):
    row = row_of("he2015-resnet20", of_paper(accuracy))
    assert row.verdict == "inconclusive"
    assert row.judgement.difference == pytest.approx(accuracy - 0.9125, abs=1e-12)
    assert (row.judgement.low, row.judgement.p_equivalent) == (None, None)
    assert row.measured.n == 1


@pytest.mark.parametrize("runs", [[], "of another model"])
def test_without_runs_nothing_is_measured(of_paper, runs):
    row = row_of("he2015-resnet20", of_paper(*NEAR, model="plain20") if runs else runs)
    assert row.verdict == "not measured"
    assert (row.group, row.measured, row.judgement, row.differences) == (None, None, None, ())
    assert row.claimed == 0.9125


def test_without_runs_every_claim_has_a_row():
    rows = verdict_board(CLAIMS.values(), [])
    assert [row.claim.key for row in rows] == list(CLAIMS)
    assert {row.verdict for row in rows} == {"not measured"}
    assert verdict_board([], []) == []


def test_claims_keep_their_order(of_paper):
    runs = of_paper(*NEAR, model="plain20") + of_paper(*NEAR)
    wanted = [CLAIMS[key] for key in ("he2015-resnet32", "he2015-plain20", "he2015-resnet20")]
    assert [(row.claim, row.verdict) for row in verdict_board(wanted, runs)] == [
        (wanted[0], "not measured"),
        (wanted[1], "better"),
        (wanted[2], "reproduced"),
    ]
    backwards = verdict_board(wanted[::-1], runs)
    assert [row.claim for row in backwards] == wanted[::-1]


def test_every_row_of_the_whole_board_is_made(of_paper):
    runs = of_paper(*NEAR) + of_paper(0.933, 0.934, 0.935, model="resnet110")
    rows = {row.claim.key: row.verdict for row in verdict_board(CLAIMS.values(), runs)}
    assert list(rows) == list(CLAIMS)
    measured = {key: verdict for key, verdict in rows.items() if verdict != "not measured"}
    assert measured == {
        "he2015-resnet20": "reproduced",
        "he2015-resnet110": "not comparable",
        "he2015-resnet110-mean": "reproduced",
    }


def test_claimed_accuracy_has_the_digits_of_the_stated_error():
    claimed = {row.claim.key: row.claimed for row in verdict_board(CLAIMS.values(), [])}
    for key, claim in CLAIMS.items():
        assert claimed[key] == float((100 - Decimal(str(claim.test_error_percent))) / 100)
    assert claimed["he2015-resnet1202"] == 0.9207
    assert claimed["akamaster-resnet44"] == 0.931
    assert claimed["he2015-plain56"] == 0.8677


# margin


def test_margin_decides_what_is_near(of_paper):
    runs = of_paper(0.9065, 0.9070, 0.9075)  # 0.0055 below, give or take 0.0003
    verdicts = [row_of("he2015-resnet20", runs, margin=margin).verdict for margin in (0.001, 0.0055, 0.01)]
    assert verdicts == ["worse", "inconclusive", "reproduced"]
    assert row_of("he2015-resnet20", runs) == row_of("he2015-resnet20", runs, margin=DEFAULT_MARGIN)
    assert DEFAULT_MARGIN == 0.005


@pytest.mark.parametrize("margin", [0.0, -0.005, float("nan")])
@pytest.mark.parametrize("measured", ["comparable", "short", "nothing", "no claims"])
def test_margin_that_is_not_positive_is_refused_whatever_was_measured(of_paper, margin, measured):
    runs = of_paper(*NEAR, iterations=100 if measured == "short" else None) if measured != "nothing" else []
    wanted = [] if measured == "no claims" else [CLAIMS["he2015-resnet20"]]
    with pytest.raises(ValueError, match="margin must be positive"):
        verdict_board(wanted, runs, margin=margin)


# what cannot be compared


def test_short_runs_say_their_length(of_paper):
    row = row_of("he2015-resnet20", of_paper(*NEAR, iterations=2000))
    assert row.verdict == "not comparable"
    assert reasons(row) == ["iterations: 2,000 here, 64,000 in the claim"]
    assert row.judgement is None
    assert row.measured.mean == pytest.approx(0.9125, rel=1e-9)
    assert row.group.iterations == 2000


def test_best_of_five_runs_is_not_compared(of_paper):
    runs = of_paper(0.933, 0.934, 0.935, model="resnet110")
    row = row_of("he2015-resnet110", runs)
    assert row.verdict == "not comparable"
    assert reasons(row) == ["rule of selection: last here, best-of-5-runs in the claim"]
    assert row.judgement is None
    assert row.measured.mean == pytest.approx(0.934, rel=1e-9)
    assert row_of("he2015-resnet110-mean", runs).verdict == "reproduced"


def test_claim_of_unknown_selection_and_protocol_is_not_compared(of_paper):
    row = row_of("pytorchcv-resnet20", of_paper(0.94, 0.941, 0.942, model="pytorchcv-resnet20"))
    assert row.verdict == "not comparable"
    assert [difference.what for difference in row.differences] == ["rule of selection", "recipe"]


def test_claim_without_a_recipe_is_not_compared(of_paper):
    runs = of_paper(0.93, 0.931, model="kuangliu-vgg16", recipe="kuangliu", test_accuracy_best=0.95)
    row = row_of("kuangliu-vgg16", runs)
    assert row.verdict == "not comparable"
    assert [difference.what for difference in row.differences] == ["recipe"]
    assert row.measured.mean == 0.95  # by the claim's rule


def test_nearest_group_is_shown_where_none_can_be_compared(of_paper):
    far = of_paper(*NEAR, recipe="short")
    shorter, short = of_paper(*NEAR, iterations=100), of_paper(*NEAR, iterations=40_000)
    synthetic = of_paper(*NEAR, iterations=60_000, data="synthetic")
    for runs in (far + shorter + short + synthetic, synthetic + short + shorter + far):
        row = row_of("he2015-resnet20", runs)
        assert row.verdict == "not comparable"
        assert reasons(row) == ["iterations: 40,000 here, 64,000 in the claim"]
    assert row_of("he2015-resnet20", far + shorter).group.iterations == 100
    assert row_of("he2015-resnet20", far).group.recipe == "short"


def test_of_groups_that_are_as_near_the_one_with_more_seeds_is_shown(of_paper):
    few, many = of_paper(0.9, iterations=100), of_paper(*NEAR, iterations=100, device_name="Some GPU")
    for runs in (few + many, many + few):
        assert row_of("he2015-resnet20", runs).group.device_name == "Some GPU"


def test_group_that_cannot_be_compared_is_not_shown_beside_one_that_can(of_paper):
    runs = of_paper(0.90, 0.901, 0.902, iterations=100) + of_paper(*NEAR)
    row = row_of("he2015-resnet20", runs)
    assert (row.verdict, row.group.iterations) == ("reproduced", 64_000)


# which number


def test_claim_of_the_last_iteration_is_held_against_the_last(of_paper):
    row = row_of("he2015-resnet20", of_paper(*NEAR, test_accuracy_best=0.95))
    assert row.verdict == "reproduced"
    assert row.measured.maximum == 0.913


def test_claim_of_the_best_epoch_is_held_against_the_best(make_run):
    runs = [
        make_run("chenyaofo-resnet20", "chenyaofo", seed=seed, test_accuracy=0.90, test_accuracy_best=best)
        for seed, best in enumerate((0.9257, 0.926, 0.9263))
    ]
    row = row_of("chenyaofo-resnet20", runs)
    assert row.verdict == "reproduced"
    assert row.measured.mean == pytest.approx(0.926, rel=1e-9)
    assert row.judgement.difference == pytest.approx(0, abs=1e-9)


# which runs


@pytest.mark.parametrize("columns", [{"status": "diverged"}, {"status": "failed"}, {"status": "skipped"}])
def test_runs_that_did_not_complete_are_no_evidence(of_paper, columns):
    ended = of_paper(None, None, None, **columns)
    row = row_of("he2015-resnet20", ended)
    assert (row.verdict, row.measured, row.judgement, row.differences) == ("not measured", None, None, ())
    others = [run | {"seed": run["seed"] + 3} for run in ended]
    row = row_of("he2015-resnet20", of_paper(*NEAR) + others)
    assert (row.verdict, row.measured.n) == ("reproduced", 3)
    assert row.group.num_diverged + row.group.num_failed == 3


def test_runs_that_went_on_from_other_circumstances_are_no_evidence(of_paper):
    adopted = of_paper(0.5, 0.6, 0.7, resumed_from=['{"run": "another"}'])
    row = row_of("he2015-resnet20", adopted)
    assert (row.verdict, row.measured, row.judgement, row.differences) == ("not measured", None, None, ())
    others = [run | {"seed": run["seed"] + 3} for run in adopted]
    row = row_of("he2015-resnet20", of_paper(*NEAR) + others)
    assert (row.verdict, row.measured.n, row.group.num_adopted) == ("reproduced", 3, 3)


def test_seed_that_was_run_again_is_no_further_evidence(of_paper):
    row = row_of("he2015-resnet20", of_paper(0.9) + of_paper(0.9125) + of_paper(0.912))
    assert (row.verdict, row.measured.n, row.measured.mean) == ("inconclusive", 1, 0.912)


@pytest.mark.parametrize("change", [{"device_name": "Some GPU"}, {"precision": "bf16"}])
def test_every_place_has_its_own_row(of_paper, change):
    runs = of_paper(*NEAR) + of_paper(0.900, 0.901, 0.902, **change)
    rows = rows_of("he2015-resnet20", runs)
    assert [row.verdict for row in rows] == ["reproduced", "worse"]
    [[name, value]] = change.items()
    assert getattr(rows[1].group, name) == value != getattr(rows[0].group, name)
    assert [row.measured.n for row in rows] == [3, 3]
    # the places are not thrown together
    assert rows[0] == row_of("he2015-resnet20", runs[:3])


# models of one's own


def card_of_mine(make_card, equivalence="equal", **columns):
    columns = {"model_source": "mynet.py at a"} | columns
    return make_card("mynet:make", counterpart="resnet20", equivalence=equivalence, **columns)


def test_model_of_ones_own_counts_where_its_card_says_it_is_the_same(of_paper, make_card):
    runs = of_paper(*NEAR, **MINE)
    row = row_of("he2015-resnet20", runs, [make_card("resnet20"), card_of_mine(make_card)])
    assert (row.verdict, row.group.model) == ("reproduced", "mynet:make")
    assert row_of("he2015-resnet20", runs).verdict == "not measured"
    assert row_of("he2015-resnet32", runs, [card_of_mine(make_card)]).verdict == "not measured"


def test_model_of_ones_own_has_a_row_beside_ours(of_paper, make_card):
    runs = of_paper(0.900, 0.901, 0.902, **MINE) + of_paper(*NEAR)
    rows = rows_of("he2015-resnet20", runs, [card_of_mine(make_card)])
    assert [(row.group.model, row.verdict) for row in rows] == [
        ("mynet:make", "worse"),
        ("resnet20", "reproduced"),
    ]


def test_model_of_ones_own_that_is_another_function_is_shown_with_its_deviation(of_paper, make_card):
    runs = of_paper(*NEAR, **MINE)
    card = card_of_mine(make_card, "different", first_deviation="shortcuts of kind B")
    row = row_of("he2015-resnet20", runs, [card])
    assert row.verdict == "not comparable"
    assert reasons(row) == ["network: mynet:make (shortcuts of kind B) here, resnet20 in the claim"]
    # a group of the claim's own model is nearer, however short
    row = row_of("he2015-resnet20", runs + of_paper(*NEAR, recipe="short", iterations=3), [card])
    assert (row.verdict, row.group.model) == ("not comparable", "resnet20")


def test_card_of_other_code_does_not_make_a_model_the_same(of_paper, make_card):
    card = card_of_mine(make_card, model_source="mynet.py at b")
    assert row_of("he2015-resnet20", of_paper(*NEAR, **MINE), [card]).verdict == "not measured"


def test_claim_of_others_is_held_against_the_papers_network_where_theirs_is_the_same(make_seeds, make_card):
    theirs = {"counterpart": "resnet20", "equivalence": "equal", "model_source": "repo"}
    runs = make_seeds(0.917, 0.9173, 0.9176, model="resnet20", recipe="akamaster")
    cards = [make_card("resnet20"), make_card("akamaster-resnet20", **theirs)]
    row = row_of("akamaster-resnet20", runs, cards)
    assert (row.verdict, row.group.model) == ("reproduced", "resnet20")
    cards[1] |= {"initialization": "U(-1, 1)"}
    row = row_of("akamaster-resnet20", runs, cards)
    assert row.verdict == "not comparable"
    assert reasons(row) == ["initial weights: He et al. by fan-in here, U(-1, 1) in the claim"]
    assert row_of("akamaster-resnet20", runs).verdict == "not measured"


def test_judging_needs_neither_torch_nor_the_slow_part_of_scipy():
    code = (
        "import sys, harness.analysis.verdicts; sys.exit(bool({'scipy.stats', 'torch'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# notes


def inconclusive(row, further_seeds):
    """The same row, which so many more seeds would settle."""
    judgement = replace(row.judgement, outcome="inconclusive", further_seeds=further_seeds)
    return replace(row, verdict="inconclusive", judgement=judgement)


def ended_otherwise(seeds, **columns):
    """What a run has that is no evidence, of other seeds than `NEAR` has."""
    return [columns | {"seed": 3 + seed, "test_accuracy": None} for seed in range(seeds)]


def test_of_what_is_shown_nothing_is_to_be_noted(of_paper):
    for accuracies in (NEAR, (0.900, 0.901, 0.902), (0.923, 0.924, 0.925)):
        assert row_of("he2015-resnet20", of_paper(*accuracies)).notes() == []
    assert row_of("he2015-resnet20", []).notes() == []


@pytest.mark.parametrize(("number", "rest"), [(1, ""), (3, ""), (4, "; and 1 more"), (11, "; and 8 more")])
def test_note_names_the_first_three_differences_and_counts_the_others(of_paper, number, rest):
    row = row_of("he2015-resnet20", of_paper(*NEAR, iterations=100))
    differing = tuple(Difference(f"knob {number}", "on", "off") for number in range(number))
    named = "; ".join(f"knob {number}: off here, on in the claim" for number in range(min(number, 3)))
    assert replace(row, differences=differing).notes() == [f"not comparable: {named}{rest}"]


def test_note_of_a_single_seed_says_how_many_to_run_at_least(of_paper):
    for accuracy in (0.9125, 0.5):
        assert row_of("he2015-resnet20", of_paper(accuracy)).notes() == [
            "inconclusive: a single seed has no spread; run at least two more"
        ]


@pytest.mark.parametrize(("number", "words"), [(1, "1 further seed"), (2, "2 further seeds")])
def test_note_of_what_is_not_shown_says_how_many_seeds_would_settle_it(of_paper, number, words):
    row = row_of("he2015-resnet20", of_paper(*NEAR))
    assert inconclusive(row, number).notes() == [
        f"inconclusive: about {words} would settle it (80 % power, if mean and spread stay; fix their number first)"
    ]


def test_number_of_further_seeds_is_that_of_the_judgement(of_paper):
    row = row_of("he2015-resnet20", of_paper(0.90, 0.92))
    number = judge((0.90, 0.92), 0.9125, DEFAULT_MARGIN).further_seeds
    assert number > 1
    [note] = row.notes()
    assert note.startswith(f"inconclusive: about {number} further seeds would ")


def test_note_of_values_on_the_edge_says_that_more_seeds_would_not_help(of_paper):
    for accuracies in ((0.9075, 0.9075, 0.9075), (0.9065, 0.9075, 0.9085), (0.9174, 0.9170, 0.9181)):
        assert row_of("he2015-resnet20", of_paper(*accuracies)).notes() == [
            "inconclusive: not even 1,000 seeds would settle it, so near is the margin's edge"
        ]


@pytest.mark.parametrize("middle", [0.9125, 0.9085, 0.9150, 0.80])
def test_note_of_a_spread_that_hides_everything_does_not_blame_the_edge(of_paper, middle):
    row = row_of("he2015-resnet20", of_paper(middle - 0.1, middle, middle + 0.1))
    assert inconclusive(row, None).notes() == [
        "inconclusive: not even 1,000 seeds would settle it, so widely do seeds differ"
    ]


def test_note_of_two_equal_accuracies_asks_for_one_more(of_paper):
    assert row_of("he2015-resnet20", of_paper(0.9, 0.9)).notes() == [
        "inconclusive: two seeds of the same accuracy have no spread; run at least one more"
    ]


def test_note_of_a_seed_that_diverged_and_counts_does_not_say_that_it_is_left_out(of_paper, make_run):
    def lost(*seeds):
        return [make_run(recipe="paper", seed=seed, status="diverged", test_accuracy=None) for seed in seeds]

    counts = "diverged in one run and completed in another, which counts"
    assert row_of("he2015-resnet20", lost(0) + of_paper(*NEAR)).notes() == [f"1 seed {counts}"]
    assert row_of("he2015-resnet20", of_paper(*NEAR) + lost(0, 2, 7)).notes() == [
        "1 more seed diverged, and is left out",
        f"2 seeds {counts}",
    ]


# one measurement


def test_rows_of_a_claim_with_the_same_bits_are_one_measurement(of_paper, make_card):
    def ending(digests, **columns):
        runs = of_paper(*NEAR, **columns)
        return [run | {"weights_sha256": digest} for run, digest in zip(runs, digests, strict=True)]

    runs = [*ending("abc"), *ending("abc", **MINE), *ending("abd", precision="bf16")]
    rows = rows_of("he2015-resnet20", runs, [card_of_mine(make_card)])
    assert [[row.group.model for row in its] for its in measured_once(rows)] == [
        ["resnet20", "mynet:make"],
        ["resnet20"],
    ]
    assert measured_once(rows_of("he2015-resnet32", runs)) == []  # there is nothing of it
    other_claim = replace(rows[0], claim=CLAIMS["he2015-resnet32"])
    assert len(measured_once([rows[0], other_claim])) == 2


@pytest.mark.parametrize(
    ("columns", "what"),
    [
        ({"status": "diverged"}, "diverged"),
        ({"status": "failed"}, "failed or had no network"),
        ({"status": "skipped"}, "failed or had no network"),
        ({"resumed_from": ['{"run": "another"}']}, "went on after a change"),
    ],
)
def test_notes_count_the_seeds_that_are_left_out(of_paper, make_run, columns, what):
    for number, start, end in ((1, "1 more seed ", "is"), (2, "2 more seeds ", "are")):
        others = [make_run(recipe="paper", **row) for row in ended_otherwise(number, **columns)]
        notes = row_of("he2015-resnet20", of_paper(*NEAR) + others).notes()
        assert notes == [f"{start}{what}, and {end} left out"]


@pytest.mark.parametrize(
    ("columns", "what"),
    [
        ({"status": "diverged"}, "diverged"),
        ({"status": "failed"}, "failed or had no network"),
        ({"status": "skipped"}, "failed or had no network"),
        ({"resumed_from": ['{"run": "another"}']}, "went on after a change"),
    ],
)
def test_claim_whose_seeds_have_no_result_is_not_measured_but_says_how_many_there_were(
    of_paper, columns, what
):
    for number, start, end in ((1, "1 seed ", "is"), (3, "3 seeds ", "are")):
        row = row_of("he2015-resnet20", of_paper(*[None] * number, **columns))
        assert (row.verdict, row.measured, row.judgement, row.differences) == ("not measured", None, None, ())
        assert (row.group.model, row.group.recipe, row.group.iterations) == ("resnet20", "paper", 64_000)
        assert row.group.runs == ()
        assert row.notes() == [f"{start}{what}, and {end} left out"]


def test_seeds_without_a_result_are_counted_by_how_they_ended(of_paper, make_run):
    runs = [*of_paper(None, None, status="diverged"), make_run(recipe="paper", seed=2, status="failed")]
    row = row_of("he2015-resnet20", runs)
    assert (row.verdict, row.measured) == ("not measured", None)
    assert row.notes() == [
        "2 seeds diverged, and are left out",
        "1 seed failed or had no network, and is left out",
    ]
    assert list(notes_by_claims([row]).values()) == [["he2015-resnet20"]] * 2


def test_attempts_on_other_images_or_models_leave_a_claim_without_a_group(of_paper):
    for changes in ({"data": "synthetic"}, {"model": "plain20"}):
        row = row_of("he2015-resnet20", of_paper(None, None, status="diverged", **changes))
        assert (row.verdict, row.group, row.notes()) == ("not measured", None, [])


def test_what_was_measured_is_shown_before_what_has_no_result(of_paper):
    failed = of_paper(None, None, status="diverged")
    short = of_paper(*NEAR, iterations=100)
    for runs in (failed + short, short + failed):
        row = row_of("he2015-resnet20", runs)
        assert (row.verdict, row.group.iterations) == ("not comparable", 100)


def test_notes_stand_in_one_order(make_run):
    accuracies = dict(enumerate((0.90, 0.92)))
    runs = [
        make_run("chenyaofo-resnet20", "chenyaofo", seed=seed, test_accuracy_best=best)
        for seed, best in accuracies.items()
    ]
    ends = (
        {"resumed_from": ['{"run": "another"}']},
        {"status": "failed"},
        {"status": "diverged"},
    )
    runs += [
        make_run("chenyaofo-resnet20", "chenyaofo", seed=2 + number, **columns)
        for number, columns in enumerate(ends)
    ]
    notes = row_of("chenyaofo-resnet20", runs).notes()
    assert [note.partition(":")[0].partition(",")[0] for note in notes] == [
        "inconclusive",
        "1 more seed diverged",
        "1 more seed failed or had no network",
        "1 more seed went on after a change",
        "measured as it was claimed",
    ]


def test_note_tells_where_the_best_epoch_was_measured_and_only_there(make_seeds):
    def notes_of(**changes):
        best = {"model": "chenyaofo-resnet20", "recipe": "chenyaofo"} | changes
        return row_of("chenyaofo-resnet20", make_seeds(0.9257, 0.926, 0.9263, **best)).notes()

    assert notes_of() == ["measured as it was claimed, by the best epoch on the test set"]
    assert notes_of(iterations=100) == ["not comparable: iterations: 100 here, 39,200 in the claim"]


def test_a_note_of_several_claims_stands_once_with_all_of_them(of_paper):
    runs = [
        run
        for model, iterations in (("resnet20", 100), ("resnet32", 50), ("plain20", 100), ("plain32", None))
        for run in of_paper(*NEAR, model=model, iterations=iterations)
    ]
    board = verdict_board(CLAIMS.values(), runs)
    assert list(notes_by_claims(board).items()) == [
        ("not comparable: iterations: 100 here, 64,000 in the claim", ["he2015-resnet20", "he2015-plain20"]),
        ("not comparable: iterations: 50 here, 64,000 in the claim", ["he2015-resnet32"]),
    ]
    assert notes_by_claims([]) == {}


def test_a_note_on_another_model_than_the_claims_names_it(of_paper, make_card):
    runs = of_paper(0.9125, **MINE) + of_paper(0.9125)
    board = rows_of("he2015-resnet20", runs, [card_of_mine(make_card)])
    assert list(notes_by_claims(board).values()) == [["he2015-resnet20 by mynet:make", "he2015-resnet20"]]


def test_a_note_on_several_groups_of_a_claim_names_it_once(of_paper):
    board = rows_of("he2015-resnet20", of_paper(0.9125) + of_paper(0.9125, precision="bf16"))
    assert len(board) == 2
    assert list(notes_by_claims(board).values()) == [["he2015-resnet20"]]


@pytest.mark.parametrize("nothing", [None, float("nan")])
def test_completed_runs_without_the_number_measure_nothing(make_run, nothing):
    run = make_run(recipe="paper", test_accuracy=nothing)
    assert row_of("he2015-resnet20", [run]).verdict == "not measured"
    row = row_of("he2015-resnet20", [run, make_run(recipe="paper", seed=1), make_run(recipe="paper", seed=2)])
    assert row.measured.n == 2
