import hashlib

import numpy as np
import pytest

from harness.data.digests import BatchDigest, DigestTable, check_batches, combined_sha256, sha256_hex


def test_the_shipped_table_has_the_official_batches_in_order():
    table = DigestTable.cifar10()
    assert table.names == (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch")
    assert (table.batch_size, table.num_train, table.num_images) == (10_000, 50_000, 60_000)
    assert len({digest for batch in table.batches for digest in (batch.pixels, batch.labels)}) == 12


def test_the_digest_of_the_whole_is_pinned():
    # it goes into every record of a run: a change would part old results from new ones
    assert DigestTable.cifar10().sha256 == "9e36101af77a8f78027ea647d5bd2ddb99ae2f76a198f305e4c5bd6254713e4d"


def test_the_digest_of_the_whole_is_over_the_hex_digests_in_order():
    assert combined_sha256([("aa", "bb"), ("cc", "dd")]) == hashlib.sha256(b"aabbccdd").hexdigest()


def test_a_digest_is_over_the_bytes_whatever_the_shape():
    array = np.arange(24, dtype=np.uint8)
    assert sha256_hex(array.reshape(2, 3, 4)) == hashlib.sha256(bytes(range(24))).hexdigest()


def test_each_batch_has_its_place(fakes):
    assert fakes.table.place(0) == ("train", slice(0, 20))
    assert fakes.table.place(4) == ("train", slice(80, 100))
    assert fakes.table.place(5) == ("test", slice(0, 20))


@pytest.mark.parametrize("digest", ["", "ab", "A" * 64, "g" * 64])
def test_a_digest_must_be_a_sha256(digest):
    with pytest.raises(ValueError, match=r"test_batch\.labels is"):
        BatchDigest(name="test_batch", pixels="0" * 64, labels=digest)


def test_a_table_needs_a_training_and_a_test_batch(fakes):
    with pytest.raises(ValueError, match="1 batches of 20"):
        DigestTable(20, fakes.table.batches[:1])


def test_the_check_names_what_differs_and_what_cannot_be_read(fakes):
    train_labels = fakes.train_labels
    train_labels[25] ^= 1
    reports = check_batches(
        {
            "train_images": fakes.train_images,
            "train_labels": train_labels,
            "test_images": None,
            "test_labels": fakes.labels["test_batch"],
        },
        fakes.table,
    )
    assert [report.name for report in reports if not report.ok] == ["data_batch_2", "test_batch"]
    assert (reports[1].pixels_match, reports[1].labels_match) == (True, False)
    assert reports[1].pixels_sha256 == fakes.table.batches[1].pixels
    assert (reports[5].pixels_sha256, reports[5].labels_match) == (None, True)
