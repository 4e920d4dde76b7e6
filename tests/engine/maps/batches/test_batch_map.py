"""`mode: batch`: rows of a map through the batch APIs of OpenAI, Anthropic, Gemini and Mistral (G4)."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.config import Price, Settings
from po_jupyter.engine.maps.batches.api_client import BatchApi
from po_jupyter.engine.replay.history import read_history
from po_jupyter.engine.run.executor import RunExecutor
from po_jupyter.engine.run.session import RunSession, open_session
from po_jupyter.errors import StaleFence
from po_jupyter.llm.money.pricing import LIST_PRICES
from po_jupyter.llm.providers.registry import Providers
from po_jupyter.llm.wire.http import Http
from po_jupyter.model.run.events import draft
from po_jupyter.store.disk.call_cache import AnswerCache
from po_jupyter.store.keyed.memory import MemoryStore
from po_jupyter.store.protocol import Commit, Lease
from po_jupyter.testing.model_server.batches import BatchServer, Fault
from po_jupyter.testing.model_server.wire import Reply
from tests.support.engine import RUN, Bench, wait_until

pytestmark = pytest.mark.integration

KEY = "sk-batch-0123456789abcdef"
MODELS = {
    "chat": "openai:gpt-4o", "responses": "openai:gpt-5-mini", "anthropic": "anthropic:claude-haiku-4-5",
    "gemini": "gemini:gemini-2.5-flash", "mistral": "mistral:mistral-small-latest",
}  # fmt: skip
# The server of the tests is nobody's own: what it costs has to be said.
PRICES = {ref: Price(**(LIST_PRICES.per_million(ref) or {})) for ref in MODELS.values()}
QUICK = {
    "prices": PRICES,
    "batch_poll_min": 0.01,
    "batch_poll_max": 0.02,
    "batch_grace": 0.05,
    "retry_after_cap": 0.02,
}


@pytest.fixture
def server() -> Iterator[BatchServer]:
    with BatchServer() as started:
        yield started


@pytest.fixture(params=sorted(MODELS))
def model(request: pytest.FixtureRequest) -> str:
    return MODELS[request.param]


class Batched(Bench):
    """A bench whose provider is real, and whose server is ours."""

    server: BatchServer
    more: dict[str, Any]
    cached = False
    asked_at = ""  # instead of the address of the server

    def map(self, model: str, rows: int = 5, **task: Any) -> Batched:
        options = task.pop("options", {})
        data = {"rows": [f"r{i}" for i in range(rows)]}
        given = {
            "name": "m",
            "prompt": "row {{ item }}",
            "for_each": "{{ seed.rows }}",
            "mode": "batch",
            **task,
        }
        llm = {"model": model, "max_tokens": 100, "retry": {"initial_delay": 0.01, "max_delay": 0.02}}
        self.create([given], data, llm=llm, options=options)
        return self

    @asynccontextmanager
    async def worker(self) -> AsyncIterator[RunSession]:
        root, base = self.server.root_url, self.server.base_url
        environ = {"OPENAI_BASE_URL": base, "OPENAI_API_KEY": KEY}
        environ |= {"ANTHROPIC_BASE_URL": root, "ANTHROPIC_API_KEY": KEY}
        environ |= {"GEMINI_BASE_URL": root, "GEMINI_API_KEY": KEY}
        environ |= {"MISTRAL_BASE_URL": base, "MISTRAL_API_KEY": KEY}
        providers = Providers(environ, http=Http())
        providers._own_http = True
        lease = self.store.claim(self.run, {"pid": 1})
        settings = Settings(data_dir=self.tmp, **{**QUICK, **self.more})
        answers = AnswerCache(self.tmp / "cache", max_bytes=2**30, days=30) if self.cached else None
        session = await open_session(
            self.store,
            lease,
            settings=settings,
            providers=providers,
            answers=answers,
            base_url=lambda ref: self.asked_at or root,
        )
        try:
            yield session
        finally:
            await session.aclose()
            await providers.aclose()

    def outputs(self) -> list[Any]:
        return [row["output"] for row in self.output("m")]

    def errors(self) -> dict[int, dict[str, Any]]:
        return {row["index"]: row["error"] for row in self.output("m") if not row["ok"]}


@pytest.fixture
def bench(tmp_path: Path, server: BatchServer) -> Batched:
    made = Batched(tmp_path)
    made.server = server
    made.more = {}
    return made


async def test_rows_go_in_one_batch_at_half_the_price(bench: Batched, server: BatchServer, model: str) -> None:
    """G4: one batch, outputs in row order, each answer a call of the journal, and half of the list price."""
    server.shuffle = True
    bench.map(model)
    assert await bench.go() == "done"
    assert bench.outputs() == [f"echo: row r{i}" for i in range(5)]
    (made,) = server.batches()
    assert len(made.requests) == 5
    usage = bench.state.usage
    assert usage.calls == 5 and usage.unknown == 0
    full = LIST_PRICES.cost_of(usage, model)
    assert full is not None and usage.cost == pytest.approx(full / 2)
    assert [e["type"] for e in bench.events() if e["type"].startswith("batch.")] == [
        "batch.prepared", "batch.submitted", "batch.closed",
    ]  # fmt: skip
    answers = [c for r in bench.records() for c in r["calls"] if c["kind"] == "response"]
    assert len({c["key"] for c in answers}) == 5
    reasons = [e["data"]["reason"] for e in bench.events("task.waiting")]
    assert f"batch of 5 rows at {model.partition(':')[0]}: 0 done" in reasons
    assert not bench.state.open_batches
    assert not list(bench.tmp.rglob("*.jsonl")), "what was sent is not kept a second time"
    text = json.dumps(bench.events()) + json.dumps([r["calls"] for r in bench.records()])
    assert KEY not in text


async def test_uploads_that_would_stay_for_ever_are_deleted_once_all_is_recorded(
    bench: Batched, server: BatchServer, model: str
) -> None:
    """Mistral keeps files until somebody deletes them; those of the others go by themselves."""
    recorded: list[int] = []
    bench.map(model)
    async with bench.worker() as bench.session:
        discard = BatchApi.discard

        async def watched(api: BatchApi, uploads: Any) -> None:
            recorded.append(len(bench.events("batch.closed")))
            await discard(api, uploads)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(BatchApi, "discard", watched)
            await RunExecutor(bench.session).run()
    deleted = [(path, key) for method, path, key in server.requests if method == "DELETE"]
    assert deleted == ([("/files/file-1", KEY)] if model.startswith("mistral:") else [])
    assert recorded == [1] and bench.outputs() == [f"echo: row r{i}" for i in range(5)]


RESULTS = {"anthropic": "/results", "gemini": ":download", "mistral": "/content", "openai": "/content"}


async def test_a_batch_whose_results_were_deleted_holds_nothing_up(
    bench: Batched, server: BatchServer, model: str
) -> None:
    """OpenAI deletes them after 30 days, Gemini after 48 hours: each resume asked for them again and failed."""
    server.faults.append(Fault("GET", RESULTS[model.partition(":")[0]], 404, times=2))
    bench.map(model, failure_threshold=1)
    assert await bench.go() == "done"
    assert len(bench.errors()) == 5 and not bench.state.open_batches
    assert all("are not there any more" in error["message"] for error in bench.errors().values())


async def test_results_that_are_not_there_yet_are_asked_for_again(
    bench: Batched, server: BatchServer, model: str
) -> None:
    server.faults.append(Fault("GET", RESULTS[model.partition(":")[0]], 404))
    bench.map(model)
    assert await bench.go() == "done"
    assert bench.outputs() == [f"echo: row r{i}" for i in range(5)]


async def test_of_two_files_of_results_the_one_that_is_there_is_read(
    bench: Batched, server: BatchServer
) -> None:
    server.reply = lambda body, id: Reply("no", status=400) if id.split("-")[1] == "1" else Reply("yes")
    server.faults.append(Fault("GET", "/files/errors-of", 404, times=2))
    bench.map(MODELS["chat"], failure_threshold=1)
    assert await bench.go() == "done"
    assert bench.outputs() == ["yes", None, "yes", "yes", "yes"]


async def test_an_upload_that_cannot_be_deleted_changes_nothing(bench: Batched, server: BatchServer) -> None:
    server.faults.append(Fault("DELETE", "/files", 500, times=9))
    bench.map(MODELS["mistral"])
    assert await bench.go() == "done"
    assert bench.outputs() == [f"echo: row r{i}" for i in range(5)] and not bench.errors()
    assert sum(method == "DELETE" for method, _, _ in server.requests) == 1, "it is tried once"


SCHEMA = {"type": "object", "required": ["label"], "properties": {"label": {"enum": ["bug", "praise"]}}}


async def test_invalid_answers_are_asked_again_in_a_following_batch(
    bench: Batched, server: BatchServer, model: str
) -> None:
    """B8, G4: with the same words as single calls; `refine.max_attempts` times."""

    def reply(body: dict[str, Any], custom_id: str) -> Any:
        row, round_ = int(custom_id.split("-")[1]), int(custom_id.split("-")[3][:-1])
        if row == 3 or (row == 1 and round_ == 0):
            return {"label": "nothing"}
        return {"label": "bug"}

    server.reply = reply
    bench.map(model, output=SCHEMA, refine={"max_attempts": 2})
    assert await bench.go() == "done"
    assert [len(made.requests) for made in server.batches()] == [5, 2, 1]
    assert bench.outputs() == [{"label": "bug"}] * 3 + [None, {"label": "bug"}]
    assert "asked 3 times" in bench.errors()[3]["message"]
    again = json.dumps(server.batches()[1].requests[0][1])
    assert "Your answer does not fit" in again and "nothing" in again
    assert bench.state.usage.calls == 8


async def test_critique_asks_in_a_batch_too(bench: Batched, server: BatchServer) -> None:
    server.reply = lambda body, custom_id: "too short" if custom_id.endswith("c") else _first_wrong(custom_id)
    bench.map(MODELS["chat"], 2, output=SCHEMA, refine={"max_attempts": 1, "critique": "What of {{ output }}?"})
    assert await bench.go() == "done"
    assert [len(made.requests) for made in server.batches()] == [2, 2, 2]
    assert "too short" in json.dumps(server.batches()[2].requests[0][1])
    assert bench.outputs() == [{"label": "bug"}] * 2


def _first_wrong(custom_id: str) -> Any:
    return {"label": "bug"} if "-1i" in custom_id else {"label": "x"}


async def test_what_a_row_did_not_get_is_its_failure(bench: Batched, server: BatchServer, model: str) -> None:
    """R2.6, P12: missing, twice and refused rows; the others are kept."""
    server.lost, server.twice = {1}, {2}
    server.reply = lambda body, custom_id: (
        Reply(status=400, error=f"no, {KEY}") if custom_id.split("-")[1] == "3" else "good"
    )
    bench.map(model)
    assert await bench.go() == "done"
    errors = bench.errors()
    assert sorted(errors) == [1, 3]
    assert "returned no result for row 1" in errors[1]["message"] and errors[1]["code"] == "model_unavailable"
    assert errors[3]["code"] == "model_refused" and "no, ***" in errors[3]["message"]
    assert bench.outputs() == ["good", None, "good", None, "good"]
    items = [i["index"] for r in bench.records() for i in r["items"]]
    assert sorted(items) == [0, 1, 2, 3, 4]
    assert KEY not in json.dumps(bench.events())


async def test_expired_rows_are_failures_and_a_resume_sends_only_them(
    bench: Batched, server: BatchServer, model: str
) -> None:
    """G4: 24 hours were over."""
    server.finished = 3
    server.expire()
    bench.map(model, failure_threshold=1)
    assert await bench.go() == "done"
    lost = range(5) if model.startswith("gemini") else [3, 4]  # a batch of Gemini's that expired has no results
    assert sorted(bench.errors()) == list(lost)
    assert "expired (" in bench.errors()[3]["message"]
    assert bench.events("batch.closed")[0]["data"]["state"] == "expired"
    server._expire = False
    bench.resume("m")
    assert await bench.go() == "done"
    assert bench.outputs() == [f"echo: row r{i}" for i in range(5)]
    assert [len(made.requests) for made in server.batches()] == [5, len(lost)]


class DyingAtClose(MemoryStore):
    """A store whose worker is killed when all outcomes of its batch are recorded, and the batch is not closed."""

    dies = True

    def commit(self, lease: Lease, commit: Commit) -> Any:
        if self.dies and any(event["type"] == "batch.closed" for event in commit.events):
            raise StaleFence("this process is dead")
        return super().commit(lease, commit)


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("named", [True, False])
async def test_failed_rows_of_a_batch_that_was_not_closed_are_sent_anew(
    tmp_path: Path, server: BatchServer, model: str, named: bool, kept: bool
) -> None:
    """P3: who asks for a row again wants another answer, and not that of the batch before; the others keep theirs."""
    bench = Batched(tmp_path, DyingAtClose())
    bench.server, bench.more = server, {}
    server.reply = lambda body, custom_id: (
        Reply(status=400, error="no") if custom_id.split("-")[1] in "13" else "good"
    )
    bench.map(model)
    with pytest.raises(StaleFence):
        await bench.go()
    bench.store.request(RUN, [draft("run.dead", error={"code": "worker_died", "message": "x"})], state="dead")
    server.reply = lambda body, custom_id: "mended"
    bench.store.dies = False  # type: ignore[attr-defined]
    rows = {"m": {"rows": "1", "done": 0, "failed": 1}}
    bench.resume("m", keep=["m"] if kept else [], **({"rows": rows} if named else {}))
    assert await bench.go() == "done"
    assert sorted(bench.errors()) == ([3] if named else [])
    assert bench.outputs() == ["good", "mended", "good", None if named else "mended", "good"]
    assert [len(made.requests) for made in server.batches()] == [5, 1 if named else 2]
    assert bench.state.tasks["m"].batches == {}
    again = {index: 2 if index == 1 or (index == 3 and not named) else 1 for index in range(5)}
    assert Counter(i["index"] for r in bench.records() for i in r["items"]) == again


async def test_the_threshold_is_judged_at_collection(bench: Batched, server: BatchServer) -> None:
    """DESIGN 7, Maps."""
    server.reply = lambda body, custom_id: Reply(status=400) if int(custom_id.split("-")[1]) < 3 else "x"
    bench.map(MODELS["chat"], failure_threshold=0.2)
    assert await bench.go() == "failed"
    assert bench.state.error is not None and bench.state.error["code"] == "failure_threshold"
    items = bench.state.tasks["m"].items
    assert items is not None and (items.done, items.failed) == (2, 3)


async def test_a_large_map_is_split(bench: Batched, server: BatchServer, model: str, monkeypatch: Any) -> None:
    """G4: by number, and by size."""
    from po_jupyter.llm.providers.anthropic.batches import AnthropicBatches
    from po_jupyter.llm.providers.compatible.mistral import MistralBatches
    from po_jupyter.llm.providers.gemini.batches import GeminiBatches
    from po_jupyter.llm.providers.openai.batches import OpenAIBatches

    for kind in (OpenAIBatches, AnthropicBatches, GeminiBatches, MistralBatches):
        monkeypatch.setattr(kind, "max_requests", 4)
        monkeypatch.setattr(kind, "max_bytes", 700)
    bench.map(model, 10)
    assert await bench.go() == "done"
    assert bench.outputs() == [f"echo: row r{i}" for i in range(10)]
    sizes = [len(made.requests) for made in server.batches()]
    assert sum(sizes) == 10 and 3 <= len(sizes) <= 5 and max(sizes) <= 4


async def test_a_drain_leaves_the_batch_and_the_next_worker_goes_on(
    bench: Batched, server: BatchServer, model: str
) -> None:
    """Done-when 7."""
    server.hold()
    bench.map(model)
    async with bench.worker() as session:
        going = asyncio.create_task(RunExecutor(session).run())
        await wait_until(lambda: session.log.state.tasks["m"].waiting)
        session.signals.drain()
        assert await going == "released"
    server.release()
    assert await bench.go() == "done"
    assert len(server.batches()) == 1
    assert bench.outputs() == [f"echo: row r{i}" for i in range(5)]
    assert bench.state.usage.calls == 5


async def test_a_cancel_ends_the_batch_and_keeps_what_is_finished(
    bench: Batched, server: BatchServer, model: str
) -> None:
    """P12: it is paid for. A resume sends the rest."""
    server.hold()
    server.finished = 2
    bench.map(model)
    async with bench.worker() as session:
        going = asyncio.create_task(RunExecutor(session).run())
        await wait_until(lambda: session.log.state.tasks["m"].batches and server.batches())
        await wait_until(lambda: session.log.state.tasks["m"].waiting)
        bench.store.request(RUN, [draft("run.cancel_requested", by="me")])
        session.signals.cancel_hint()
        assert await going == "cancelled"
        assert session.log.state.usage.calls == 2
    assert [e["type"] for e in bench.events()][-1] == "run.cancelled"
    history = read_history(bench.store, RUN)
    assert sorted(history.rows["m"].indexes()) == [0, 1]
    assert not history.state.open_batches
    server.release()
    bench.resume("m")
    assert await bench.go() == "done"
    assert bench.outputs() == [f"echo: row r{i}" for i in range(5)]
    assert [len(made.requests) for made in server.batches()] == [5, 3]


@pytest.mark.parametrize("status", [0, 500, 504])
async def test_a_lost_answer_to_the_creation_makes_no_second_batch(
    bench: Batched, server: BatchServer, model: str, status: int
) -> None:
    """P3, Done-when 7: the server has it; we did not hear so."""
    server.looks = 3
    server.faults = [Fault("POST", "batch", status, done=True)]
    bench.map(model)
    assert await bench.go() == "done"
    assert len(server.batches()) == 1
    assert bench.outputs() == [f"echo: row r{i}" for i in range(5)]


async def test_a_creation_that_never_came_is_sent_again(
    bench: Batched, server: BatchServer, model: str
) -> None:
    server.faults = [Fault("POST", "batch", 0), Fault("POST", "batch", 429, headers={"retry-after": "0"})]
    bench.map(model)
    assert await bench.go() == "done"
    assert len(server.batches()) == 1


async def test_a_wrong_key_ends_the_task_and_rows_stay_open(
    bench: Batched, server: BatchServer, model: str
) -> None:
    """P11: nothing was sent, nothing failed; the error says what to mend."""
    server.faults = [Fault("POST", "", 401, times=1)]
    bench.map(model)
    assert await bench.go() == "failed"
    assert bench.state.error is not None and bench.state.error["code"] == "model_key"
    assert len(bench.session.history.table("m")) == 0 and server.batches() == []
    assert not bench.state.open_batches
    bench.resume("m")
    assert await bench.go() == "done"


async def test_looks_that_fail_are_repeated(bench: Batched, server: BatchServer, model: str) -> None:
    server.faults = [Fault("GET", "batch", 500, times=3), Fault("GET", "batch", 0)]
    bench.map(model)
    assert await bench.go() == "done"
    assert len(server.batches()) == 1


async def test_a_refused_file_fails_its_lines_and_sends_the_others_again(
    bench: Batched, server: BatchServer
) -> None:
    server.refuse = [{"code": "invalid_json_line", "line": 2, "message": "bad line", "param": None}]
    bench.map(MODELS["chat"])
    assert await bench.go() == "done"
    assert list(bench.errors()) == [1] and "bad line" in bench.errors()[1]["message"]
    assert [len(made.requests) for made in server.batches()] == [5, 4]


@pytest.mark.parametrize("vendor", ["chat", "gemini", "mistral"])
async def test_a_batch_that_is_refused_as_a_whole_leaves_its_rows_open(
    bench: Batched, server: BatchServer, vendor: str
) -> None:
    said = "Enqueued token limit reached"
    server.refuse = [{"code": "token_limit_exceeded", "line": None, "message": said, "param": None}]
    bench.map(MODELS[vendor])
    assert await bench.go() == "failed"
    assert said in str(bench.state.error)
    assert len(bench.session.history.table("m")) == 0
    bench.resume("m")
    assert await bench.go() == "done"


async def test_results_are_asked_for_below_our_own_base_url(bench: Batched, server: BatchServer) -> None:
    """P10: a key goes to its own base URL only. P12: what a gateway's vendor has is collected all the same."""
    with BatchServer() as stranger:
        server.results_at = stranger.root_url
        bench.map(MODELS["anthropic"])
        assert await bench.go() == "done"
        assert stranger.requests == []


async def test_a_budget_sends_as_many_rows_as_fit(bench: Batched, server: BatchServer) -> None:
    """G1: the worst case at a batch's price is set aside before, and settled at collection."""
    bench.map(MODELS["chat"], 10, budget={"tokens": 500})
    assert await bench.go() == "done"
    sizes = [len(made.requests) for made in server.batches()]
    assert len(sizes) > 1 and sum(sizes) == 10 and max(sizes) <= 4


async def test_a_budget_that_is_spent_stops_and_a_larger_one_goes_on(
    bench: Batched, server: BatchServer
) -> None:
    """G1: never exceeded; what is finished is kept."""
    server.reply = lambda body, custom_id: Reply("x", usage=_used(made=server.batches()[-1].vendor))
    bench.map(MODELS["chat"], 10, budget={"tokens": 500})
    assert await bench.go() == "failed"
    error = bench.state.error
    assert error is not None and error["code"] == "budget_exceeded"
    usage = bench.state.usage
    assert 0 < usage.input_tokens + usage.output_tokens <= 500
    assert not bench.state.open_batches
    sent = sum(len(made.requests) for made in server.batches())
    bench.resume("m", budget={"tasks": {"m": {"tokens": 100_000}}})
    assert await bench.go() == "done"
    assert sum(len(made.requests) for made in server.batches()) == 10 and 0 < sent < 10


async def test_the_budget_of_a_day_holds_for_batches_too(bench: Batched, server: BatchServer) -> None:
    """G1: the owner's day has the whole worst case set aside, and what was used once it is known."""
    bench.more = {"daily_tokens": 500}
    bench.map(MODELS["chat"], 10)
    assert await bench.go() == "done"
    sizes = [len(made.requests) for made in server.batches()]
    assert sum(sizes) == 10 and max(sizes) <= 4
    bench.run = RUN[:-1] + "0"
    server.reply = lambda body, custom_id: Reply("x", usage=_used(made="openai"))
    bench.map(MODELS["chat"], 10, prompt="another {{ item }}")
    assert await bench.go() == "failed"
    assert bench.state.error is not None and "a day is spent" in bench.state.error["message"]


async def test_a_cancel_finds_the_batch_whose_answer_was_lost(
    bench: Batched, server: BatchServer, model: str
) -> None:
    """P12, Done-when 7: cancelled while it was not known whether there is a batch."""
    server.hold()
    server.finished = 1
    server.faults = [Fault("POST", "batch", 500, done=True), Fault("GET", "batches", 503, times=10**6)]
    bench.map(model, llm={"retry": {"max_attempts": 20, "initial_delay": 0.05, "max_delay": 0.05}})
    async with bench.worker() as session:
        going = asyncio.create_task(RunExecutor(session).run())
        await asyncio.to_thread(server.wait_for, 1)
        await wait_until(lambda: sum(method == "GET" for method, _, _ in server.requests) > 1)
        bench.store.request(RUN, [draft("run.cancel_requested", by="me")])
        session.signals.cancel_hint()
        await wait_until(lambda: session.log.state.cancel_requested)
        server.faults = []
        if model.startswith("anthropic"):
            server.release()  # which batch it is shows only once it has ended
        assert await going == "cancelled"
    ended = [made.status for made in server.batches()]
    if model.startswith("openai"):
        assert ended == ["cancelled"] and sorted(read_history(bench.store, RUN).rows["m"].indexes()) == [0]
    assert len(ended) == 1


def _used(made: str) -> dict[str, int]:
    return {"prompt_tokens": 10, "completion_tokens": 90, "total_tokens": 100}


async def test_a_restart_in_the_middle_keeps_the_budget(bench: Batched, server: BatchServer) -> None:
    """G1: a batch at its provider counts as its worst case, until its answers say what it was."""
    server.hold()
    bench.map(MODELS["chat"], 4, budget={"tokens": 500})
    async with bench.worker() as session:
        going = asyncio.create_task(RunExecutor(session).run())
        await wait_until(lambda: session.log.state.tasks["m"].waiting)
        session.signals.drain()
        await going
    reserved = bench.events("batch.prepared")[0]["data"]["reserved"]
    assert read_history(bench.store, RUN).spent.of_tasks()["m"].tokens == reserved[1] > 400
    server.release()
    assert await bench.go() == "done"
    usage = bench.state.usage
    spent = read_history(bench.store, RUN).spent.of_tasks()["m"]
    assert spent.tokens == usage.input_tokens + usage.output_tokens < reserved[1]
    assert spent.usd == pytest.approx(usage.cost)


async def test_rows_that_an_earlier_run_paid_for_are_not_sent(bench: Batched, server: BatchServer) -> None:
    """G17: also between batches and single calls."""
    bench.map(MODELS["chat"], 5, options={"limit": 2})
    assert await bench.go() == "done"
    bench.run = RUN[:-1] + "0"
    bench.map(MODELS["chat"], 5)
    assert await bench.go() == "done"
    assert [len(made.requests) for made in server.batches()] == [2, 3]
    items = bench.state.tasks["m"].items
    assert items is not None and items.reused == 2


async def test_rows_that_another_server_answered_are_sent_again(bench: Batched, server: BatchServer) -> None:
    bench.map(MODELS["chat"], 2)
    assert await bench.go() == "done"
    bench.run, bench.asked_at = RUN[:-1] + "0", "https://another.example"
    bench.map(MODELS["chat"], 2)
    assert await bench.go() == "done"
    assert [len(made.requests) for made in server.batches()] == [2, 2]


async def test_the_cache_answers_rows_and_gets_what_batches_bring(bench: Batched, server: BatchServer) -> None:
    """G2: equal rows want answers of their own; a hit is in no batch and costs nothing."""
    numbers = iter(range(100))
    server.reply = lambda body, custom_id: f"answer {next(numbers)}"
    bench.cached = True
    words = (
        "{{ item }}",
        "{{  item  }}",
        "{{item}}",
    )  # the same messages, another definition: no row is reused
    found = []
    for n, (word, rows) in enumerate(zip(words, (3, 3, 4), strict=True)):
        bench.run = RUN[:-1] + str(n)
        bench.map(MODELS["chat"], rows, prompt=f"same {word} x")
        assert await bench.go() == "done"
        found.append(bench.outputs())
    assert [len(made.requests) for made in server.batches()] == [3, 1]
    assert found[0] == found[1] == found[2][:3] and len(set(found[2])) == 4
    usage = bench.state.usage
    assert (usage.calls, usage.cached_calls) == (1, 3)


async def test_equal_rows_get_answers_of_their_own(bench: Batched, server: BatchServer) -> None:
    """G2, P3."""
    numbers = iter(range(100))
    server.reply = lambda body, custom_id: f"answer {next(numbers)}"
    bench.cached = True
    for n, prompt in enumerate(("{{ 'same' }}", "{{ 'sa' ~ 'me' }}")):
        bench.run = RUN[:-1] + str(n)
        bench.map(MODELS["chat"], 4, prompt=prompt)
        assert await bench.go() == "done"
        assert sorted(bench.outputs()) == [f"answer {i}" for i in range(4)]
    assert [len(made.requests) for made in server.batches()] == [4]


async def test_a_provider_without_batches_says_so(bench: Bench) -> None:
    """P11, for a model that was chosen at the start."""
    bench.create(
        [{"name": "m", "prompt": "x", "for_each": "{{ seed.rows }}", "mode": "batch"}], {"rows": [1]},
        options={"model": "fake:echo"},
    )  # fmt: skip
    bench.more = {}
    async with Bench.worker(bench) as session:
        assert await RunExecutor(session).run() == "failed"
        assert "mode: batch" in str(session.log.state.error)
