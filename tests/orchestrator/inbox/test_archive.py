"""R1.1, P6, "Done when" 6: malformed archives, each with its one clear message, and nothing unpacked."""

# ruff: noqa: E501 - one case is one line of the table

from __future__ import annotations

import io
import os
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from po_jupyter.config import Settings
from po_jupyter.errors import InvalidSeed
from po_jupyter.orchestrator.inbox.archive import SeedZip
from tests.orchestrator.inbox.test_seed_file import JSON
from tests.support.inbox import GOOD, Desk, seed


def archive(*entries: tuple[str | zipfile.ZipInfo, bytes], pack: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip of these entries."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", pack) as packed:
        for name, data in entries:
            packed.writestr(name, data)
    return file.getvalue()


def link(name: str, to: str) -> tuple[zipfile.ZipInfo, bytes]:
    info = zipfile.ZipInfo(name)
    info.create_system = 3
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info, to.encode()


def fifo(name: str) -> tuple[zipfile.ZipInfo, bytes]:
    info = zipfile.ZipInfo(name)
    info.create_system = 3
    info.external_attr = (stat.S_IFIFO | 0o600) << 16
    return info, b""


def encrypted() -> bytes:
    data = bytearray(archive(("seed.json", seed())))
    for mark, at in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        data[data.find(mark) + at] |= 1
    return bytes(data)


def damaged() -> bytes:
    data = bytearray(archive(("seed.json", seed()), ("artifacts/a.txt", b"A" * 100), pack=zipfile.ZIP_STORED))
    data[data.find(b"AAAA")] ^= 0xFF
    return bytes(data)


def liar() -> bytes:
    """The directory claims fewer bytes than come out."""
    data = bytearray(archive(("seed.json", seed()), ("artifacts/a.txt", b"A" * 100_000)))
    at = data.rfind(b"PK\1\2")
    data[at + 24 : at + 28] = struct.pack("<L", 10)
    return bytes(data)


def counted(count: int) -> bytes:
    """The end of the archive claims another number of entries."""
    data = bytearray(archive(("seed.json", seed())))
    at = data.rfind(b"PK\5\6")
    data[at + 8 : at + 12] = struct.pack("<2H", count, count)
    return bytes(data)


def zip64() -> bytes:
    data = archive(("seed.json", seed()))
    at = data.rfind(b"PK\5\6")
    return data[:at] + b"PK\6\7" + b"\0" * 16 + data[at:]


def split() -> bytes:
    data = bytearray(archive(("seed.json", seed())))
    at = data.rfind(b"PK\5\6")
    data[at + 4 : at + 6] = struct.pack("<H", 3)
    return bytes(data)


S = ("seed.json", seed())
ZIP: dict[str, tuple[bytes | Callable[[], bytes], list[str]]] = {
    "an empty file": (b"", ["the archive is empty"]),
    "no zip": (b"not a zip at all", ["it is not a zip archive"]),
    "a cut zip": (archive(S)[:-30], ["it is not a zip archive, or its end is missing"]),
    "only the end of a zip": (archive(S)[-22:], ["the archive cannot be read"]),
    "no seed": (archive(("artifacts/a.txt", b"a")), ["there is no seed.json at its top"]),
    "an archive of nothing": (archive(), ["there is no seed.json at its top"]),
    "all in a folder": (archive(("x/seed.json", seed())), ["pack what is in that folder, not the folder"]),
    "a bad seed": (archive(("seed.json", b"{}")), ["a seed needs `name`", "a seed needs `data`", "needs `pipeline`"]),
    "a seed that is no json": (archive(("seed.json", b"{,}")), ["line 1: seed.json is not JSON"]),
    "a seed too large": (archive(("seed.json", seed(data={"who": "x" * 6000}))), ["seed.json is larger than 5,000 bytes"]),
    "an unknown pipeline": (archive(("seed.json", seed(pipeline="nope"))), ["there is no pipeline 'nope'"]),
    "a path that climbs": (archive(S, ("artifacts/../../evil", b"x")), ["does not name a file below the archive's top"]),
    "a path that climbs at once": (archive(S, ("../evil", b"x")), ["does not name a file below the archive's top"]),
    "an absolute path": (archive(S, ("/etc/passwd", b"x")), ["does not name a file below the archive's top"]),
    "a windows path": (archive(S, ("artifacts\\..\\evil", b"x")), ["does not name a file"]),
    "a drive": (archive(S, ("C:/evil", b"x")), ["does not name a file"]),
    "a device": (archive(S, ("artifacts/NUL.txt", b"x")), ["does not name a file"]),
    "a link": (archive(S, link("artifacts/x", "/etc/passwd")), ["'artifacts/x' is a link"]),
    "a link as seed": (archive(link("seed.json", "/etc/passwd")), ["'seed.json' is a link"]),
    "a pipe": (archive(S, fifo("artifacts/x")), ["neither a file nor a folder"]),
    "a stranger": (archive(S, ("notes.txt", b"x")), ["'notes.txt' is not expected"]),
    "code beside the seed": (archive(S, ("tasks/evil.py", b"x")), ["'tasks/evil.py' is not expected"]),
    "a folder as seed": (archive(("seed.json/", b"")), ["there is no seed.json at its top"]),
    "names that differ in case": (archive(S, ("artifacts/A", b"x"), ("artifacts/a", b"y")), ["stands twice in the archive"]),
    "a file as a folder": (archive(S, ("artifacts/a", b"x"), ("artifacts/a/b", b"y")), ["lies below 'artifacts/a', which is a file"]),
    "too many files": (archive(S, *((f"artifacts/{i}", b"") for i in range(9))), ["lists 10 files; at most 6"]),
    "a wrong count": (counted(60_000), ["lists 60,000 files; at most 6"]),
    "a bomb": (archive(S, ("artifacts/zeros", b"\0" * 2_000_000)), ["more than 50 times as much (zip_max_ratio)"]),
    "too much altogether": (archive(S, *((f"artifacts/{i}", os.urandom(900) * 900) for i in range(4))), ["unpacked it has 3,240,", "zip_max_bytes"]),
    "a large archive": (archive(S, ("artifacts/x", os.urandom(3_000_100)), pack=zipfile.ZIP_STORED), ["at most 3,000,000 are taken"]),
    "another way of packing": (archive(S, ("artifacts/x", b"x" * 50), pack=zipfile.ZIP_LZMA), ["packed in a way that is not read here"]),
    "encrypted": (encrypted, ["'seed.json' is encrypted"]),
    "a wrong checksum": (damaged, ["artifacts/a.txt cannot be unpacked: Bad CRC-32"]),
    "more than it says": (liar, ["artifacts/a.txt cannot be unpacked"]),
    "zip64": (zip64, ["zip64 kind"]),
    "a part of several": (split, ["part of an archive that was split"]),
    "several things at once": (
        archive(("../a", b""), link("artifacts/l", "x"), ("other", b"")),
        ["'../a' does not name", "'artifacts/l' is a link", "'other' is not expected", "there is no seed.json"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", ZIP)
def test_a_malformed_archive_is_rejected_with_every_reason(case: str, desk: Desk) -> None:
    """R1.1, B9, P6: no traversal, no links, no bombs; nothing is unpacked."""
    data, said = ZIP[case]
    desk.drop("x-seed.zip", data() if callable(data) else data)
    error = desk.rejected("x-seed.zip")
    assert error["code"] == "invalid_seed"
    for words in said:
        assert words in error["message"], f"{words!r} is missing"


def test_the_tables_are_large_enough() -> None:
    """ "Done when" 6 of the issue wants 60 with the control files."""
    assert len(JSON) + len(ZIP) >= 40


def test_what_an_archive_holds_lies_where_tasks_find_it(tmp_path: Path) -> None:
    """B9: what macOS and Windows add to an archive is nothing of it; folders are none of its files."""
    data = archive(
        S, ("artifacts/", b""), ("artifacts/a.txt", b"a"), ("artifacts/in/b.bin", b"\0\1"),
        ("__MACOSX/artifacts/._a.txt", b"junk"), ("artifacts/.DS_Store", b"junk"),
    )  # fmt: skip
    found = SeedZip(io.BytesIO(data), Settings())
    assert found.seed() == GOOD
    found.verify()
    assert found.artifacts == ["a.txt", "in/b.bin"]
    assert found.unpack(tmp_path) == 2
    files = {p.relative_to(tmp_path).as_posix(): p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    assert files == {"given/a.txt": b"a", "given/in/b.bin": b"\0\1"}
    found.close()


def test_an_archive_is_taken_up_to_its_limits_exactly() -> None:
    settings = Settings(zip_max_files=2, zip_max_bytes=2000)
    two = [("artifacts/a", b"x"), ("artifacts/b", b"y")]
    assert len(SeedZip(io.BytesIO(archive(S, *two)), settings).artifacts) == 2
    with pytest.raises(InvalidSeed, match="lists 4 files; at most 3"):
        SeedZip(io.BytesIO(archive(S, *two, ("artifacts/c", b"z"))), settings)
    with pytest.raises(InvalidSeed, match="unpacked it has"):
        SeedZip(io.BytesIO(archive(S, ("artifacts/a", b"x" * 2000))), settings)


def test_damage_of_several_files_is_told_at_once() -> None:
    data = bytearray(
        archive(S, ("artifacts/a", b"A" * 50), ("artifacts/b", b"B" * 50), pack=zipfile.ZIP_STORED)
    )
    for letters in (b"AAAA", b"BBBB"):
        data[data.find(letters)] ^= 0xFF
    with pytest.raises(InvalidSeed) as caught:
        SeedZip(io.BytesIO(bytes(data)), Settings()).verify()
    assert [v.where for v in caught.value.violations] == ["artifacts/a", "artifacts/b"]
