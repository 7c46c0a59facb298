import math
import subprocess
import sys

import numpy as np
import pytest
from scipy import stats
from scipy.stats import chi2
from statsmodels.stats.power import TTestIndPower, TTestPower

from harness.analysis.noise import detectable_difference, detectable_paired, noise_split


def right(*seeds):
    """Answers of seeds as texts: ``right("110", "100")``."""
    return [np.array([answer == "1" for answer in seed]) for seed in seeds]


# where the spread comes from


def test_split_by_hand():
    # accuracies 3/4, 2/4, 1/4; the images are wrong in 0, 1/3, 2/3 and all of the seeds
    split = noise_split(right("1110", "1100", "1000"))
    assert split.n == 3
    assert split.sd == pytest.approx(1 / 4, rel=1e-12)
    # 2/9 twice, 3/2 as much because the shares are of three seeds, over 16
    sampling = (2 / 9 + 2 / 9) * 3 / 2 / 16
    assert split.sampling_sd == pytest.approx(math.sqrt(sampling), rel=1e-12)
    assert split.sampling_share == pytest.approx(sampling * 16, rel=1e-12)
    assert split.between_sd == pytest.approx(math.sqrt(1 / 16 - sampling), rel=1e-12)


def test_two_seeds_that_differ_in_one_image_by_hand():
    split = noise_split(right("1110", "1100"))
    # accuracies 3/4 and 2/4: variance 1/32; one image wrong in half of the seeds: 1/4 * 2 / 16
    assert split.sd**2 == pytest.approx(1 / 32, rel=1e-12)
    assert split.sampling_sd**2 == pytest.approx(1 / 32, rel=1e-12)
    assert split.sampling_share == pytest.approx(1, rel=1e-12)
    assert split.between_sd == pytest.approx(0, abs=1e-9)


def test_seeds_may_vary_less_than_by_chance():
    # accuracies 3/5, 4/5, 3/5: variance 1/75; four images change, each wrong in a third of seeds or two: 4/75
    split = noise_split(right("11100", "11110", "00111"))
    assert split.sampling_share == pytest.approx(4, rel=1e-12)
    assert split.between_sd == 0


@pytest.mark.parametrize("num_seeds", [2, 3, 10, 30])
def test_interval_is_that_of_the_chi_squared_distribution(num_seeds):
    answered = np.random.default_rng(num_seeds).uniform(size=(num_seeds, 300)) < 0.8
    split = noise_split(list(answered))
    variance, freedom = answered.mean(axis=1).var(ddof=1), num_seeds - 1
    # the interval of the true variance over seeds
    of_variance = freedom * variance / chi2.ppf([0.975, 0.025], freedom)
    expected = split.sampling_sd**2 / of_variance[::-1]
    assert (split.low, split.high) == pytest.approx(tuple(expected), rel=1e-9)
    assert split.low < split.sampling_share < split.high


@pytest.mark.parametrize("seeds", [(), ("110",)])
def test_fewer_than_two_seeds_have_no_spread(seeds):
    assert noise_split(right(*seeds)) is None


@pytest.mark.parametrize(
    ("num_seeds", "num_images", "num_right"),
    # the mean of three times 0.1 is not 0.1
    [(2, 4, 3), (3, 10, 1), (3, 10, 9), (5, 10, 7), (6, 10, 3), (7, 100, 92), (10, 1000, 917)],
)
def test_equal_accuracies_have_nothing_to_split(num_seeds, num_images, num_right):
    answered = np.arange(num_images) < num_right
    assert noise_split([np.roll(answered, seed) for seed in range(num_seeds)]) is None


def test_seeds_that_only_get_other_images_right_vary_by_sampling_alone():
    generator = np.random.default_rng(5)
    wrong = generator.beta(0.3, 3, 1000)  # most images are easy, some are hopeless
    splits = [noise_split(list(generator.uniform(size=(10, 1000)) >= wrong)) for _ in range(400)]
    true = (wrong * (1 - wrong)).sum() / 1000**2
    sampling, variance = (
        np.array([getattr(split, name) ** 2 for split in splits]) for name in ("sampling_sd", "sd")
    )
    # standard errors of 400 splits: some 0.2 % and, of a variance of ten seeds, 2.4 %
    assert sampling.mean() == pytest.approx(true, rel=0.01)
    assert variance.mean() == pytest.approx(true, rel=0.08)
    shares = np.array([split.sampling_share for split in splits])
    assert np.median(shares) == pytest.approx(1, abs=0.15)
    # the reciprocal of a variance of ten seeds is 9 / 7 too large on average
    assert shares.mean() == pytest.approx(9 / 7, abs=0.12)
    covered = np.mean([split.low <= 1 <= split.high for split in splits])
    assert covered == pytest.approx(0.95, abs=0.035)


def test_share_of_many_seeds_is_about_one_on_average():
    generator = np.random.default_rng(6)
    wrong = generator.uniform(0, 0.3, 500)
    splits = [noise_split(list(generator.uniform(size=(100, 500)) >= wrong)) for _ in range(100)]
    assert np.mean([split.sampling_share for split in splits]) == pytest.approx(1, abs=0.06)


def test_what_a_seed_does_to_all_images_is_left_over():
    generator = np.random.default_rng(7)
    wrong = generator.uniform(0.05, 0.35, 2000)
    true_sampling, true_between = (wrong * (1 - wrong)).sum() / 2000**2, 0.015
    splits = []
    for _ in range(200):
        of_seed = generator.normal(0, true_between, (10, 1))
        splits.append(noise_split(list(generator.uniform(size=(10, 2000)) >= wrong + of_seed)))
    true_share = true_sampling / (true_sampling + true_between**2)
    assert true_share < 0.3
    assert np.median([split.sampling_share for split in splits]) == pytest.approx(true_share, rel=0.15)
    left_over = np.mean([split.sd**2 - split.sampling_sd**2 for split in splits])
    assert math.sqrt(left_over) == pytest.approx(true_between, rel=0.08)
    assert np.median([split.between_sd for split in splits]) == pytest.approx(true_between, rel=0.1)
    # sampling is known much better than the variance over seeds, so its interval is about right here too
    covered = np.mean([split.low <= true_share <= split.high for split in splits])
    assert covered == pytest.approx(0.95, abs=0.05)
    assert np.mean([split.high < 1 for split in splits]) > 0.8


# which difference it hides


@pytest.mark.parametrize("n", [2, 3, 5, 10, 1000])
def test_detectable_difference_is_that_of_statsmodels(n):
    expected = TTestIndPower().solve_power(nobs1=n, alpha=0.05, power=0.8, ratio=1, alternative="two-sided")
    assert detectable_difference(1.0, n) == pytest.approx(expected, rel=1e-5)
    assert detectable_difference(0.2, n) == pytest.approx(0.2 * expected, rel=1e-5)


@pytest.mark.parametrize(("n", "expected"), [(3, 0.61), (5, 0.41), (10, 0.27)])
def test_detectable_difference_at_a_spread_of_two_tenths(n, expected):
    # the last of these is 0.265 to three digits
    assert detectable_difference(0.20, n) == pytest.approx(expected, abs=0.0055)


@pytest.mark.parametrize(("n", "among"), [(3, 1), (5, 1), (5, 3), (10, 1), (10, 20), (100, 3)])
def test_detectable_difference_of_pairs_is_that_of_statsmodels(n, among):
    found = detectable_paired(0.2, n, among)
    power = TTestPower().power(found / 0.2, nobs=n, alpha=0.05 / among, alternative="two-sided")
    assert power == pytest.approx(0.8, abs=1e-4)
    assert detectable_paired(0.4, n, among) == pytest.approx(2 * found, rel=1e-9)
    assert detectable_paired(0.2, 1, among) is None


@pytest.mark.parametrize(("n", "among"), [(2, 1), (2, 20), (3, 20), (4, 5)])
def test_simulated_pairs_show_the_detectable_difference_with_the_stated_power(n, among):
    differences = np.random.default_rng(8).normal(detectable_paired(1.0, n, among), 1, (4000, n))
    p = stats.ttest_1samp(differences, 0, axis=1).pvalue
    assert np.mean(p < 0.05 / among) == pytest.approx(0.8, abs=0.02)


def test_simulated_seeds_show_the_detectable_difference_with_the_stated_power():
    n, num_trials = 4, 4000
    difference = detectable_difference(1.0, n)
    generator = np.random.default_rng(8)
    first, second = generator.normal(size=(2, num_trials, n))
    first += difference
    error = np.sqrt((first.var(axis=1, ddof=1) + second.var(axis=1, ddof=1)) / n)
    # 2.447 is the 97.5 % point of Student's t with 6 degrees of freedom
    found = np.abs(first.mean(axis=1) - second.mean(axis=1)) > 2.447 * error
    assert found.mean() == pytest.approx(0.8, abs=0.02)


@pytest.mark.parametrize("n", [0, 1])
def test_single_seed_shows_no_difference(n):
    assert detectable_difference(0.002, n) is None


def test_without_spread_every_difference_shows():
    assert detectable_difference(0.0, 3) == 0.0


def test_more_seeds_show_smaller_differences():
    found = [detectable_difference(0.002, n) for n in range(2, 40)]
    assert found == sorted(found, reverse=True)
    assert len(set(found)) == len(found)


def test_neither_torch_nor_the_slow_part_of_scipy_is_needed():
    code = "import sys, harness.analysis.noise; sys.exit(bool({'scipy.stats', 'torch'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_seeds_on_different_test_sets_are_not_split():
    assert noise_split([np.array([True, False, True]), np.array([True, False])]) is None
