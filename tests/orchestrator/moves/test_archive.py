"""The file that a run travels in: read as it was written, and nothing else is read."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from po_jupyter.errors import InvalidInput
from po_jupyter.orchestrator.moves.archive import files_of, read_archive, write_archive
from po_jupyter.store.keyed.run_import import RunRow


def test_what_was_written_is_read_and_what_is_not_read_is_passed_over(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    for name in ("artifacts/a.txt", "given/b.txt", "logs/t/c.log", "worker.log", "artifacts/.po-x"):
        path = run_dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (run_dir / "artifacts/link").symlink_to("/etc/passwd")
    files = files_of(run_dir)
    assert sorted(files) == ["artifacts/a.txt", "given/b.txt", "logs/t/c.log"]
    rows = [RunRow("c", 1, b'{"a":"\\n"}'), RunRow("p", 1, b"[[1],1]")]
    path = tmp_path / "moves" / "run.run"
    digest = write_archive(path, {"head": {"run": "r"}, "definition": {}}, rows, files, [])
    assert path.stat().st_mode & 0o077 == 0
    with path.open("rb") as file:
        parts = [(part.part, part.about.get("name"), part.data()) for part in read_archive(file)]
    assert parts == [
        ("run", None, b""), ("row", None, rows[0].text), ("row", None, rows[1].text),
        *(("file", name, name.encode()) for name in files), ("end", None, b""),
    ]  # fmt: skip
    with path.open("rb") as file:
        assert [part.part for part in read_archive(file)] == [part for part, _, _ in parts]
    assert write_archive(path, {"head": {"run": "r"}, "definition": {}}, rows, files, []) == digest


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[]\n",
        b'{"part":"row","bytes":-1}\n',
        b'{"part":"row","bytes":"9"}\n',
        b'{"part":"row","bytes":99}\nab',
    ],
)
def test_a_file_that_is_none_or_is_cut_is_refused(content: bytes) -> None:
    with pytest.raises(InvalidInput, match=r"cut off|is none"):
        for part in read_archive(io.BytesIO(content)):
            part.data()
