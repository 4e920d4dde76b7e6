"""A run that comes in is data of somebody's: only the service takes it, and what it says of itself is not believed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.errors import InvalidInput, NotFound, PoError
from po_jupyter.model.run.events import draft
from po_jupyter.orchestrator.moves.archive import FORMAT
from tests.support.orchestrator import orchestrator

pytestmark = pytest.mark.integration
RUN = "0" * 22
PIPELINE = {"name": "p", "tasks": [{"name": "t", "prompt": "hello", "llm": {"model": "fake:echo"}}]}
HEAD = {
    "run": RUN, "owner": "eve", "pipeline": "p", "version": "1", "name": "n", "state": "done", "created_at": "t",
    "updated_at": "t", "priority": 0, "fence": 1, "n": 1, "offset": 1, "holder": {"pid": 1},
}  # fmt: skip


def archive(head: Any = None, definition: Any = None, *parts: tuple[dict[str, Any], bytes]) -> bytes:
    event = {**draft("run.done"), "at": "t"}
    record = json.dumps({"at": "t", "fence": 0, "first": 1, "events": [event]}).encode()
    body = {"pipeline": PIPELINE, "seed": {"name": "n", "data": {}}, "code_allowed": True, **(definition or {})}
    first = {"part": "run", "format": FORMAT, "head": {**HEAD, **(head or {})}, "definition": body}
    rows: list[tuple[dict[str, Any], bytes]] = [({"part": "row", "kind": "c", "n": 1}, record), *parts]
    text = json.dumps(first).encode() + b"\n"
    for about, data in rows:
        text += json.dumps({**about, "bytes": len(data)}).encode() + b"\n" + data
    return text + b'{"part":"end"}\n'


async def test_no_other_server_takes_runs(tmp_path: Path) -> None:
    async with orchestrator(tmp_path) as service:
        with pytest.raises(NotFound, match="service of shared runs alone"):
            await service.receptions.check({"run": RUN, "pipeline": PIPELINE}, "me")
        with pytest.raises(NotFound):
            await service.receptions.accept("0" * 64, "me")


BAD: list[tuple[str, bytes]] = [
    (
        "code",
        archive(
            definition={"pipeline": {"name": "p", "tasks": [{"name": "t", "source": "def inference(c): 1"}]}}
        ),
    ),
    ("another run's id", archive({"run": "../../etc"})),
    ("a state that is none", archive({"state": "moved"})),
    ("a hole in its records", archive({"n": 2})),
    ("a file elsewhere", archive(None, None, ({"part": "file", "name": "../../x"}, b"x"))),
    ("a file up", archive(None, None, ({"part": "file", "name": "artifacts/../../../x"}, b"x"))),
    ("rows of a wrong hash", archive(None, None, ({"part": "rows", "name": "0" * 64}, b"1\n"))),
    ("an unknown part", archive(None, None, ({"part": "x"}, b""))),
    ("a child run", archive(definition={"parent": {"run": "a", "task": "t", "shard": 1}})),
    ("no pipeline", archive(definition={"pipeline": "x"})),
]


async def test_what_is_not_a_run_without_code_is_refused_for_good_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with orchestrator(
        tmp_path / "data", hub_behalf=True, hub_url="http://127.0.0.1:9/services/po"
    ) as service:
        receptions = service.receptions
        monkeypatch.setattr(receptions, "_preflight", type("All", (), {"check": lambda *a, **k: None})())

        async def give(content: bytes) -> str:
            sha256 = hashlib.sha256(content).hexdigest()
            upload = await receptions.receive(sha256, "alice")
            await upload.write(content)
            await upload.finish()
            return sha256

        for name, content in BAD:
            sha256 = await give(content)
            with pytest.raises(PoError) as refused:
                await receptions.accept(sha256, "alice")
            assert refused.value.details["handover"] == "refused", name
            with pytest.raises(NotFound):  # no late request takes it
                await receptions.accept(sha256, "alice")
            with pytest.raises(NotFound):
                service.store.head(RUN)
        assert not list(tmp_path.rglob("x"))
        with pytest.raises(InvalidInput):
            await give(archive()[:-20])
        sha256 = await give(
            archive({"owner": "root", "holder": {"pid": 1}}, {"cwd": "/etc", "interpreter": "/bin/sh"})
        )
        with pytest.raises(NotFound):
            await receptions.accept(sha256, "bob")
        view = await receptions.accept(sha256, "alice")
        assert (view.owner, view.state) == ("alice", "done")
        assert (await receptions.accept(sha256, "alice")).id == RUN
        kept = service.store.definition(RUN)
        assert (kept["code_allowed"], kept["cwd"], kept["interpreter"], kept["env"]) == (False, None, None, {})
        assert service.store.head(RUN)["holder"] is None
        with pytest.raises(PoError, match="already"):
            await receptions.accept(await give(archive({"name": "other"})), "alice")
        assert service.store.head(RUN)["owner"] == "alice"
