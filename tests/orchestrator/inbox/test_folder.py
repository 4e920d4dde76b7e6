"""R1.1, P11, "Done when" 6: malformed seed files and archives, each with its one clear message, and nothing changed."""

# ruff: noqa: E501 - one case is one line of the table

from __future__ import annotations

import io
import json
import os
import stat
import struct
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.config import Settings
from po_jupyter.model.pipeline.parsing import validate_pipeline
from po_jupyter.orchestrator.inbox.folder import InboxFolder
from po_jupyter.orchestrator.submission.pipeline_files import PipelineFiles
from po_jupyter.orchestrator.submission.pipelines import PipelineRegistry
from po_jupyter.store.keyed.memory import MemoryStore

GREET = {"name": "greet", "tasks": [{"name": "say", "prompt": "Hello {{ seed.who }}", "llm": "fake:echo"}]}
GOOD = {"name": "first", "pipeline": "greet", "data": {"who": "you"}}


class Desk:
    """A watch folder over a store in memory, looked at by hand."""

    def __init__(self, tmp: Path) -> None:
        self.settings = Settings(
            data_dir=tmp / "data", inbox_dir=tmp / "inbox", inbox_stable=0,
            inbox_max_bytes=5000, zip_max_files=5, zip_max_bytes=3_000_000, zip_max_ratio=50,
        )  # fmt: skip
        self.store = MemoryStore()
        registry = PipelineRegistry(self.store)
        registry.put(validate_pipeline(GREET), "local")
        self.folder = InboxFolder(self.settings, self.store, registry, owner="local")
        self.folder.open()

    def drop(self, name: str, data: bytes) -> Path:
        path = self.folder.pending / name
        path.write_bytes(data)
        return path

    def rejected(self, name: str) -> dict[str, Any]:
        """The reason, after the file was looked at and rejected, and nothing else happened."""
        taken = self.folder.take_in(name)
        assert taken.new is None
        assert taken.rejected is not None
        where = self.folder.root / "rejected"
        assert sorted(p.name for p in where.iterdir()) == sorted(
            [taken.rejected, f"{taken.rejected}.reason.json"]
        )
        self.unchanged()
        assert list(self.folder.pending.iterdir()) == []
        reason = json.loads((where / f"{taken.rejected}.reason.json").read_text("utf-8"))
        assert set(reason) == {"file", "at", "error"}
        return dict(reason["error"])

    def unchanged(self) -> None:
        assert self.store.runs().heads == []
        assert self.folder.current_runs() == []
        assert list((self.folder.root / "complete").iterdir()) == []
        assert not (self.settings.data_dir / "runs").exists() or not list(
            (self.settings.data_dir / "runs").iterdir()
        )


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    found = Desk(tmp_path)
    yield found
    found.folder.close()


def seed(**changes: Any) -> bytes:
    """The good seed with changes; a value of `...` takes the field out."""
    return json.dumps({k: v for k, v in {**GOOD, **changes}.items() if v is not ...}).encode()


DEEP = b'{"name": "deep", "pipeline": "greet", "data": ' + b'{"a":' * 300 + b"1" + b"}" * 300 + b"}"

JSON: dict[str, tuple[bytes, list[str]]] = {
    "empty": (b"", ["the file is empty"]),
    "only spaces": (b" \n\t ", ["the file is empty"]),
    "no json": (b"hello", ["line 1: the file is not JSON: Expecting value"]),
    "cut off": (b'{"name": "first",\n "data": {"who"', ["line 2: the file is not JSON"]),
    "a trailing comma": (b'{"name": "a", "data": {},}', ["line 1: the file is not JSON"]),
    "two documents": (seed() + seed(), ["the file is not JSON: Extra data"]),
    "comments": (b'// a seed\n{"name": "a"}', ["line 1: the file is not JSON"]),
    "NaN": (b'{"name": "a", "pipeline": "greet", "data": {"x": NaN}}', ["NaN is not JSON; use null"]),
    "infinity": (b'{"name": "a", "pipeline": "greet", "data": {"x": -Infinity}}', ["-Infinity is not JSON"]),
    "a number too large": (b'{"name": "a", "pipeline": "greet", "data": {"who": 1e999}}', ["`who` is inf, which JSON does not know"]),
    "an endless whole number": (b'{"name": "a", "data": {"x": ' + b"9" * 4500 + b"}}", ["a number has too many digits"]),
    "utf-16": ('{"name": "a"}'.encode("utf-16"), ["UTF-16 text"]),
    "latin-1": ('{"name": "é"}'.encode("latin-1"), ["not UTF-8 text: byte 10"]),
    "half a surrogate": (b'{"name": "a", "pipeline": "greet", "data": {"who": "\\ud800"}}', ["`who` holds half a surrogate pair"]),
    "a name twice": (b'{"name": "a", "name": "b", "pipeline": "greet", "data": {}}', ["`name` stands twice in one object"]),
    "nested too deeply": (DEEP, ["nested deeper than 200 levels"]),
    "too large": (seed(data={"who": "x" * 6000}), ["larger than 5,000 bytes"]),
    "a list": (b"[1, 2]", ["a seed is an object with `name` and `data`, not list"]),
    "text": (b'"seed"', ["a seed is an object with `name` and `data`, not str"]),
    "null": (b"null", ["a seed is an object with `name` and `data`, not NoneType"]),
    "an empty object": (b"{}", ["a seed needs `name`", "a seed needs `data`", "a seed file needs `pipeline`"]),
    "no name": (seed(name=...), ["a seed needs `name`"]),
    "an empty name": (seed(name=""), ["name: may not be empty"]),
    "a long name": (seed(name="x" * 101), ["name: may have at most 100 characters"]),
    "a number as name": (seed(name=7), ["name: needs text"]),
    "a list as name": (seed(name=["a"]), ["name: needs text"]),
    "no data": (seed(data=...), ["a seed needs `data`"]),
    "data is text": (seed(data="text"), ["data: needs a mapping"]),
    "data is a list": (seed(data=[{"who": "a"}]), ["data: needs a mapping"]),
    "data is null": (seed(data=None), ["data: needs a mapping"]),
    "metadata is a list": (seed(metadata=[1]), ["metadata: needs a mapping"]),
    "a field too many": (seed(priority=3), ["`priority` is not a field of a seed"]),
    "a mistyped field": (seed(data=..., dta={}), ["a seed needs `data`", "`dta` is not a field of a seed; did you mean `data`?"]),
    "no pipeline": (seed(pipeline=...), ["a seed file needs `pipeline`"]),
    "pipeline is null": (seed(pipeline=None), ["a seed file needs `pipeline`"]),
    "pipeline is a definition": (seed(pipeline=GREET), ["pipeline: needs text"]),
    "an unknown pipeline": (seed(pipeline="gret"), ["there is no pipeline 'gret'; did you mean `greet`?", "Registered: greet"]),
    "a pipeline like a path": (seed(pipeline="../../etc/passwd"), ["there is no pipeline '../../etc/passwd'"]),
    "a pipeline in yaml": (seed(pipeline="name: x\ntasks: []"), ["there is no pipeline"]),
    "data that the prompt lacks": (seed(data={"name": "you"}), ["who"]),
    "everything at once": (
        seed(name="", data=[], pipeline="nope", metadata=1, extra=2),
        ["name: may not be empty", "data: needs a mapping", "metadata: needs a mapping", "`extra` is not a field", "there is no pipeline 'nope'"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", JSON)
def test_a_malformed_seed_file_is_rejected_with_every_reason(case: str, desk: Desk) -> None:
    """R1.1, B9, P11."""
    data, said = JSON[case]
    desk.drop("x-seed.json", data)
    error = desk.rejected("x-seed.json")
    assert error["code"] in ("invalid_seed", "invalid_pipeline", "invalid_input")
    for words in said:
        assert words in f"{error['message']}\n{error['hint']}", f"{words!r} is missing"
    assert "Traceback" not in error["message"]


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


NAMES = [
    "-seed.json", "--help-seed.json", "a b\tc-seed.json", "ünï☃-seed.json", "$(touch evil)-seed.json",
    "..-seed.json", "'; DROP TABLE runs-seed.json", "x" * 240 + "-seed.json", "seed.json-seed.json",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_names_of_files_are_data(name: str, desk: Desk) -> None:
    """B9: whatever a seed's file is called, it is that file and never a path, a word or code."""
    desk.drop(name, seed())
    if name.startswith("."):
        assert desk.folder.ready()[0] == []  # hidden files are what programs write before they rename
        return
    assert desk.folder.ready()[0] == [name]
    taken = desk.folder.take_in(name)
    assert taken.new is not None
    assert sorted(p.name for p in (desk.folder.root / "current" / taken.new.run).iterdir()) == sorted(
        [name, "definition.json"]
    )
    desk.drop(name, b"{")
    assert desk.folder.take_in(name).rejected is not None
    assert len(list((desk.folder.root / "rejected").iterdir())) == 2


@pytest.mark.skipif(sys.platform != "linux", reason="platform: other systems refuse such a name")
def test_a_name_that_is_no_text(desk: Desk) -> None:
    """B9: bytes that no encoding knows."""
    name = os.fsdecode(b"\xff\xfe-seed.json")
    desk.drop(name, b"{")
    assert desk.folder.ready()[0] == [name]
    assert desk.rejected(name)["code"] == "invalid_seed"


@pytest.mark.skipif(sys.platform == "win32", reason="platform: links need rights there")
def test_links_pipes_and_folders_are_not_followed(desk: Desk, tmp_path: Path) -> None:
    """B9: a link is left where it is, with its reason written, and not tried again and again."""
    secret = tmp_path / "secret.json"
    secret.write_bytes(seed())
    (desk.folder.pending / "link-seed.json").symlink_to(secret)
    os.mkfifo(desk.folder.pending / "pipe-seed.json")
    (desk.folder.pending / "folder-seed.json").mkdir()
    names, _ = desk.folder.ready()
    assert sorted(names) == ["folder-seed.json", "link-seed.json", "pipe-seed.json"]
    for name in names:
        assert desk.folder.take_in(name).rejected == name
    reasons = {
        name: json.loads((desk.folder.root / "rejected" / f"{name}.reason.json").read_text()) for name in names
    }
    assert "links are not followed" in reasons["link-seed.json"]["error"]["message"]
    assert "not a regular file" in reasons["pipe-seed.json"]["error"]["message"]
    assert "not a regular file" in reasons["folder-seed.json"]["error"]["message"]
    assert desk.folder.ready()[0] == []
    desk.unchanged()
    assert secret.read_bytes() == seed()


def test_a_rejected_file_replaces_none_that_was_rejected_before(desk: Desk) -> None:
    """B9: the files of several tries stay beside each other, each with its own reason."""
    for i, data in enumerate((b"{", b"[]", b"")):
        desk.drop("x-seed.json", data)
        assert desk.folder.take_in("x-seed.json").rejected == (
            "x-seed.json" if i == 0 else f"x-seed~{i + 1}.json"
        )
    found = {
        p.name: p.read_bytes() for p in (desk.folder.root / "rejected").iterdir() if "reason" not in p.name
    }
    assert found == {"x-seed.json": b"{", "x-seed~2.json": b"[]", "x-seed~3.json": b""}


def test_a_file_may_what_whoever_registered_its_pipeline_may(tmp_path: Path) -> None:
    """C1: a file has no caller of its own; without `code:run` there is no directory and no agent in its run."""
    desk = Desk(tmp_path)
    registry = PipelineRegistry(desk.store)
    files = PipelineFiles(tmp_path / "pipelines", registry, "local")
    (tmp_path / "pipelines").mkdir()
    folder = InboxFolder(desk.settings, desk.store, registry, owner="local", pipelines=files)
    definitions = []
    for number, code_allowed in enumerate((False, True)):
        registry.put(
            validate_pipeline({**GREET, "version": f"1.1.{number}"}), "local", code_allowed=code_allowed
        )
        desk.drop(f"{number}.json", json.dumps(GOOD).encode())
        taken = folder.take_in(f"{number}.json")
        assert taken.head is not None
        definitions.append(desk.store.definition(taken.head["run"]))
    assert [d["code_allowed"] for d in definitions] == [False, True]
    assert [d["cwd"] for d in definitions] == [None, str(tmp_path)]
    with_code = {"name": "greet", "tasks": [{"name": "say", "source": "def ingestion(ctx): ..."}]}
    registry.put(validate_pipeline(with_code), "local", code_allowed=False)  # as no version wrote it
    desk.drop("code.json", json.dumps(GOOD).encode())
    assert folder.take_in("code.json").rejected == "code.json"


def test_the_same_pipeline_again_gives_it_the_rights_of_who_has_more() -> None:
    """C1: and takes none away from what was there, older documents among it."""
    store = MemoryStore()
    registry = PipelineRegistry(store)
    pipeline = validate_pipeline(GREET)
    for code_allowed, then in ((False, False), (True, True), (False, True)):
        registry.put(pipeline, "local", code_allowed=code_allowed)
        assert registry.code_allowed("greet", "local") is then
    document = dict(store.get("pipeline", "local/greet") or {})
    del document["code_allowed"]
    store.put("pipeline", "local/greet", document)
    assert registry.code_allowed("greet", "local")
