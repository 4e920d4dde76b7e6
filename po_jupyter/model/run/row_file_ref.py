"""Rows of a seed that are a file: `seed.data.rows = {"$rows": SHA256, "count": N, "columns": [...]}`.

The file is JSON lines, one row a line, kept by the orchestrator under the hash of its bytes. Everywhere else the
rows are what they would be inline: `{{ seed.rows }}` is a list.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from po_jupyter.errors import InvalidInput, InvalidSeed, Violation
from po_jupyter.model.values.json import JsonObject

MARK = "$rows"
_SHA256 = re.compile(r"[0-9a-f]{64}")


class RowFileRef(NamedTuple):
    """`rows` rows in the file whose bytes have that SHA-256; `columns` are the keys of rows that are objects."""

    sha256: str
    rows: int
    columns: tuple[str, ...] = ()

    def to_json(self) -> JsonObject:
        """As it stands in a seed."""
        return {MARK: self.sha256, "count": self.rows, "columns": list(self.columns)}


def checked_hash(text: str) -> str:
    """`text` if it is the SHA-256 of something. Raises InvalidInput: it becomes the name of a file."""
    if not _SHA256.fullmatch(text):
        raise InvalidInput(
            f"{text!r:.80} does not name a file of rows", hint="It is named by 64 lowercase hex digits."
        )
    return text


def refs_in(data: Mapping[str, Any]) -> Iterator[tuple[str, RowFileRef]]:
    """The keys of a seed's data whose rows are files. Raises InvalidSeed for one that is not well formed."""
    for key, value in data.items():
        if not isinstance(value, dict) or MARK not in value:
            continue
        digest, count, columns = value[MARK], value.get("count"), value.get("columns", [])
        if (
            value.keys() - {MARK, "count", "columns"}
            or not isinstance(digest, str)
            or not _SHA256.fullmatch(digest)
            or type(count) is not int
            or count < 0
            or not isinstance(columns, list)
            or not all(isinstance(c, str) for c in columns)
        ):
            problem = f'is no reference to a file of rows: {{"{MARK}": SHA256, "count": N, "columns": [...]}}'
            raise InvalidSeed(
                "the seed cannot be used:",
                violations=[Violation(f"data.{key}", f"`data.{key}` {problem}")],
                hint="Give the rows themselves; po_jupyter's client makes a file of large ones.",
            )
        yield key, RowFileRef(digest, count, tuple(columns))
