"""Timings: sessions and ratios of made-up records, and records that are odd."""

from datetime import timedelta

import pytest

from harness.findings import QUESTIONS, Finding, in_full
from harness.findings.timings import (
    are_times,
    extra_of,
    machine_of,
    median_and_range,
    number_of,
    parameter_of,
    ratio_of,
    same_machine,
    sessions_of,
    speed_of,
    told,
)

from .answers import ADDED, DATA_PATH, EVALUATION, MACHINE, ON_CPU, ON_GPU, SHARES, START, TODAY, UPDATES


def timed(name="a", seconds=(1.0, 2.0), **columns):
    """A row of the records of kind ``benchmarks``."""
    row = {
        "session_id": "b1",
        "group": "g",
        "name": f"test[{name}]",
        "parameters": f'{{"name": "{name}"}}',
        "extra": "{}",
        "round_seconds": list(seconds),
        "images": None,
        "measured_at": START,
        **MACHINE,
    }
    return row | columns


# -- ratios --------------------------------------------------------------------------------------------------


def test_ratio_is_the_median_of_rounds_as_far_as_both_have_them():
    ratio = ratio_of([2.0, 9.0, 8.0, 5.0], [1.0, 3.0, 2.0])
    assert ratio.rounds == [2, 3, 4]
    assert ratio.value == 3
    assert ratio.ends == (2, 4)
    assert not ratio.has_interval
    assert ratio.kind == "range of 3 rounds"
    assert ratio.doubt() == "too few rounds for an interval"
    assert ratio.full() == "3.000 (range 2.000 to 4.000, 3 rounds)"
    assert ratio.full(1) == "3.0 (range 2.0 to 4.0, 3 rounds)"
    assert ratio.brief(2) == "3.00 (2.00 to 4.00)"


def test_ratio_of_rounds_enough_has_an_interval():
    ratio = ratio_of([3.0] * 8, [2.0] * 8)
    assert ratio.has_interval
    assert ratio.ends == (1.5, 1.5)
    assert ratio.kind == "95 % interval"
    assert ratio.doubt() == ""
    assert ratio.full(2) == "1.50 (95 % interval 1.50 to 1.50, 8 rounds)"


@pytest.mark.parametrize("number", [5, 6, 7])
def test_ratio_of_few_rounds_has_their_range(number):
    ratio = ratio_of([2.0, 4.0, *[3.0] * (number - 2)], [1.0] * number)
    assert not ratio.has_interval
    assert ratio.ends == (2, 4)
    assert ratio.kind == f"range of {number} rounds"
    assert ratio.doubt() == ""
    assert ratio.full(1) == f"3.0 (range 2.0 to 4.0, {number} rounds)"


def test_ratio_whose_interval_holds_one_is_not_told_from_noise():
    ratio = ratio_of([0.8, 1.2, 0.9, 1.1, 1.0, 1.3], [1.0] * 6)
    assert ratio.ends[0] < 1 < ratio.ends[1]
    assert ratio.doubt() == "not significant"


@pytest.mark.parametrize(
    ("end", "doubts"),  # by digits: none, 2 and 3
    [(0.994, (True, False, False)), (0.996, (True, True, False)), (0.9996, (True, True, True))],
)
def test_ratio_may_be_1_if_its_ends_say_so_as_they_are_printed(end, doubts):
    below = ratio_of([0.1, 0.2, 0.3, 0.4, end], [1.0] * 5)
    above = ratio_of([1.0] * 5, [0.1, 0.2, 0.3, 0.4, end])
    for ratio in (below, above):
        assert tuple(bool(ratio.doubt(digits)) for digits in (0, 2, 3)) == doubts


def test_ratio_of_one_session_is_told_in_full():
    assert told([ratio_of([3.0] * 8, [2.0] * 8)]) == "1.500 (95 % interval 1.500 to 1.500, 8 rounds)"
    assert (
        told([ratio_of([3.0], [2.0])], 1) == "1.5 (range 1.5 to 1.5, 1 round), too few rounds for an interval"
    )


def test_ratios_of_other_sessions_stand_beside_it():
    first, *others = [ratio_of([seconds] * 6, [2.0] * 6) for seconds in (3.0, 4.0, 2.0)]
    assert told([first, *others], 1) == (
        "1.5 (range 1.5 to 1.5, 6 rounds); in 2 other sessions of as many rounds 2.0 (2.0 to 2.0) and 1.0 (1.0 to 1.0)"
    )
    assert told([first, ratio_of([4.0], [2.0])], 1) == (
        "1.5 (range 1.5 to 1.5, 6 rounds); in 1 other session 2.0 (range 2.0 to 2.0, 1 round)"
    )


# -- sessions ------------------------------------------------------------------------------------------------


def test_sessions_are_told_apart_newest_first():
    later = {"measured_at": START + timedelta(days=1)}
    rows = [
        timed("a"),
        timed("b"),
        timed("c", session_id="b2", **later),
        timed("d", session_id="b3"),
        timed("e", group="of another"),
        timed("f", group="g and more"),
        timed("h", seconds=[]),
    ]
    found = sessions_of(rows, "g")
    assert [(its.session_id, list(its.rows)) for its in found] == [
        ("b2", ["c"]),
        ("b3", ["d"]),
        ("b1", ["a", "b"]),
    ]
    assert found[0].measured_at == later["measured_at"]
    assert [list(its.rows) for its in sessions_of(rows, "of .*")] == [["e"]]
    assert sessions_of(rows, "no such group") == []


def test_session_names_what_it_timed_and_where():
    rows = [timed("a"), timed(parameters="{}"), timed("c", group="x on a GPU", device_name="Some GPU")]
    [session] = sessions_of(rows, "g")
    assert list(session.rows) == ["a", "test[a]"]
    assert session.machine == "Some CPU with 2 cores"
    [session] = sessions_of(rows, "x .*")
    assert session.machine == "Some GPU"


def test_session_compares_what_it_timed():
    [session] = sessions_of([timed("a", [2.0, 6.0]), timed("b", [1.0, 2.0])], "g")
    assert session.times("a") == [2, 6]
    assert session.times("c") is None
    assert session.ratio("a", "b").rounds == [2, 3]
    assert session.ratio("a", "c") is session.ratio("c", "a") is None


@pytest.mark.parametrize(
    ("images", "ratio"), [((1, 4), 8), ((4, 1), 0.5), ((None, 4), 2), ((4, 0), 2), ((-1, 4), 2)], ids=str
)
def test_times_are_of_as_many_images_where_both_say_how_many(images, ratio):
    rows = [timed(name, [at], images=its) for name, at, its in zip("ab", (2.0, 1.0), images, strict=True)]
    [session] = sessions_of(rows, "g")
    assert session.ratio("a", "b").rounds == [ratio]


def test_only_sessions_of_the_same_machine_and_group_are_alike():
    rows = [
        timed(session_id="b5"),
        timed(session_id="b4", cpu_cores=4),
        timed(session_id="b3", group="h"),
        timed(session_id="b2"),
        timed(session_id="b1", cpu_name="Another"),
    ]
    assert [its.session_id for its in same_machine(sessions_of(rows, "g|h"))] == ["b5", "b2"]


def test_machine_in_words():
    row = {"cpu_name": "C", "cpu_cores": 1, "device_name": "G\x1b"}
    assert machine_of(row, gpu=False) == "C with 1 core"
    assert machine_of(row, gpu=True) == "G\\x1b"


# -- records -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rounds", "sound"),
    [
        (None, False),
        ([], False),
        ([None], False),
        ([[]], False),
        ([[1.0], []], False),
        ([[1.0, None]], False),
        ([[0.0]], False),
        ([[-1.0]], False),
        ([[float("nan")]], False),
        ([[float("inf")]], False),
        ([[1.0, 2.0], [3.0]], True),
    ],
    ids=str,
)
def test_times_are_such_as_a_clock_gives(rounds, sound):
    assert are_times(rounds) is sound


def test_parameters_and_extras_are_read_as_they_are():
    row = {"parameters": '{"name": "a", "number": 3, "yes": true, "half": 0.5}', "extra": '{"x": [1]}'}
    assert parameter_of(row, "name") == "a"
    assert [parameter_of(row, name) for name in ("number", "yes", "none")] == [""] * 3
    assert number_of(row, "number") == 3
    assert [number_of(row, name) for name in ("name", "yes", "half", "none")] == [None] * 4
    assert extra_of(row) == {"x": [1]}


@pytest.mark.parametrize(
    "text", ["", "no JSON", "[1]", "7", "null", "[" * 100_000], ids=lambda text: text[:8]
)
def test_parameters_and_extras_in_no_form_that_is_known_are_none(text):
    row = {"parameters": text, "extra": text}
    assert (parameter_of(row, "name"), number_of(row, "name"), extra_of(row)) == ("", None, {})


def test_speed_is_images_over_the_median_round():
    speed = speed_of(timed(seconds=[2.0, 1.0, 4.0], images=100))
    assert (speed.value, speed.low, speed.high) == (
        50,
        25,
        100,
    )  # too few rounds: the slowest and the fastest
    assert [speed_of(timed(images=images)) for images in (None, 0, -1)] == [None] * 3


def test_speed_of_rounds_enough_has_the_interval_of_the_median():
    """In which the slowest of twelve is not, as it is none of most."""
    speed = speed_of(timed(seconds=[2.0] * 11 + [9.0], images=100))
    assert (speed.value, speed.low, speed.high) == (50, 50, 50)


def test_median_and_range_in_a_form():
    assert median_and_range([41.25, 36.5, 38.1], ".1f", " ms") == "38.1 ms (36.5 to 41.2)"
    assert median_and_range([1000, 2000], ",.0f") == "1,500 (1,000 to 2,000)"
    assert median_and_range([1000], ",.0f", " s") == "1,000 s"  # which has no range


# -- odd benchmarks ------------------------------------------------------------------------------------------

ODD = [
    {"parameters": "no JSON"},
    {"parameters": "[" * 100_000},
    {"parameters": "[1]"},
    {"parameters": '{"name": 7, "num_loaders": true}'},
    {"parameters": "{}"},
    {"extra": "no JSON"},
    {"extra": '{"ms_per_run": NaN, "times_as_fast": "fast"}'},
    {"round_seconds": []},
    {"round_seconds": [1.0, float("nan")]},
    {"round_seconds": [0.0, 1.0]},
    {"round_seconds": [-1.0]},
    {"round_seconds": [float("inf")]},
    {"round_seconds": [1.0]},
    {"images": 0},
    {"images": -5},
    {"cpu_name": "<script>|`x`\n\x1b[31m", "cpu_cores": -1},
    {"parameters": '{"name": "<img src=x>|**, not deterministic"}', "name": "\x00"},
]


@pytest.mark.parametrize("changes", ODD, ids=lambda changes: f"{changes}"[:40])
@pytest.mark.parametrize("number", [0, 1])
def test_odd_benchmarks_do_not_raise(time_them, store, answer, changes, number):
    """Whichever of two contestants is odd, every question is answered, or not, and what is answered can be written."""
    time_them(
        {
            ON_CPU: {TODAY: [4.0] * 5, "ours, bf16, 2 runs": [2.0] * 5},
            ON_GPU: {TODAY: [4.0] * 5, "ours, bf16, 10 at once": [2.0] * 5},
            EVALUATION: {TODAY: [4.0] * 5, "ours, bf16": [2.0] * 5},
            UPDATES: {"trainer": [4.0] * 5, "bare loop": [2.0] * 5},
            DATA_PATH: {"test_ours": [4.0] * 5, "x": [2.0] * 5},
            ADDED: {"planned, many": [4.0] * 3, "a process each": [2.0] * 3},
            SHARES: {"a process of all cores": [4.0] * 3, "a process a core": [2.0] * 3},
        }
    )
    rows = store.read("benchmarks")[0].to_pylist()
    store.write("benchmarks", *(row | (changes if at % 2 == number else {}) for at, row in enumerate(rows)))
    for key in ("speed", "harness-overhead"):
        found = answer(key)
        if found is not None:
            page = in_full([Finding(QUESTIONS[key], found)], [], None, "harness findings")
            assert "<script>" not in page
            assert "<img src=x>" not in page
            assert "\x1b" not in found.summary.text
    if not set(changes) & {"round_seconds", "parameters"}:
        assert answer("speed") is not None
