"""The watch folder: whatever lies in it is data, and what is rejected stays beside its reason."""

from __future__ import annotations

import io
import json
import os
import sys
import zipfile
from pathlib import Path

import pytest

from po_jupyter.engine.files.artifacts import shared_seed_file
from po_jupyter.errors import StoreUnusable
from po_jupyter.model.pipeline.parsing import validate_pipeline
from po_jupyter.orchestrator.inbox.folder import InboxFolder
from po_jupyter.orchestrator.submission.pipeline_files import PipelineFiles
from po_jupyter.orchestrator.submission.pipelines import PipelineRegistry
from po_jupyter.store.objects.directory import DirectoryObjects
from po_jupyter.store.objects.shared_files import RunFile, SharedFiles
from tests.support.inbox import GOOD, GREET, Desk, seed

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


def test_the_files_of_an_archive_are_where_all_nodes_find_them(tmp_path: Path) -> None:
    """Before the run is created; while that place is away the file waits, and is not rejected."""
    (tmp_path / "shared").mkdir()
    desk = Desk(tmp_path)
    files = SharedFiles(desk.store, DirectoryObjects(tmp_path / "shared"))
    desk.folder._files = files
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("seed.json", seed())
        archive.writestr("artifacts/d/größe.txt", "content")
    desk.drop("first-seed.zip", data.getvalue())
    files.open()
    (tmp_path / "shared").rename(tmp_path / "away")
    with pytest.raises(StoreUnusable, match=r"is .* mounted"):
        desk.folder.take_in("first-seed.zip")
    desk.unchanged()
    (tmp_path / "away").rename(tmp_path / "shared")
    taken = desk.folder.take_in("first-seed.zip")
    assert taken.head is not None
    (file,) = desk.store.definition(taken.head["run"])["seed_files"]
    assert (file["name"], file["bytes"]) == ("d/größe.txt", 7)
    shared = RunFile(*shared_seed_file(file))
    assert files.fetch(taken.head["run"], tmp_path / "other", [shared]) == {}
    assert (tmp_path / "other" / "given" / "d" / "größe.txt").read_text() == "content"
    files.close()
    desk.folder.close()
