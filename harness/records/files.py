"""The form of a file of records: parquet, of one kind, with its version of the schema and the digest of its own bytes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from harness.errors import RecordError, printable
from harness.records.schema import KINDS, SCHEMA_VERSION, conform
from harness.records.values import check_values
from harness.seal import NO_DIGEST, is_sealed, seal

__all__ = ["check_marks", "check_seal", "decode", "encode", "to_present"]

# A row a file needs neither statistics nor dictionaries; the bytes of floats compress better side by side.
_ONE_ROW = {"write_statistics": False, "use_dictionary": False}
_WRITE_OPTIONS: dict[str, dict[str, Any]] = {
    "runs": _ONE_ROW,
    "identities": _ONE_ROW,
    "audits": _ONE_ROW,
    "benchmarks": {},
    "profiles": {},
    "operators": {},
    "verifications": _ONE_ROW,
    "epochs": {"use_dictionary": False, "use_byte_stream_split": ["losses.list.element"]},
    "predictions": {"use_dictionary": ["run_id", "label"], "use_byte_stream_split": ["logits.list.element"]},
}

_KIND_KEY, _VERSION_KEY, _DIGEST_KEY = b"harness.kind", b"harness.schema_version", b"harness.sha256"
_FIRST_VERSION_WITH_DIGEST = 5
_MAX_DIGITS = 9
"""Of a version; Python reads no integer of thousands."""
_DIGEST = re.compile(re.escape(_DIGEST_KEY) + rb".{2}([0-9a-f]{64})", re.DOTALL)
"""As it stands in the footer: two bytes between key and value give the type and length of the value."""


def encode(kind: str, tables: Sequence[pa.Table]) -> bytes:
    """A file of records of the present schema, each table a row group.

    Raises:
        RecordError: they do not fit the schema, or hold what nobody can have measured.
    """
    buffer = pa.BufferOutputStream()
    options = {"compression": "zstd", "write_page_checksum": True, **_WRITE_OPTIONS[kind]}
    schema = KINDS[kind].with_metadata({_KIND_KEY: kind, _VERSION_KEY: str(SCHEMA_VERSION)})
    with pq.ParquetWriter(buffer, schema, **options) as writer:
        for table in tables:
            check_values(table)
            whole = table if table.schema.equals(KINDS[kind]) else conform(kind, table)
            writer.write_table(whole.replace_schema_metadata(schema.metadata))
        writer.add_key_value_metadata({_DIGEST_KEY: NO_DIGEST})
    content = buffer.getvalue().to_pybytes()
    return seal(content, _find_digest(content))


def decode(content: bytes | OSError, kind: str) -> pa.Table:
    """The content of a file of records as a table of the present schema.

    Raises:
        RecordError: it is no record of this kind, is broken, or was written by a newer harness.
    """
    content, has_digest = check_seal(content)
    try:
        # No threads: the files are small, and a thread of arrow's that lets go of Python's bytes while the
        # interpreter exits aborts the process.
        source = pa.BufferReader(content)
        table = pq.ParquetFile(source, page_checksum_verification=True).read(use_threads=False)
        table.validate(full=True)  # text is UTF-8, and lists lie within their values
    except (OSError, pa.ArrowException, ValueError) as error:  # OSError: of arrow, about its bytes
        raise RecordError(f"cannot be read: {printable(error)}") from error
    version = check_marks(table.schema, kind)
    if version >= _FIRST_VERSION_WITH_DIGEST and not has_digest:
        raise RecordError("is damaged: it has no digest")
    return to_present(table, kind, version)


def check_seal(content: bytes | OSError) -> tuple[bytes, bool]:
    """The content of a file, and whether it has a digest, as all have but the earliest.

    Raises:
        RecordError: it could not be read, or has another digest than its bytes.
    """
    if isinstance(content, OSError):
        raise RecordError(f"cannot be read: {content.strerror}") from content
    sealed = _find_digest(content)
    if sealed is not None and not is_sealed(content, sealed):
        raise RecordError("is damaged: its digest is not that of its bytes")
    return content, sealed is not None


def check_marks(schema: pa.Schema, kind: str) -> int:
    """The version of the schema that a file was written with.

    Raises:
        RecordError: it is no record of this kind, or was written by a newer harness.
    """
    marks = schema.metadata or {}
    if marks.get(_KIND_KEY) != kind.encode():
        raise RecordError(f"is no record of kind {kind!r}")
    version = marks.get(_VERSION_KEY, b"").decode(errors="replace")
    if not version.isdecimal():
        raise RecordError(f"has no schema version, but {printable(repr(version))}")
    if len(version) > _MAX_DIGITS or int(version) > SCHEMA_VERSION:
        raise RecordError(
            f"has schema version {printable(version)}, this harness reads up to {SCHEMA_VERSION}; update the harness"
        )
    return int(version)


def to_present(table: pa.Table, kind: str, version: int) -> pa.Table:
    """Records of an earlier version of the schema as the present one has them.

    Raises:
        RecordError: they do not fit it, or hold what nobody can have measured.
    """
    schema = KINDS[kind]
    if table.schema.equals(schema):  # as this version writes it; conforming takes longer than reading
        table = table.replace_schema_metadata()
    else:
        for field in schema:
            if field.name not in table.column_names and version < SCHEMA_VERSION:
                table = table.append_column(field, pa.nulls(len(table), field.type))
        table = conform(
            kind, table.drop_columns([name for name in table.column_names if name not in schema.names])
        )
    check_values(table)
    return table


def _find_digest(content: bytes) -> re.Match[bytes] | None:
    """Where the digest stands in a file: in its footer, so it is the last that looks like one."""
    return _DIGEST.search(content, max(0, content.rfind(_DIGEST_KEY)))
