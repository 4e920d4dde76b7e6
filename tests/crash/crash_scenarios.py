"""What the crash-point sweep does, and what must be true after each kill. One more class is one more sweep."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sqlite3
import sys
import zipfile
from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import structlog

from po_jupyter.config import Settings
from po_jupyter.engine.files.artifacts import artifacts_by_name, shared_file
from po_jupyter.engine.replay.history import read_history
from po_jupyter.engine.replay.spent_from_log import Amount
from po_jupyter.errors import NotFound
from po_jupyter.llm.chat import ChatRequest, ChatResponse, OnText
from po_jupyter.llm.providers.fake import FakeProvider
from po_jupyter.model.pipeline.parsing import validate_pipeline
from po_jupyter.model.run.events import draft
from po_jupyter.model.run.view import ENDED
from po_jupyter.orchestrator.inbox import transitions as intake
from po_jupyter.orchestrator.inbox.folder import InboxFolder
from po_jupyter.orchestrator.maintenance import shared_sweep
from po_jupyter.orchestrator.maintenance.retention import Deletion, RunCleaner
from po_jupyter.orchestrator.maintenance.shared_sweep import sweep_shared
from po_jupyter.orchestrator.submission.pipelines import PipelineRegistry
from po_jupyter.orchestrator.views.projections import RunProjections
from po_jupyter.store.disk import migrations
from po_jupyter.store.disk.store import DiskStore
from po_jupyter.store.files.intent_log import LOG
from po_jupyter.store.keyed.store import KeyedStore
from po_jupyter.store.objects.directory import DirectoryObjects
from po_jupyter.store.objects.shared_files import RunFile, SharedFiles
from po_jupyter.store.protocol import Commit, Head, NewRun, Ref, Store
from tests.support.engine import RUN, Bench
from tests.support.file_share import DirectShare
from tests.support.schedules import Clockwork

SCENARIOS: dict[str, Scenario] = {}


class Scenario:
    """`setup` makes the state before; `act` is killed; `recover` is what a start does; `check` names the state
    that was found (before, after) or raises; `finish` shows that one can go on from there."""

    name: ClassVar[str]
    sound: ClassVar[bool] = True  # False: written carelessly, to show that the sweep can fail
    nested: ClassVar[bool] = False  # kill the recovery at each of its points too
    only: ClassVar[str] = ""  # the beginning of the names of the points that are killed at
    states: ClassVar[frozenset[str]] = frozenset({"before", "after"})

    def __init_subclass__(cls) -> None:
        if hasattr(cls, "name"):
            SCENARIOS[cls.name] = cls()

    def setup(self, at: Path) -> None: ...

    def act(self, at: Path) -> None: ...

    def recover(self, at: Path) -> None: ...

    def check(self, at: Path) -> str: ...

    def finish(self, at: Path) -> None: ...


DATABASE = "database"  # the file with the URL of the store, in a scenario over PostgreSQL


def opened(at: Path) -> KeyedStore:
    if (at / DATABASE).exists():
        from po_jupyter.store.postgres.store import PostgresStore

        return PostgresStore((at / DATABASE).read_text())
    return DiskStore(at / "store", shards=2)


def new(run: str = RUN, **more: Any) -> NewRun:
    event = draft("run.created", name="n", pipeline="p", version="1.0.0", tasks=[])
    return NewRun(run, "ada", "p", "1.0.0", "n", 0, {"pipeline": {}, "seed": {}}, [event], **more)


def dump(store: Store, run: str) -> dict[str, Any]:
    """All that the store says about a run, but for times."""
    head = dict(store.head(run))
    head.pop("updated_at")
    head.pop("created_at")
    records = []
    for record in store.records(run):
        copy = json.loads(json.dumps(record))
        copy.pop("at")
        for event in copy["events"]:
            event.pop("at", None)
        copy["payloads"] = store.payloads(run, record["n"])
        records.append(copy)
    return {"head": head, "records": records, "definition": store.definition(run)}


def sound(store: KeyedStore) -> None:
    """No row is broken, no list contradicts a run, no offset is missing."""
    assert not isinstance(store, DiskStore) or store.verify() == []
    heads = store.runs(limit=1000, children=True).heads
    assert len({h["run"] for h in heads}) == len(heads)
    assert {h["run"] for h in store.active()} == {h["run"] for h in heads if h["state"] not in ENDED}
    for head in heads:
        offsets = [e["offset"] for e in store.events(head["run"], limit=100_000)]
        assert offsets == list(range(1, head["offset"] + 1))
        records = list(store.records(head["run"]))
        assert [r["n"] for r in records] == list(range(1, head["n"] + 1))
        for record in records:
            for said in (*record["items"], *record["calls"]):
                for field in ("output", "answer"):
                    if said.get(field) is not None:
                        store.payload(head["run"], Ref(*said[field]))


class _OnStore(Scenario):
    def setup(self, at: Path) -> None:
        opened(at).close()

    def finish(self, at: Path) -> None:
        store = opened(at)
        sound(store)
        store.create_run(new("zz"))
        sound(store)
        store.close()


class Submit(_OnStore):
    """A run with an idempotency key: it is there as a whole or not at all, and asking again gives one run."""

    name = "submit"

    def act(self, at: Path) -> None:
        store = opened(at)
        store.create_run(new("a1", idempotency_key="k", request_hash="h"))
        store.close()

    def check(self, at: Path) -> str:
        store = opened(at)
        sound(store)
        heads = store.runs().heads
        state = "after" if heads else "before"
        assert [h["run"] for h in heads] == ["a1"] * len(heads)
        if heads:
            assert dump(store, "a1")["records"][0]["events"][0]["type"] == "run.created"
        head, created = store.create_run(new("a2", idempotency_key="k", request_hash="h"))
        assert created == (state == "before")
        assert head["run"] == "a1" or created  # before the key was reserved, the new plan is as good as the old
        assert len(store.runs().heads) == 1
        store.close()
        return state


COMMIT = Commit(
    events=[draft("task.done", "a", output=0), draft("run.done")],
    items=[{"task": "m", "index": 0, "ok": True, "key": "k", "output": 1}],
    calls=[{"key": "a/-/1", "kind": "response", "ok": True, "answer": 1}],
    payloads=[{"out": "x" * 2000}, "answer"],
    state="done",
    release=True,
)


class OneCommit(_OnStore):
    """P2: checkpoint, state, events and the lists of runs are one."""

    name = "commit"

    def setup(self, at: Path) -> None:
        store = opened(at)
        store.create_run(new())
        store.claim(RUN, {"pid": 1})
        (at / "before.json").write_text(json.dumps(dump(store, RUN)))
        store.close()

    def act(self, at: Path) -> None:
        from po_jupyter.store.protocol import Lease

        store = opened(at)
        store.commit(Lease(RUN, 1), COMMIT)
        store.close()

    def check(self, at: Path) -> str:
        store = opened(at)
        sound(store)
        now = dump(store, RUN)
        before = json.loads((at / "before.json").read_text())
        store.close()
        if now == before:
            return "before"
        assert now["head"] == {**before["head"], "state": "done", "n": 2, "offset": 3, "holder": None}
        assert [e["type"] for e in now["records"][1]["events"]] == ["task.done", "run.done"]
        assert now["records"][1]["payloads"] == COMMIT.payloads
        assert now["records"][1]["items"][0]["output"] == [2, 1]
        return "after"


class Delete(_OnStore):
    """A run is deleted with everything that is its own, or not at all."""

    name = "delete"

    def setup(self, at: Path) -> None:
        store = opened(at)
        store.create_run(new(idempotency_key="k", request_hash="h"))
        store.commit(store.claim(RUN, {"pid": 1}), COMMIT)
        store.close()

    def act(self, at: Path) -> None:
        store = opened(at)
        store.delete_run(RUN)
        store.close()

    def check(self, at: Path) -> str:
        store = opened(at)
        try:
            sound(store)
            if store.runs().heads:
                assert dump(store, RUN)["head"]["state"] == "done"
                return "before"
            for read in (store.head, store.definition, store.records):
                try:
                    read(RUN)
                except NotFound:
                    continue
                raise AssertionError("half a run")
            return "after"
        finally:
            store.close()


# -- files beside the store ----------------------------------------------------------------------------
def _tree(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


class _Folder(Scenario):
    nested = True
    seed = "tickets-seed.json"

    def setup(self, at: Path) -> None:
        opened(at).close()
        (at / "inbox" / "pending").mkdir(parents=True)
        (at / "inbox" / "pending" / self.seed).write_bytes(b"{}")

    def recover(self, at: Path) -> None:
        store = opened(at)
        outcomes = intake.open_intents(at / "inbox", store).recover()
        assert not [o for o in outcomes if o.result == "stuck"], outcomes
        store.close()

    def take_in(self, at: Path, run: str = "a1") -> tuple[Head, bool]:
        store = opened(at)
        intents = intake.open_intents(at / "inbox", store)
        key = f"inbox {intake.identity_of(intents, self.seed)}"
        try:
            planned = new(run, idempotency_key=key, request_hash="h")
            return intake.take_in(intents, store, planned, self.seed)
        finally:
            store.close()

    def files(self, at: Path) -> list[str]:
        files = list(_tree(at / "inbox"))
        assert not [name for name in files if name.startswith(LOG)], files
        return files


class TakeIn(_Folder):
    """Seed moved, run created, definition kept: all three or none; and the seed makes no second run."""

    name = "move"

    def act(self, at: Path) -> None:
        self.take_in(at)

    def check(self, at: Path) -> str:
        store = opened(at)
        heads = store.runs().heads
        sound(store)
        store.close()
        files = self.files(at)
        if heads:
            assert [h["run"] for h in heads] == ["a1"]
            assert files == ["current/a1/definition.json", f"current/a1/{self.seed}"], files
            return "after"
        assert files == [f"pending/{self.seed}"]
        return "before"

    def finish(self, at: Path) -> None:
        if self.files(at)[0].startswith("pending"):
            # The key may be reserved for the id that was planned first: the file follows the run.
            self.take_in(at, "b2")
        store = opened(at)
        runs = [h["run"] for h in store.runs().heads]
        store.close()
        assert len(runs) == 1
        assert self.files(at) == [f"current/{runs[0]}/definition.json", f"current/{runs[0]}/{self.seed}"]


class Careless(TakeIn):
    """The same without an intent. There is an instant at which the file is gone and no run is there."""

    name = "careless"
    sound = False

    def act(self, at: Path) -> None:
        store = opened(at)
        tree = intake.open_intents(at / "inbox", store).tree
        tree.move(f"pending/{self.seed}", f"current/a1/{self.seed}")
        tree.write("current/a1/definition.json", b"{}")
        store.create_run(new("a1"))
        store.close()


class PutAway(_Folder):
    """A finished run's files go from current to complete, with the result, at once."""

    name = "move-complete"

    def setup(self, at: Path) -> None:
        super().setup(at)
        self.take_in(at)

    def act(self, at: Path) -> None:
        store = opened(at)
        assert intake.put_away(intake.open_intents(at / "inbox", store), "a1", result={"state": "done"})
        store.close()

    def check(self, at: Path) -> str:
        files = self.files(at)
        names = ["definition.json", "result.json", self.seed]
        if files == [f"complete/a1/{name}" for name in names]:
            return "after"
        assert files == [f"current/a1/{name}" for name in names if name != "result.json"]
        return "before"

    def finish(self, at: Path) -> None:
        store = opened(at)
        intake.put_away(intake.open_intents(at / "inbox", store), "a1", result={"state": "done"})
        store.close()
        assert self.check(at) == "after"


class Reject(_Folder):
    """A rejected seed has its reason beside it."""

    name = "move-rejected"

    def act(self, at: Path) -> None:
        store = opened(at)
        intents = intake.open_intents(at / "inbox", store)
        assert intake.reject(intents, self.seed, {"code": "invalid_seed"}) == self.seed
        store.close()

    def check(self, at: Path) -> str:
        files = self.files(at)
        if files == [f"pending/{self.seed}"]:
            return "before"
        assert files == [f"rejected/{self.seed}", f"rejected/{self.seed}.reason.json"]
        return "after"


# -- a store of an older version -----------------------------------------------------------------------
def _upper(store: Any) -> None:
    """A migration of several transactions; what it did already it does not do again."""
    for name in store.names("old"):
        store.put("new", name, str(store.get("old", name)).upper())


def _drop(store: Any) -> None:
    for name in store.names("old"):
        store.drop("old", name)


class Migration(Scenario):
    """R2.3: a store of an older version becomes today's, whatever happens on the way."""

    name = "migration"
    nested = True
    states = frozenset({"after"})  # whoever opens it goes on

    def setup(self, at: Path) -> None:
        store = opened(at)
        for name in ("a", "b"):
            store.put("old", name, name)
        store.create_run(new())
        store.close()

    def act(self, at: Path) -> None:
        migrations.MIGRATIONS = (("upper", _upper), ("drop", _drop))
        opened(at).close()

    recover = act

    def check(self, at: Path) -> str:
        store = opened(at)
        assert [store.get("new", name) for name in store.names("new")] == ["A", "B"]
        assert store.names("old") == []
        assert store._at(-1, lambda rows: rows.read(migrations.ROW))["migrations"] == ["upper", "drop"]
        sound(store)
        store.close()
        return "after"


# -- runs ------------------------------------------------------------------------------------------------
class Logged(FakeProvider):
    """The fake provider with the memory of a server: what was asked survives the one who asked."""

    def __init__(self, log: Path) -> None:
        super().__init__(())
        self._log = log

    async def chat(self, request: ChatRequest, *, on_text: OnText | None = None) -> ChatResponse:
        fd = os.open(self._log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(fd, (request.messages[-1].content + "\n").encode())
        os.close(fd)
        return await super().chat(request, on_text=on_text)


class _Run(Scenario):
    """A run from a known state to its end, killed at every point; a second worker takes it to the same end."""

    tasks: ClassVar[list[dict[str, Any]]]
    states = frozenset({"pending", "running", "waiting", "done"})

    def bench(self, at: Path) -> Bench:
        bench = Bench(at, opened(at))
        bench.fake = Logged(at / "asked.log")
        return bench

    def setup(self, at: Path) -> None:
        bench = self.bench(at)
        bench.create(self.tasks, {"rows": [1, 2, 3]})
        bench.store.close()

    def drive(self, bench: Bench) -> str:
        return asyncio.run(bench.go())

    def act(self, at: Path) -> None:
        bench = self.bench(at)
        self.drive(bench)
        bench.store.close()

    def check(self, at: Path) -> str:
        bench = self.bench(at)
        sound(bench.store)
        history = read_history(bench.store, RUN)
        state = bench.store.head(RUN)["state"]
        if state in ENDED:
            assert history.state.state == state
        self.check_state(bench)
        (at / "recorded.json").write_text(json.dumps(self.recorded(bench)))
        bench.store.close()
        return state

    def recorded(self, bench: Bench) -> list[str]:
        """The prompts whose answer the journal has: the fake provider says a prompt back."""
        prompts = []
        for record in bench.records():
            for call in record["calls"]:
                if call["kind"] == "response":
                    prompts.append(bench.store.payload(RUN, Ref(*call["answer"])))
        return prompts

    def check_state(self, bench: Bench) -> None: ...

    def finish(self, at: Path) -> None:
        before = (at / "asked.log").read_text().split() if (at / "asked.log").exists() else []
        recorded = json.loads((at / "recorded.json").read_text())
        bench = self.bench(at)
        if bench.store.head(RUN)["state"] not in ENDED:
            assert self.drive(bench) == "done"
        again = (at / "asked.log").read_text().split()[len(before) :] if (at / "asked.log").exists() else []
        assert not set(again) & set(recorded), "a recorded call was sent again (P3)"
        assert all(n <= 2 for n in Counter([*before, *again]).values())
        sound(bench.store)
        self.check_state(bench)
        self.check_end(bench)
        bench.store.close()

    def check_end(self, bench: Bench) -> None:
        state = read_history(bench.store, RUN).state
        assert {t.state for t in state.tasks.values()} <= {"done", "skipped"}
        done = Counter(e["task"] for e in bench.events("task.done"))
        assert set(done.values()) == {1}


def _python(name: str, body: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "source": f"def integration(ctx):\n    {body}\n", **more}


class Artifact(_Run):
    """Artifacts and the checkpoint of their task: both or neither, and nothing else is left at the end."""

    name = "artifact"
    states = frozenset({"pending", "running", "done"})
    tasks: ClassVar[list[dict[str, Any]]] = [
        _python("one", "ctx.io.write_artifact('a.txt', 'a'); ctx.io.write_artifact('d/b.txt', 'b')"),
        _python("two", "return ctx.io.read_artifact('a.txt') + ctx.io.read_artifact('d/b.txt')"),
        _python("rows", "ctx.io.write_artifact(f'{ctx.item}.txt', str(ctx.item))", for_each="{{ seed.rows }}"),
    ]

    def check_state(self, bench: Bench) -> None:
        state = read_history(bench.store, RUN).state
        expected = {"one": ["a.txt", "d/b.txt"], "rows": ["1.txt", "2.txt", "3.txt"]}
        for name, task in state.tasks.items():
            names = expected.get(name, []) if task.state == "done" else []
            assert sorted(entry["name"] for entry in task.artifacts) == names
        for entry in artifacts_by_name(state).values():
            data = (bench.tmp / "runs" / RUN / "artifacts" / entry["path"]).read_bytes()
            assert (len(data), hashlib.sha256(data).hexdigest()) == (entry["bytes"], entry["sha256"])

    def finish(self, at: Path) -> None:
        super().finish(at)
        bench = self.bench(at)
        history = read_history(bench.store, RUN)
        root = at / "runs" / RUN / "artifacts"
        assert sorted(_tree(root)) == sorted(e["path"] for e in artifacts_by_name(history.state).values())
        bench.store.close()

    def check_end(self, bench: Bench) -> None:
        super().check_end(bench)
        state = read_history(bench.store, RUN).state
        assert bench.store.payload(RUN, Ref(*(state.tasks["two"].output or ()))) == "ab"


class SharedArtifact(Artifact):
    """The same where nodes share files: whatever a commit lists is in the shared place, and the node that goes on has
    nothing of the one that died. What that one put for nothing is cleaned away."""

    name = "shared-artifact"
    tasks: ClassVar[list[dict[str, Any]]] = [
        _python("one", "ctx.io.write_artifact('a.txt', 'a')"),
        _python("rows", "ctx.io.write_artifact('b.txt', 'b')", for_each="{{ seed.rows[:1] }}"),
        _python("two", "return ctx.io.read_artifact('a.txt') + ctx.io.read_artifact('b.txt')"),
    ]
    node = "one"

    def setup(self, at: Path) -> None:
        (at / "shared").mkdir()
        super().setup(at)

    def bench(self, at: Path) -> Bench:
        bench = Bench(at / self.node, opened(at))
        bench.fake = Logged(at / "asked.log")
        files = SharedFiles(bench.store, DirectoryObjects(at / "shared"))
        bench.share = DirectShare(files, RUN, bench.tmp / "runs" / RUN)
        return bench

    def check_state(self, bench: Bench) -> None:
        files = SharedFiles(bench.store, DirectoryObjects(bench.tmp.parent / "shared"))
        there = {(found.fence, found.sha256): found.info.key for found in files.run_objects(RUN)}
        for entry in read_history(bench.store, RUN).listed:
            _, fence, digest = shared_file(entry)
            data = (bench.tmp.parent / "shared" / there[fence, digest]).read_bytes()
            assert (len(data), hashlib.sha256(data).hexdigest()) == (entry["bytes"], entry["sha256"])

    def finish(self, at: Path) -> None:
        self.node = "two"
        _Run.finish(self, at)
        store = opened(at)
        files = SharedFiles(store, DirectoryObjects(at / "shared"))
        sweep_shared(files, store, ())
        listed = {shared_file(entry)[1:] for entry in read_history(store, RUN).listed}
        assert {(found.fence, found.sha256) for found in files.run_objects()} == listed
        store.close()


class SharedDelete(_OnStore):
    """A run that is deleted takes what it shared with it, at the next cleaning if need be; never before it is gone."""

    name = "shared-delete"

    def setup(self, at: Path) -> None:
        (at / "shared").mkdir()
        store, files = self._opened(at)
        for run in (RUN, "0193f00000000000abcd00"):
            store.create_run(new(run))
            lease = store.claim(run, {"pid": 1})
            kept = []
            for name in ("a", "b"):
                path = at / "runs" / run / "artifacts" / "t" / f"1-{lease.fence}" / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(name)
                digest = hashlib.sha256(name.encode()).hexdigest()
                kept.append(RunFile.of(f"artifacts/t/1-{lease.fence}/{name}", lease.fence, digest))
            files.keep(run, at / "runs" / run, kept)
            store.commit(lease, Commit(events=[draft("run.done")], state="done", release=True))
        store.close()

    def _opened(self, at: Path) -> tuple[KeyedStore, SharedFiles]:
        store = opened(at)
        return store, SharedFiles(store, DirectoryObjects(at / "shared"))

    def _cleaner(self, at: Path, store: KeyedStore, files: SharedFiles) -> RunCleaner:
        return RunCleaner(Settings(data_dir=at), store, RunProjections(store), files)

    def act(self, at: Path) -> None:
        structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
        store, files = self._opened(at)
        head = store.head(RUN)
        self._cleaner(at, store, files).delete(Deletion(RUN, "done", "n", head["updated_at"], 0, "age"))
        store.close()

    def recover(self, at: Path) -> None:
        shared_sweep._NEW = 0.0
        store, files = self._opened(at)
        self._cleaner(at, store, files).sweep()
        store.close()

    def check(self, at: Path) -> str:
        store, files = self._opened(at)
        runs = {head["run"] for head in store.runs().heads}
        assert Counter(found.run for found in files.run_objects()) == dict.fromkeys(runs, 2)
        store.close()
        return "before" if RUN in runs else "after"


class Gate(_Run):
    """A gate opens with its task's commit, is decided once, and the run goes on; no call is paid twice."""

    name = "gate"
    tasks: ClassVar[list[dict[str, Any]]] = [
        {"name": "draft", "prompt": "draft", "gate": {"message": "look"}},
        {"name": "send", "prompt": "send"},
    ]

    def drive(self, bench: Bench) -> str:
        outcome = super().drive(bench)
        if outcome == "waiting":
            if read_history(bench.store, RUN).state.tasks["draft"].gate == "open":
                decided = draft("gate.decided", "draft", decision="approve", note="", by="me")
                bench.store.request(RUN, [decided, draft("run.resumed")], state="pending")
            outcome = super().drive(bench)
        return outcome

    def check_state(self, bench: Bench) -> None:
        types = Counter(bench.types())
        state = read_history(bench.store, RUN).state
        assert types["gate.opened"] == types["task.done"] - (state.tasks["send"].state == "done")
        assert (state.tasks["draft"].gate is not None) == (state.tasks["draft"].state == "done")

    def check_end(self, bench: Bench) -> None:
        super().check_end(bench)
        types = Counter(bench.types())
        assert (types["gate.opened"], types["gate.decided"]) == (1, 1)


class Control(_Run):
    """B11: what a task asks of its run is applied with its completion, once."""

    name = "control"
    states = frozenset({"pending", "running", "done"})
    tasks: ClassVar[list[dict[str, Any]]] = [
        _python(
            "plan",
            "ctx.control.add({'name': 'extra', 'prompt': 'extra'}); ctx.control.skip('never', 'why')",
        ),
        {"name": "never", "prompt": "never"},
        {"name": "last", "prompt": "last"},
    ]

    def check_state(self, bench: Bench) -> None:
        types = Counter(bench.types())
        state = read_history(bench.store, RUN).state
        planned = state.tasks["plan"].state == "done"
        assert ("extra" in state.tasks) == planned == (state.tasks["never"].state == "skipped")
        assert (types["tasks.added"], types["task.skipped"]) == (planned, planned)


class KeyedCalls(_Run):
    """A run whose calls are told by their keys in the journal: prompts are equal, or answers do not say them back."""

    states = frozenset({"pending", "running", "done"})

    def recorded(self, bench: Bench) -> list[str]:
        return self.answered(bench)

    def answered(self, bench: Bench) -> list[str]:
        return [
            call["key"] for record in bench.records() for call in record["calls"] if call["kind"] == "response"
        ]

    def finish(self, at: Path) -> None:
        bench = self.bench(at)
        before, recorded = len(list(bench.records())), json.loads((at / "recorded.json").read_text())
        if bench.store.head(RUN)["state"] not in ENDED:
            assert self.drive(bench) == "done"
        sent = [c["key"] for r in bench.records()[before:] for c in r["calls"] if c["kind"] == "intent"]
        assert not set(sent) & set(recorded), "a recorded call was sent again (P3)"
        sound(bench.store)
        self.check_end(bench)
        bench.store.close()


class Votes(KeyedCalls):
    """Votes and cascades: whatever dies where, the same outcomes, and no vote that was answered is asked for again."""

    name = "votes"
    tasks: ClassVar[list[dict[str, Any]]] = [
        {
            "name": "vote", "for_each": "{{ seed.rows }}", "prompt": "vote-{{ item }}", "max_concurrency": 1,
            "votes": {"n": 3, "stop_early": True},
        },
        {
            "name": "unsure", "prompt": "unsure", "llm": [
                {"model": "fake:echo"}, {"model": "fake:echo", "max_tokens": 9, "when": "{{ 'unsure' in output }}"},
            ],
        },
    ]  # fmt: skip

    def check_end(self, bench: Bench) -> None:
        super().check_end(bench)
        items = sorted((item for r in bench.records() for item in r["items"]), key=lambda item: item["index"])
        assert [item["votes"] for item in items] == [{"agreeing": 2, "asked": 2, "n": 3}] * 3
        answered = self.answered(bench)
        assert len(answered) == len(set(answered)) == 8


def over_rows(name: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "for_each": "{{ seed.rows }}", "max_concurrency": 1, **fields}


class Operators(KeyedCalls):
    """Operators: whatever dies where, the same rows, and no question that was answered is asked again."""

    name = "operators"
    tasks: ClassVar[list[dict[str, Any]]] = [
        over_rows("some", where="{{ item > 1 }}"),
        over_rows("steps", group_by={"key": "{{ 1 }}", "tokens": 50}, prompt="{{ 'x' * 60 }} {{ item.rows }}"),
        over_rows("best", top_k={"k": 2, "pairs": True}, prompt="{{ item.left }} {{ item.right }}"),
        over_rows("join", join={"to": "{{ seed.rows }}", "key": "{{ item }}"}, prompt="{{ item.left }}"),
    ]
    rows: ClassVar[Mapping[str, Any]] = {"some": [2, 3], "best": [1, 2]}

    def check_end(self, bench: Bench) -> None:
        super().check_end(bench)
        state = read_history(bench.store, RUN).state
        for task, rows in self.rows.items():
            assert bench.store.payload(RUN, Ref(*state.tasks[task].output or ()))["$rows"] == rows
        answered = self.answered(bench)
        assert len(answered) == len(set(answered))
        items = [(item["task"], item["index"]) for record in bench.records() for item in record["items"]]
        assert len(items) == len(set(items)) == len(answered)


class OperatorsBriefly(Operators):
    """The same with the comparisons alone, which go in rounds."""

    name = "operators-briefly"
    tasks: ClassVar[list[dict[str, Any]]] = [Operators.tasks[2]]
    rows: ClassVar[Mapping[str, Any]] = {"best": [1, 2]}


class Variants(KeyedCalls):
    """Variants of a map: whatever dies where, each row has one outcome of each, and no call is paid for twice."""

    name = "variants"
    tasks: ClassVar[list[dict[str, Any]]] = [
        over_rows("label", variants={"short": {"prompt": "s {{ item }}"}, "long": {"prompt": "l {{ item }}"}}),
    ]

    def check_end(self, bench: Bench) -> None:
        super().check_end(bench)
        items = sorted((item for r in bench.records() for item in r["items"]), key=lambda item: item["index"])
        assert [(item["index"], item["row"]) for item in items] == [(n, n // 2) for n in range(6)]
        said = [bench.store.payload(RUN, Ref(*item["output"])) for item in items]
        assert said == [f"echo: {variant} {row}" for row in (1, 2, 3) for variant in ("s", "l")]
        answered = self.answered(bench)
        assert len(answered) == len(set(answered)) == 6


class Judged(Votes):
    """Scores and judges: whatever dies where, each row has the same scores, and no verdict is paid for twice."""

    name = "judged"
    tasks: ClassVar[list[dict[str, Any]]] = [
        {
            "name": "vote", "for_each": "{{ seed.rows }}", "prompt": "label {{ item }}", "max_concurrency": 1,
            "score": [
                {"expect": "{{ 'echo: label ' ~ item }}", "metrics": ["exact", "f1"]},
                {"judge": "good? {{ output }}", "scale": [1, 5]},
            ],
        },
        {"name": "alone", "prompt": "alone", "score": {"judge": "good? {{ output }}", "name": "good"}},
    ]  # fmt: skip

    def check_end(self, bench: Bench) -> None:
        _Run.check_end(self, bench)
        items = sorted((item for r in bench.records() for item in r["items"]), key=lambda item: item["index"])
        assert [item["scores"]["values"] for item in items] == [{"exact": 1.0, "f1": 1.0, "judge": 1.0}] * 3
        (done,) = (e["data"] for e in bench.events("task.done") if e["task"] == "alone")
        assert done["scores"]["values"] == {"good": 0.0}
        answered = self.answered(bench)
        assert len(answered) == len(set(answered)) == 8


# -- the watch folder ------------------------------------------------------------------------------------
class TakeInArchive(Scenario):
    """B9: a seed with artifacts, by the folder itself. One run with its artifacts, and no half of either."""

    name = "inbox"

    def folder(self, at: Path, store: DiskStore) -> InboxFolder:
        structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))  # the sweep reads stdout
        settings = Settings(data_dir=at / "data", inbox_dir=at / "inbox", inbox_stable=0)
        folder = InboxFolder(settings, store, PipelineRegistry(store), owner="me")
        folder.open()
        return folder

    def setup(self, at: Path) -> None:
        store = opened(at)
        pipeline = {"name": "p", "tasks": [{"name": "t", "prompt": "x", "llm": "fake:echo"}]}
        PipelineRegistry(store).put(validate_pipeline(pipeline), "me")
        folder = self.folder(at, store)
        with zipfile.ZipFile(folder.pending / "a-seed.zip", "w") as packed:
            packed.writestr("seed.json", json.dumps({"name": "n", "pipeline": "p", "data": {}}))
            packed.writestr("artifacts/a.txt", "A")
            packed.writestr("artifacts/b/c.txt", "C")
        folder.close()
        store.close()

    def act(self, at: Path) -> None:
        store = opened(at)
        folder = self.folder(at, store)
        for name in folder.ready()[0]:
            assert folder.take_in(name).head is not None
        folder.close()
        store.close()

    def recover(self, at: Path) -> None:
        store = opened(at)
        self.folder(at, store).close()
        store.close()

    def check(self, at: Path) -> str:
        store = opened(at)
        sound(store)
        heads = store.runs().heads
        inbox, artifacts = at / "inbox", at / "data" / "runs"
        files = sorted(p.relative_to(inbox).as_posix() for p in inbox.rglob("*.*") if p.is_file())
        store.close()
        if not heads:
            assert files == [".po-lock", "pending/a-seed.zip"], files
            return "before"
        (run,) = (h["run"] for h in heads)
        assert files == [".po-lock", f"current/{run}/a-seed.zip", f"current/{run}/definition.json"], files
        artifacts = artifacts / run / "given"
        paths = [p for p in artifacts.rglob("*") if p.is_file()]
        texts = {p.relative_to(artifacts).as_posix(): p.read_text() for p in paths}
        assert texts == {"a.txt": "A", "b/c.txt": "C"}, texts
        assert [p.name for p in (at / "data" / "runs").iterdir()] == [run]
        return "after"

    def finish(self, at: Path) -> None:
        self.act(at)
        assert self.check(at) == "after"


class Shards(Scenario):
    """A map whose rows are shared out to child runs: whatever dies where, its outcomes, its bill and what was asked are
    those of a map that nobody killed."""

    name = "shards"
    drains_at = 2
    states = frozenset({"after"})  # whoever opens it goes on

    def _family(self, at: Path, run: str = RUN) -> Any:
        from tests.support.shards import Family

        family = Family(at, opened(at))
        family.run = run
        family.fake = Logged(at / "asked")  # type: ignore[assignment]
        return family

    def setup(self, at: Path) -> None:
        opened(at).close()
        family = self._family(at)
        task = {"name": "m", "for_each": "{{ seed.rows }}", "prompt": "say {{ item }}", "max_concurrency": 1}
        family.create([{**task, "shards": 2}], {"rows": [f"row {i}" for i in range(4)]})
        family.store.close()

    def act(self, at: Path) -> None:
        asyncio.run(self._go(at))

    async def _go(self, at: Path) -> None:
        family = self._family(at)
        # One after the other, so that the points come in the same order each time.
        family.alone, family.drains_at = True, self.drains_at
        while family.store.head(RUN)["state"] not in ENDED:
            for head in family.store.active():
                if "parent" in head:
                    await family.work_off(head["run"])
            await family.go()
        family.store.close()

    recover = act

    def check(self, at: Path) -> str:
        store = opened(at)
        sound(store)
        family = self._family(at)
        assert [(row["ok"], row["index"]) for row in family.rows("m")] == [(True, i) for i in range(4)]
        children = family.children()
        assert len(children) == 2
        assert {store.head(run)["state"] for run in children} == {"done"}
        asked = Counter((at / "asked").read_text().split("\n")[:-1])
        usage = read_history(store, RUN).state.usage
        # A call in flight at the kill is sent again once: its outcome is unknown, and counted as that.
        assert usage.calls - usage.unknown == 4, (usage, asked)
        assert sum(asked.values()) <= usage.calls, (usage, asked)
        assert sorted(item["index"] for record in store.records(RUN) for item in record["items"]) == [
            0,
            1,
            2,
            3,
        ]
        family.store.close()
        store.close()
        return "after"


class ShardsBriefly(Shards):
    """The same at the points that it alone has."""

    name = "shards-briefly"
    only = "shard"


# -- schedules -------------------------------------------------------------------------------------------
class ScheduledSlots(Scenario):
    """G12: two slots that were missed, each made up for, from new files: one run each, and each file in one of them."""

    name = "schedule"

    def clockwork(self, at: Path) -> Clockwork:
        structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))  # the sweep reads stdout
        clockwork = Clockwork(at, self.store(at))
        clockwork.now += timedelta(hours=2)
        return clockwork

    def store(self, at: Path) -> Store:
        """In PostgreSQL where a file says so."""
        place = at / "url"
        if not place.exists():
            return opened(at)
        from po_jupyter.store.postgres.store import PostgresStore

        return PostgresStore(place.read_text())

    def sound(self, store: Store) -> None:
        if isinstance(store, DiskStore):
            sound(store)

    def setup(self, at: Path) -> None:
        clockwork = self.clockwork(at)
        (at / "project" / "a.csv").write_text("text\na\n")
        clockwork.now -= timedelta(hours=2)
        clockwork.add(pipeline="rows", missed="all", seed={"files": "*.csv", "only_new": True})
        clockwork.store.close()

    def act(self, at: Path) -> None:
        clockwork = self.clockwork(at)
        clockwork.look()
        (at / "project" / "b.csv").write_text("text\nb\n")
        clockwork.end_all()
        clockwork.look()
        clockwork.store.close()

    def check(self, at: Path) -> str:
        clockwork = self.clockwork(at)
        self.sound(clockwork.store)
        slots = [head["name"].rpartition(" ")[2] for head in clockwork.runs()]
        assert len(set(slots)) == len(slots), slots
        clockwork.store.close()
        return "after" if len(slots) == 2 else "before"

    def finish(self, at: Path) -> None:
        clockwork = self.clockwork(at)
        for name in "ab":
            if name == "a" or len(clockwork.runs()) == 1:
                clockwork.look()
                (at / "project" / "b.csv").write_text("text\nb\n")
            clockwork.end_all()
        clockwork.look()
        assert clockwork.record()["waiting"] == []
        assert clockwork.told() == [("03-02T13:00", "run"), ("03-02T14:00", "run")]
        runs = clockwork.runs()
        seeds = [clockwork.store.definition(head["run"])["seed"]["data"]["rows"] for head in runs]
        assert seeds == [[{"text": "b"}], [{"text": "a"}]], seeds
        assert len(clockwork.store.names("schedule-file")) == 2
        self.sound(clockwork.store)
        clockwork.store.close()


class ScheduledQuery(ScheduledSlots):
    """Two slots with the new rows of a query: each row in one run."""

    name = "schedule-sql"
    only = "schedule."

    def clockwork(self, at: Path) -> Clockwork:
        os.environ["SWEEP_URL"] = f"sqlite:///{at}/tickets.db"
        return super().clockwork(at)

    def insert(self, at: Path, text: str) -> None:
        connection = sqlite3.connect(at / "tickets.db")
        with connection:
            connection.execute("CREATE TABLE IF NOT EXISTS tickets (id INTEGER PRIMARY KEY, text TEXT UNIQUE)")
            connection.execute("INSERT OR IGNORE INTO tickets (text) VALUES (?)", [text])
        connection.close()

    def setup(self, at: Path) -> None:
        clockwork = self.clockwork(at)
        self.insert(at, "a")
        clockwork.now -= timedelta(hours=2)
        source = {"sql": "SELECT id, text FROM tickets", "db": "env:SWEEP_URL", "new_by": "id"}
        clockwork.add(pipeline="rows", missed="all", seed=source)
        clockwork.store.close()

    def act(self, at: Path) -> None:
        clockwork = self.clockwork(at)
        clockwork.look()
        self.insert(at, "b")
        clockwork.end_all()
        clockwork.look()
        clockwork.store.close()

    def finish(self, at: Path) -> None:
        self.act(at)
        clockwork = self.clockwork(at)
        clockwork.end_all()
        clockwork.look()
        assert clockwork.record()["waiting"] == []
        assert clockwork.told() == [("03-02T13:00", "run"), ("03-02T14:00", "run")]
        seeds = [clockwork.store.definition(head["run"])["seed"]["data"]["rows"] for head in clockwork.runs()]
        assert [[row["text"] for row in rows] for rows in seeds] == [["b"], ["a"]], seeds
        self.sound(clockwork.store)
        clockwork.store.close()


# -- pipelines in pipelines ---
class Subpipeline(Shards):
    """A task that runs a pipeline: whatever dies where, there is one run of it, its outputs are those of the task, and
    its bill is in that of the whole once."""

    name = "subpipeline"

    def setup(self, at: Path) -> None:
        opened(at).close()
        family = self._family(at)
        inner = {"name": "inner", "llm": {"model": "fake:echo"}, "tasks": [
            {"name": "a", "prompt": "say {{ seed.x }}"}, {"name": "b", "prompt": "again {{ tasks.a }}"},
        ]}  # fmt: skip
        family.create([{"name": "t", "pipeline": inner, "seed": {"x": "{{ seed.n }}"}}], {"n": 1})
        family.store.close()

    drains_at = 1

    def check(self, at: Path) -> str:
        store = opened(at)
        sound(store)
        family = self._family(at)
        (child,) = family.children()
        assert {store.head(run)["state"] for run in (RUN, child)} == {"done"}
        history = read_history(store, RUN)
        task = history.state.tasks["t"]
        assert task.output is not None
        assert store.payload(RUN, Ref(*task.output)) == {"a": "echo: say 1", "b": "echo: again echo: say 1"}
        usage = history.state.usage
        assert usage == read_history(store, child).state.usage
        assert usage.calls - usage.unknown == 2, usage
        asked = (at / "asked").read_text().split("\n")[:-1]
        assert 2 <= len(asked) <= usage.calls, (usage, asked)
        assert history.spent.of_tasks()["t"] == sum_of(read_history(store, child).spent.of_tasks())
        family.store.close()
        store.close()
        return "after"


def sum_of(amounts: dict[str, Amount]) -> Amount:
    total = Amount()
    for amount in amounts.values():
        total = total.plus(amount)
    return total


class SubpipelineBriefly(Subpipeline):
    """The same at the points that it alone has."""

    name = "subpipeline-briefly"
    only = "pipeline"
