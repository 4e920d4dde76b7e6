"""Files of rows: whole or not at all, by content, each owner's own, read row by row."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.errors import InvalidInput, InvalidSeed, NotFound
from po_jupyter.model.run.row_file_ref import RowFileRef, refs_in
from po_jupyter.store.files.row_files import FileRows, RowFiles

TEXT = b'{"a":1}\n"\xc3\xa9"\n[]\n'


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def keep(blobs: RowFiles, data: bytes, owner: str = "me", name: str | None = None) -> dict[str, Any]:
    receiver = blobs.receive(owner, name or digest(data))
    for i in range(0, len(data), 4):
        receiver.write(data[i : i + 4])
    return receiver.finish()


def files(root: Path) -> list[Path]:
    return [p for p in root.rglob("*") if p.is_file()]


def test_rows_come_back_lazily_like_a_list(tmp_path: Path) -> None:
    blobs = RowFiles(tmp_path)
    assert keep(blobs, TEXT) == {"sha256": digest(TEXT), "bytes": len(TEXT), "rows": 3}
    rows = blobs.rows("me", RowFileRef(digest(TEXT), 3))
    assert rows == [{"a": 1}, "é", []]
    assert (rows[-1], rows[1:], len(rows), [*rows, 0]) == ([], ["é", []], 3, [{"a": 1}, "é", [], 0])
    with pytest.raises(IndexError):
        rows[3]


def test_texts_that_look_like_names_are_no_names(tmp_path: Path) -> None:
    line = b'{"a":"\\"b\\":1, \\"b\\": 2","b":[{"a":1},{"a":2}]}\n'
    keep(RowFiles(tmp_path), line)
    rows = RowFiles(tmp_path).rows("me", RowFileRef(digest(line), 1))
    assert rows[0] == {"a": '"b":1, "b": 2', "b": [{"a": 1}, {"a": 2}]}


def test_a_whole_number_that_no_float_is_keeps_its_last_digit(tmp_path: Path) -> None:
    line = b'{"id":9007199254740993.0,"same":9007199254740992.0,"part":1.5}\n'
    keep(RowFiles(tmp_path), line)
    row = RowFiles(tmp_path).rows("me", RowFileRef(digest(line), 1))[0]
    assert row["id"] == 9007199254740993 and type(row["same"]) is float and row["part"] == 1.5


def test_no_rows_are_rows(tmp_path: Path) -> None:
    path = tmp_path / "empty"
    path.touch()
    assert list(FileRows(path)) == []


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b'{"a":1}\nnope\n', "line 2"),
        (b"1\n2", "line 2 of the file of rows is cut off"),
        (b"1\n\n", "line 2"),
        (b'1\n{"a":[NaN]}\n', "line 2 of the file of rows is not JSON .a.0. nan"),
        (b'{"a":-1e999}\n', "line 1.*a -inf"),
        (b"Infinity\n", "line 1"),
        (b'{"a":1}\n{"a":1,"a":2}\n', "line 2 .*`a` stands twice in one object"),
        (b'{"x":[{"a" : 1,\t"b":2,"a"\t:2}]}\n', "line 1 .*`a` stands twice"),
        (b'{"a\\u0062":1,"ab":2}\n', "line 1 .*`ab` stands twice"),
    ],
)
def test_what_is_not_json_lines_is_refused_and_leaves_nothing(tmp_path: Path, data: bytes, said: str) -> None:
    """P11: what and where."""
    with pytest.raises(InvalidInput, match=said):
        keep(RowFiles(tmp_path), data)
    assert files(tmp_path) == []


def test_words_and_numbers_that_only_look_infinite_are_rows(tmp_path: Path) -> None:
    keep(RowFiles(tmp_path), b'{"NaN": "Infinity", "a": 1e308, "b": "1e999"}\n')
    assert len(files(tmp_path)) == 1


def test_other_bytes_than_named_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="arrived with"):
        keep(RowFiles(tmp_path), TEXT, name=digest(b"else"))
    assert files(tmp_path) == []


@pytest.mark.parametrize("name", ["../../etc/passwd", "", "A" * 64, "a" * 63])
def test_a_name_is_a_hash_and_nothing_else(tmp_path: Path, name: str) -> None:
    """P6: never a path."""
    with pytest.raises(InvalidInput, match="64 lowercase hex"):
        RowFiles(tmp_path).receive("me", name)
    with pytest.raises(InvalidInput):
        RowFiles(tmp_path).info("me", name)


def test_knowing_a_hash_is_not_having_the_file(tmp_path: Path) -> None:
    blobs = RowFiles(tmp_path)
    keep(blobs, TEXT)
    with pytest.raises(NotFound):
        blobs.info("you", digest(TEXT))
    data = {"rows": RowFileRef(digest(TEXT), 3).to_json()}
    blobs.check("me", data)
    with pytest.raises(InvalidSeed, match="is not here"):
        blobs.check("you", data)
    with pytest.raises(InvalidSeed, match="has 3 rows"):
        blobs.check("me", {"rows": RowFileRef(digest(TEXT), 4).to_json()})


def test_files_are_private(tmp_path: Path) -> None:
    keep(RowFiles(tmp_path), TEXT)
    (path,) = files(tmp_path)
    assert path.stat().st_mode & 0o077 == 0
    assert path.parent.stat().st_mode & 0o077 == 0


def test_what_a_killed_server_left_is_swept_a_day_later(tmp_path: Path) -> None:
    blobs = RowFiles(tmp_path)
    receiver = blobs.receive("me", digest(TEXT))
    receiver.write(b"part")
    receiver._file.close()  # as the end of its process does
    (path,) = files(tmp_path)
    blobs.sweep()
    assert path.exists(), "another server may be writing it"
    os.utime(path, (1, 1))
    blobs.sweep()
    assert files(tmp_path) == []


@pytest.mark.parametrize(
    "value",
    [
        {"$rows": "short", "count": 1},
        {"$rows": "a" * 64},
        {"$rows": "a" * 64, "count": -1},
        {"$rows": "a" * 64, "count": True},
        {"$rows": "a" * 64, "count": 1, "path": "/etc/passwd"},
        {"$rows": "a" * 64, "count": 1, "columns": [1]},
    ],
)
def test_a_reference_that_is_none_is_an_error(value: Any) -> None:
    """P11"""
    with pytest.raises(InvalidSeed, match="no reference to a file of rows"):
        list(refs_in({"rows": value}))
