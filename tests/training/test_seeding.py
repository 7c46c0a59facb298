import hashlib

import numpy as np
import pytest

from harness.training.seeding import image_stream, permutation, raw, stream_key


def philox_by_definition(key, size):
    """Philox4x64-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3") in plain integers."""
    mask = 2**64 - 1
    numbers = []
    block = 0
    while len(numbers) < size:
        block += 1  # numpy counts up before it draws
        counter, low, high = [block, 0, 0, 0], key & mask, key >> 64
        for _ in range(10):
            a, b = 0xD2E7470EE14C6C93 * counter[0], 0xCA5A826395121157 * counter[2]
            counter = [(b >> 64) ^ counter[1] ^ low, b & mask, (a >> 64) ^ counter[3] ^ high, a & mask]
            low, high = (low + 0x9E3779B97F4A7C15) & mask, (high + 0xBB67AE8584CAA73B) & mask
        numbers += counter
    return numbers[:size]


@pytest.mark.parametrize(("seed", "name", "index"), [(0, "order", 0), (2**63 - 1, "augment", 12)])
def test_key_is_half_of_a_sha256(seed, name, index):
    text = f"{seed}/{name}/{index}"
    assert f"{stream_key(seed, name, index):032x}" == hashlib.sha256(text.encode()).hexdigest()[:32]


def test_key_has_index_0_unless_told():
    assert stream_key(5, "init") == stream_key(5, "init", 0)


@pytest.mark.parametrize(("seed", "name", "index"), [(0, "order", 0), (7, "augment", 3)])
def test_raw_numbers_are_philox_with_that_key(seed, name, index):
    key = int(hashlib.sha256(f"{seed}/{name}/{index}".encode()).hexdigest()[:32], 16)
    expected = philox_by_definition(key, 10)
    assert raw(seed, name, index, 10).tolist() == expected
    assert np.random.Philox(key=key).random_raw(10).tolist() == expected


def test_raw_numbers_never_change():
    # golden values: if they change, a seed no longer means what it meant
    assert raw(0, "order", 0, 3).tolist() == [6761022126952648446, 5781975093818876094, 10292171925547539733]
    assert permutation(0, 0, 8).tolist() == [5, 1, 0, 4, 6, 2, 3, 7]


def test_longer_stream_begins_like_the_shorter():
    assert raw(0, "order", 0, 100)[:10].tolist() == raw(0, "order", 0, 10).tolist()


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
@pytest.mark.parametrize("index", [0, 1])
def test_permutation_holds_every_number_once(size, index):
    order = permutation(3, index, size)
    assert order.dtype == np.int32
    assert sorted(order.tolist()) == list(range(size))


def test_permutation_ranks_the_raw_numbers():
    numbers = raw(3, "order", 4, 50).tolist()
    assert permutation(3, 4, 50).tolist() == sorted(range(50), key=numbers.__getitem__)


STREAMS = [
    (0, "order", 0),
    (0, "order", 1),
    (0, "augment", 0),
    (0, "init", 0),
    (1, "order", 0),
    (10, "order", 0),
]


def test_streams_of_other_seed_name_or_index_differ():
    assert len({raw(*stream, 4).tobytes() for stream in STREAMS}) == len(STREAMS)


def test_streams_are_uncorrelated():
    size = 4096
    uniform = np.array([raw(*stream, size).astype(np.float64) / 2**64 for stream in STREAMS])
    correlations = np.corrcoef(uniform)[np.triu_indices(len(STREAMS), k=1)]
    # of independent streams: standard deviation 1 / sqrt(size)
    assert np.abs(correlations).max() < 4 / np.sqrt(size)


def test_order_and_augmentation_differ_between_passes_and_seeds():
    passes = [image_stream(seed, 32 * i, 32 * (i + 1), 32, 162) for seed in (0, 1) for i in range(3)]
    for part in (0, 1):
        assert len({stream[part].tobytes() for stream in passes}) == 6


NUM_IMAGES, NUM_VIEWS = 13, 162


def whole_stream(seed, num_passes):
    """Passes one after another, straight from the definition."""
    images = [number for i in range(num_passes) for number in permutation(seed, i, NUM_IMAGES).tolist()]
    views = [
        number % NUM_VIEWS
        for i in range(num_passes)
        for number in raw(seed, "augment", i, NUM_IMAGES).tolist()
    ]
    return images, views


@pytest.mark.parametrize(
    ("start", "stop"),
    [(0, 1), (0, 13), (0, 39), (3, 9), (12, 14), (13, 26), (25, 27), (5, 38), (13, 14), (38, 39)],
)
def test_stream_is_a_stretch_of_passes_one_after_another(start, stop):
    images, views = whole_stream(2, 3)
    actual_images, actual_views = image_stream(2, start, stop, NUM_IMAGES, NUM_VIEWS)
    assert actual_images.tolist() == images[start:stop]
    assert actual_views.tolist() == views[start:stop]
    assert actual_images.dtype == actual_views.dtype == np.int32


@pytest.mark.parametrize("cut", [1, 5, 12, 13, 14, 26, 30])
def test_stream_cut_in_two_is_the_whole(cut):
    whole = image_stream(0, 0, 31, NUM_IMAGES, NUM_VIEWS)
    parts = [image_stream(0, *bounds, NUM_IMAGES, NUM_VIEWS) for bounds in ((0, cut), (cut, 31))]
    for kind in (0, 1):
        assert np.concatenate([part[kind] for part in parts]).tolist() == whole[kind].tolist()


def test_views_are_all_drawn_and_about_equally_often():
    _, views = image_stream(0, 0, 50_000, 50_000, 162)
    counts = np.bincount(views, minlength=162)
    assert len(counts) == 162
    expected = 50_000 / 162
    chi_square = ((counts - expected) ** 2 / expected).sum()
    # 0.1 % and 99.9 % points for 161 degrees of freedom (Wilson and Hilferty)
    assert 111.1 < chi_square < 222.2


def test_first_image_of_a_pass_is_about_equally_often_each():
    first = [permutation(0, index, 10)[0] for index in range(2000)]
    counts = np.bincount(first, minlength=10)
    # 0.1 % and 99.9 % points of chi-square for 9 degrees of freedom
    assert 1.15 < ((counts - 200) ** 2 / 200).sum() < 27.9
