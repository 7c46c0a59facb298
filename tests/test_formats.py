import pytest

from harness import formats
from harness.formats import (
    duration,
    duration_range,
    interval,
    p_value,
    percent,
    points,
    seconds_for_people,
    share,
)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.4, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (200, "3 min 20 s"),
        (3599.4, "59 min 59 s"),
        (3599.6, "1 h 00 min"),
        (3600, "1 h 00 min"),
        (7199, "1 h 59 min"),
        (7500, "2 h 05 min"),
        (360_000, "100 h 00 min"),
    ],
)
def test_durations_are_short(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (0, 0, "0 s"),
        (5, 5, "5 s"),
        (0.2, 0.4, "0 s to 1 s"),
        (7.5, 9.5, "7 s to 10 s"),
        (41, 59, "40 s to 1 min 00 s"),  # by 5 s, a third of 18
        (123, 181, "2 min 00 s to 3 min 10 s"),
        (7700, 9700, "2 h 00 min to 2 h 50 min"),  # by 10 min
        (36_100, 72_100, "10 h 00 min to 21 h 00 min"),
        (75, 50, "1 min 15 s to 50 s"),  # of others
    ],
)
def test_ranges_of_time_are_as_coarse_as_they_are_unsure(low, high, text):
    assert duration_range(low, high) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (12.34, "12.3 s"),
        (1.0, "1 s"),
        (1.234, "1.23 s"),
        (0.0456, "45.6 ms"),
        (0.001, "1 ms"),
        (0.000789, "789 us"),
        (1.5e-6, "1.5 us"),
        (2.5e-8, "25 ns"),
        (0, "0 ns"),
    ],
)
def test_short_times_have_three_digits_and_the_unit_that_fits(seconds, text):
    assert seconds_for_people(seconds) == text


@pytest.mark.parametrize(("seconds", "text"), [(0.9996, "1 s"), (9.996e-4, "1 ms"), (9.998e-7, "1 us")])
def test_time_that_rounds_to_a_thousand_is_one_of_the_next_unit(seconds, text):
    assert seconds_for_people(seconds) == text


@pytest.mark.parametrize("seconds", [999.7, 1234.0, 86_400.0])
def test_no_time_is_written_with_a_power_of_ten(seconds):
    assert "e" not in seconds_for_people(seconds)


@pytest.mark.parametrize(
    ("fraction", "text"),
    [(0.9125, "91.25"), (0, "0.00"), (1, "100.00"), (0.00014, "0.01"), (-0.1, "-10.00"), (None, "-")],
)
def test_per_cent_is_as_fine_as_ten_thousand_images(fraction, text):
    assert percent(fraction) == text


@pytest.mark.parametrize(
    ("fraction", "text"),
    [(0.1234, "12.3 %"), (0, "0.0 %"), (1.5, "150.0 %"), (-0.25, "-25.0 %"), (None, "-")],
)
def test_share_has_its_sign_of_per_cent(fraction, text):
    assert share(fraction) == text


@pytest.mark.parametrize(
    ("fraction", "text"),
    [(0.0123, "+1.23"), (-0.0123, "-1.23"), (0, "+0.00"), (0.5, "+50.00"), (None, "-")],
)
def test_points_have_a_sign(fraction, text):
    assert points(fraction) == text


@pytest.mark.parametrize(("form", "text"), [(percent, "0.00"), (share, "0.0 %"), (points, "+0.00")])
def test_what_rounds_to_nothing_is_not_negative(form, text):
    # as shares of spread and lower ends of intervals come out
    assert form(-0.00001) == form(0.0) == form(-0.0) == text


@pytest.mark.parametrize(
    ("ends", "signed", "text"),
    [
        ((0.08, 0.0925), False, "8.00 .. 9.25"),
        ((-0.001, 0.002), True, "-0.10 .. +0.20"),
        ((-0.00001, 0.0), True, "+0.00 .. +0.00"),
        ((0, 0), False, "0.00 .. 0.00"),
    ],
)
def test_interval_has_both_ends(ends, signed, text):
    assert interval(*ends, signed=signed) == text


@pytest.mark.parametrize("ends", [(None, 0.1), (0.1, None), (None, None), (0, None)])
@pytest.mark.parametrize("signed", [False, True])
def test_interval_with_an_end_missing_is_none(ends, signed):
    assert interval(*ends, signed=signed) == "-"


@pytest.mark.parametrize(
    ("p", "text"),
    [
        (1.0, "1.000"),
        (0.0123, "0.012"),
        (0.05, "0.050"),
        (0.001, "0.001"),
        (0.00099999, "< 0.001"),
        (0.0, "< 0.001"),
        (None, "-"),
    ],
)
def test_p_below_a_thousandth_is_not_told_more_exactly(p, text):
    assert p_value(p) == text


def test_every_form_of_a_missing_number_is_the_same():
    assert {percent(None), share(None), points(None), interval(None, None), p_value(None)} == {formats.ABSENT}
