"""Transitions of seed files: file and run together or neither; what was rejected before stays."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from po_jupyter.errors import Conflict, NotFound
from po_jupyter.model.run.events import draft
from po_jupyter.orchestrator.inbox.transitions import (
    REASON,
    as_text,
    identity_of,
    open_intents,
    put_away,
    reject,
    short_name,
    take_in,
)
from po_jupyter.store.files.intent_log import IntentLog
from po_jupyter.store.keyed.memory import MemoryStore
from po_jupyter.store.protocol import NewRun

FIRST, SECOND = "0123456789abcdef012345", "0123456789abcdef012346"


class Rig:
    """A watch folder with one file, over a store in memory."""

    def __init__(self, tmp: Path) -> None:
        self.root = tmp
        self.store = MemoryStore()
        for name in ("pending", "current", "complete", "rejected"):
            (tmp / name).mkdir()
        self.intents: IntentLog = open_intents(tmp, self.store)

    def drop(self, name: str = "a-seed.json", data: bytes = b"seed") -> None:
        (self.root / "pending" / name).write_bytes(data)

    def files(self) -> dict[str, bytes]:
        found = {p.relative_to(self.root): p.read_bytes() for p in self.root.rglob("*") if p.is_file()}
        return {p.as_posix(): data for p, data in found.items() if not p.parts[0].startswith(".")}


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def new(run: str = FIRST, key: str | None = "k", env: str = "sk-secret") -> NewRun:
    event = draft("run.created", name="n", pipeline="p", version="1.0.0", tasks=[])
    definition = {"pipeline": {}, "seed": {}, "env": {"OPENAI_API_KEY": env}}
    return NewRun(run, "ada", "p", "1.0.0", "n", 0, definition, [event], idempotency_key=key)


def test_a_file_and_its_run_come_together(rig: Rig) -> None:
    """R2.3; P9: the definition beside the file has no variables, and so no keys."""
    rig.drop()
    head, fresh = take_in(rig.intents, rig.store, new(), "a-seed.json")
    assert (head["run"], fresh) == (FIRST, True)
    files = rig.files()
    assert files.keys() == {f"current/{FIRST}/a-seed.json", f"current/{FIRST}/definition.json"}
    assert files[f"current/{FIRST}/a-seed.json"] == b"seed"
    assert json.loads(files[f"current/{FIRST}/definition.json"])["env"] == {}


def test_without_its_file_there_is_no_run_and_without_its_run_the_file_stays(rig: Rig) -> None:
    """R2.3."""
    with pytest.raises(NotFound):
        take_in(rig.intents, rig.store, new(), "gone-seed.json")
    assert rig.store.runs().heads == []
    rig.drop()
    take_in(rig.intents, rig.store, new(), "a-seed.json")
    rig.drop()
    with pytest.raises(Conflict):
        take_in(rig.intents, rig.store, new(FIRST, key=None), "a-seed.json")
    assert rig.files().keys() >= {"pending/a-seed.json", f"current/{FIRST}/a-seed.json"}
    assert len(rig.store.runs().heads) == 1


def test_a_file_goes_to_the_run_that_its_key_made_before_a_crash(rig: Rig) -> None:
    """R2.3: the key was reserved, the file was not moved; the next start plans another id."""
    rig.store.create_run(new(FIRST))
    rig.drop()
    head, fresh = take_in(rig.intents, rig.store, new(SECOND), "a-seed.json")
    assert (head["run"], fresh) == (FIRST, False)
    assert rig.files().keys() == {f"current/{FIRST}/a-seed.json", f"current/{FIRST}/definition.json"}


def test_a_file_that_is_dropped_anew_is_another_one(rig: Rig) -> None:
    """An idempotency key of the same bytes twice would give the second file the run of the first."""
    rig.drop()
    first = identity_of(rig.intents, "a-seed.json")
    assert identity_of(rig.intents, "a-seed.json") == first
    (rig.root / "pending" / "other").write_bytes(b"seed")
    (rig.root / "pending" / "other").rename(rig.root / "pending" / "a-seed.json")
    assert identity_of(rig.intents, "a-seed.json") != first
    with pytest.raises(NotFound):
        identity_of(rig.intents, "gone-seed.json")


def test_a_run_that_ended_is_put_away_with_its_result_once(rig: Rig) -> None:
    rig.drop()
    take_in(rig.intents, rig.store, new(), "a-seed.json")
    assert put_away(rig.intents, FIRST, result={"state": "done"})
    files = rig.files()
    assert {name.partition("/")[0] for name in files} == {"complete"}
    assert json.loads(files[f"complete/{FIRST}/result.json"]) == {"state": "done"}
    assert not put_away(rig.intents, FIRST), "it is there already"
    rig.drop()
    take_in(rig.intents, rig.store, new(SECOND, key="k2"), "a-seed.json")
    assert put_away(rig.intents, SECOND, to="rejected")
    assert f"rejected/{SECOND}/a-seed.json" in rig.files()


def test_rejected_files_of_one_name_stay_beside_each_other(rig: Rig) -> None:
    for i, data in enumerate((b"one", b"two")):
        rig.drop(data=data)
        assert reject(rig.intents, "a-seed.json", {"n": i}) == ("a-seed.json" if i == 0 else "a-seed~2.json")
    files = rig.files()
    assert (files["rejected/a-seed.json"], files["rejected/a-seed~2.json"]) == (b"one", b"two")
    assert json.loads(files[f"rejected/a-seed~2.json{REASON}"]) == {"n": 1}


@pytest.mark.parametrize(
    "name", ["a-seed.json", "x" * 250 + ".json", "é" * 126 + ".json", "no-suffix", ".hidden", "a." + "x" * 30]
)
def test_a_rejected_files_name_has_room_for_a_number_and_its_reason(name: str) -> None:
    """A name of 255 bytes is a name that no file beside it can have with more letters."""
    stem, suffix = short_name(name)
    assert len(os.fsencode(f"{stem}~999{suffix}{REASON}")) <= 255
    assert name.startswith(stem)
    assert name.endswith(suffix)
    if len(name) < 50:
        assert stem + suffix == name
    assert suffix == (".json" if name.endswith(".json") else ""), (
        "what follows the last dot of these is no kind"
    )


def test_a_name_that_is_no_text_is_written_all_the_same() -> None:
    assert json.loads(as_text({"file": os.fsdecode(b"\xff") + "-é"})) == {"file": "?-é"}
