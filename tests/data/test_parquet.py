import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness.data.parquet import parquet_blocks
from harness.errors import SourceError


def blocks(fakes, path, **columns):
    pq.write_table(pa.table(columns), path)
    return list(parquet_blocks(path, fakes.table))


def test_each_block_says_where_it_stood(fakes, tmp_path):
    path = fakes.write_parquet(tmp_path / "source") / "train-00000-of-00001.parquet"
    found = [block.where for block in parquet_blocks(path, fakes.table)]
    assert found[1] == "train-00000-of-00001.parquet, rows 20 to 39"
    assert len(found) == 5


def test_the_number_of_rows_must_fit(fakes, tmp_path):
    with pytest.raises(SourceError, match="has 21 rows"):
        blocks(fakes, tmp_path / "a.parquet", img=[{"bytes": b""}] * 21, label=[0] * 21)


def test_too_many_rows_are_refused_before_any_is_read(fakes, tmp_path):
    with pytest.raises(SourceError, match="has 140 rows"):
        blocks(fakes, tmp_path / "a.parquet", img=[{"bytes": b""}] * 140, label=[0] * 140)


@pytest.mark.parametrize("column", [[b"png"] * 20, [None] * 20, [{"bytes": None}] * 20, [{"path": "x"}] * 20])
def test_images_must_be_structs_with_bytes(fakes, tmp_path, column):
    with pytest.raises(SourceError, match=r"a\.parquet.* no column img with the bytes of a PNG"):
        blocks(fakes, tmp_path / "a.parquet", img=column, label=[0] * 20)


def test_rows_that_unpack_to_more_than_images_are_refused_unread(fakes, tmp_path):
    with pytest.raises(SourceError, match="unpacks to more than 8192 bytes per row"):
        blocks(fakes, tmp_path / "a.parquet", img=[{"bytes": bytes(2**20)}] * 20, label=[0] * 20)


def test_there_must_be_a_column_of_images(fakes, tmp_path):
    with pytest.raises(SourceError, match="no column img"):
        blocks(fakes, tmp_path / "a.parquet", label=[0] * 20)


def test_a_broken_image_is_named(fakes, tmp_path):
    with pytest.raises(SourceError, match="rows 0 to 19: not a readable PNG"):
        blocks(fakes, tmp_path / "a.parquet", img=[{"bytes": b"png"}] * 20, label=[0] * 20)


def test_a_file_cut_short_is_refused(fakes, tmp_path):
    path = fakes.write_parquet(tmp_path / "source") / "test-00000-of-00001.parquet"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(SourceError, match="damaged or cut short"):
        list(parquet_blocks(path, fakes.table))
