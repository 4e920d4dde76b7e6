"""R3.2: one trace from the cell over HTTP, queue and worker to each call, with no prompt and no key in it."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from urllib.parse import unquote

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from po_jupyter.errors import InvalidInput
from po_jupyter.orchestrator.environment.variables import worker_environment
from po_jupyter.telemetry import tracing
from po_jupyter.testing.model_server import ModelServer
from tests.support.brokers import PASSWORD, ValkeyServer, running
from tests.support.nodes import WorkerNode
from tests.support.postgres import postgres_server
from tests.support.trace_collector import TraceCollector

pytestmark = pytest.mark.integration

SCRIPT = """
import po_jupyter as po
run = po.connect().submit({
    "name": "p", "llm": {"model": "openai:any-model", "max_tokens": 20},
    "tasks": [
        {"name": "rows", "for_each": "{{ seed.rows }}", "prompt": "the text of a person {{ item }}"},
        {"name": "fail", "source": "def inference(ctx):\\n    raise ValueError('no')\\n", "retry": {"max_attempts": 1}},
    ],
}, seed={"rows": list(range(ROWS))})
print(run.id, run.wait().state)
"""
HEADERS = "authorization=Bearer%20key-of-the-collector"


@pytest.fixture
def traces() -> Iterator[TraceCollector]:
    collector = TraceCollector()
    yield collector
    collector.close()


def run_script(data_dir: Path, model: ModelServer, traces: TraceCollector, rows: int = 3, **more: str) -> str:
    """The id of a run of SCRIPT, with an orchestrator of its own that is stopped at the end."""
    environ = {
        **os.environ, "PO_DATA_DIR": str(data_dir), "OPENAI_BASE_URL": model.base_url, "OPENAI_API_KEY": model.key,
        "OTEL_EXPORTER_OTLP_ENDPOINT": traces.url, "OTEL_EXPORTER_OTLP_HEADERS": HEADERS,
        "OTEL_BSP_SCHEDULE_DELAY": "50",
        **more,
    }  # fmt: skip
    try:
        script = SCRIPT.replace("ROWS", str(rows))
        done = subprocess.run(
            [sys.executable, "-c", script], env=environ, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        run, state = done.stdout.split()
        assert state == "failed"
        return run
    finally:
        subprocess.run([sys.executable, "-m", "po_jupyter", "stop"], env=environ, check=True, timeout=60)


def test_one_trace_over_all_processes(tmp_path: Path, traces: TraceCollector) -> None:
    with ModelServer() as model:
        run = run_script(tmp_path, model, traces)
        client = traces.wait_for("POST runs", root=True)
        work = traces.wait_for("run p")
    (server,) = [span for span in traces.named("POST runs") if span.parent == client.id]
    assert {span.trace for span in traces.spans if span.attributes.get("po.run") == run} == {client.trace}
    assert len({span.pid for span in (client, server, work)}) == 3, "the cell, the server and the worker"
    assert server.parent == client.id and work.parent == server.id and client.parent == ""
    assert traces.wait_for("queue").parent == server.id
    tasks = {span.name: span for span in traces.named("task ")}
    assert {span.parent for span in tasks.values()} == {work.id}
    assert tasks["task fail"].failed and not tasks["task rows"].failed
    rows, calls = traces.named("row rows"), traces.named("chat any-model")
    assert len(rows) == len(calls) == 3
    assert {span.parent for span in rows} == {tasks["task rows"].id}
    assert {span.parent for span in calls} == {span.id for span in rows}
    about = calls[0].attributes
    assert about["gen_ai.operation.name"] == "chat" and about["gen_ai.provider.name"] == "openai"
    assert about["gen_ai.usage.input_tokens"] > 0 and about["gen_ai.response.finish_reasons"] == ["stop"]
    assert traces.headers[-1]["authorization"] == "Bearer key-of-the-collector"
    sent = b"".join(traces.bodies)
    for secret in (model.key, "key-of-the-collector", "the text of a person"):
        assert secret.encode() not in sent, "P10, and prompts only when somebody asks for them"
    files = [p for p in tmp_path.rglob("*") if p.is_file()]
    assert [p for p in files if b"key-of-the-collector" in p.read_bytes()] == []


PROMPTS = """
import po_jupyter as po
client = po.connect()
runs = [
    client.submit({
        "name": "p", "llm": {"model": "openai:any-model", "max_tokens": 20},
        "tasks": [
            {"name": "rows", "for_each": "{{ seed.rows }}", "prompt": "the text of a person {{ item }}, " + str(run)},
            {"name": "sum", "prompt": "and in all " + str(run), "needs": ["rows"]},
        ],
    }, seed={"rows": [1, 2, 3]})
    for run in range(2)
]
for run in runs:
    print(run.id, run.wait().state)
"""


def run_prompts(environ: dict[str, str]) -> list[str]:
    """The ids of two runs of prompts alone, started at once in one program. Its orchestrator goes on."""
    done = subprocess.run(
        [sys.executable, "-c", PROMPTS], env=environ, capture_output=True, text=True, timeout=90, check=False
    )
    assert done.returncode == 0, done.stderr
    ended = [line.split() for line in done.stdout.splitlines()]
    assert [state for _, state in ended] == ["done", "done"]
    return [run for run, _ in ended]


def check_traces(traces: TraceCollector, runs: list[str], *secrets: str) -> set[int]:
    """Each run has one whole trace of its own, from the client's request to its calls; the processes of the runs."""
    pids = set()
    for run in runs:
        spans = [span for span in traces.spans if span.attributes.get("po.run") == run]
        (trace,) = {span.trace for span in spans}
        ids = {span.id: span for span in traces.spans if span.trace == trace}
        (client,) = [span for span in ids.values() if not span.parent]
        assert client.name == "POST runs"
        names = sorted(span.name for span in ids.values())
        assert names == sorted(
            ["POST runs"] * 2
            + ["queue", "run p", "task rows", "task sum"]
            + ["row rows"] * 3
            + ["chat any-model"] * 4
        )
        assert {span.parent for span in ids.values()} - {""} <= set(ids), "no span is below one that is missing"
        above = {span.name: ids[span.parent].name for span in ids.values() if span.parent}
        assert above["task sum"] == "run p" and above["row rows"] == "task rows"
        assert {ids[s.parent].name for s in ids.values() if s.name.startswith("chat")} == {
            "row rows",
            "task sum",
        }
        assert {s.attributes["po.run"] for s in ids.values() if s.name.startswith("chat")} == {run}
        pids |= {span.pid for span in ids.values() if span.name == "run p"}
    sent = b"".join(traces.bodies)
    for secret in ("key-of-the-collector", "the text of a person", "and in all", *secrets):
        assert secret.encode() not in sent
    return pids


def environment(data_dir: Path, model: ModelServer, traces: TraceCollector, **more: str) -> dict[str, str]:
    return {
        **os.environ, "PO_DATA_DIR": str(data_dir), "OPENAI_BASE_URL": model.base_url, "OPENAI_API_KEY": model.key,
        "OTEL_EXPORTER_OTLP_ENDPOINT": traces.url, "OTEL_EXPORTER_OTLP_HEADERS": HEADERS,
        "OTEL_BSP_SCHEDULE_DELAY": "50", **more,
    }  # fmt: skip


def test_runs_in_one_process_have_a_trace_each(tmp_path: Path, traces: TraceCollector) -> None:
    """The shared worker: what is active in one run is nobody's parent in another."""
    with ModelServer(latency=0.05) as model:
        environ = environment(tmp_path, model, traces, PO_SHARED_WORKER="true")
        try:
            runs = run_prompts(environ)
        finally:
            subprocess.run([sys.executable, "-m", "po_jupyter", "stop"], env=environ, check=True, timeout=60)
        assert len(check_traces(traces, runs, model.key)) == 1, "one process had both"


@pytest.mark.slow
def test_a_trace_goes_over_a_broker_to_another_node(tmp_path: Path, traces: TraceCollector) -> None:
    with ModelServer() as model, postgres_server() as database, running(ValkeyServer) as broker:
        store = database.url()
        shared = {"PO_STORE": store, "PO_BROKER": broker.url, "PO_NODE_TTL": "1.5"}
        environ = environment(tmp_path / "api", model, traces, **shared, PO_NODE="api", PO_NODE_WORKS="false")
        own = environment(tmp_path / "worker", model, traces, **shared)
        node = WorkerNode(
            tmp_path / "worker", store, **{k: v for k, v in own.items() if os.environ.get(k) != v}
        )
        try:
            node.ready()
            runs = run_prompts(environ)
            assert node.stop() == 0
        finally:
            node.kill()
            subprocess.run([sys.executable, "-m", "po_jupyter", "stop"], env=environ, check=True, timeout=60)
        pids = check_traces(traces, runs, model.key, PASSWORD)
        assert not pids & {span.pid for span in traces.named("POST runs")}


def test_a_collector_that_is_away_keeps_nobody(tmp_path: Path, traces: TraceCollector) -> None:
    with ModelServer() as model:
        run_script(tmp_path, model, traces, 1, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9")
    assert traces.spans == []


def test_the_end_of_a_process_waits_two_seconds_for_a_collector_and_no_longer() -> None:
    """As it says; the exporter alone tries for ten."""
    script = """
import time
from po_jupyter.telemetry import tracing
with tracing.span("x", "CLIENT"):
    pass
began = time.monotonic()
tracing.shutdown()
tracing.shutdown()  # a worker, and then its interpreter
print(time.monotonic() - began)
"""
    environ = {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environ, capture_output=True, text=True, timeout=60, check=True
    )
    assert 1.5 < float(done.stdout) < 3


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}, True),
        ({"OTEL_TRACES_EXPORTER": "console"}, True),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}, False),
        ({"OTEL_TRACES_EXPORTER": " None ", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_SDK_DISABLED": "TRUE "}, False),
    ],
)
def test_the_standard_variables_decide(environ: dict[str, str], wanted: bool) -> None:
    assert tracing.enabled(environ) is wanted


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_BSP_SCHEDULE_DELAY", "0"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "100000"),
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "many"),
        ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "-3"),
        ("OTEL_TRACES_EXPORTER", "pigeon"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),  # whose package is not installed
    ],
)
def test_a_variable_that_the_sdk_refuses_costs_the_traces_alone(name: str, value: str) -> None:
    """Each was a traceback of `submit`, and a dead letter where the server had it."""
    script = """
from po_jupyter.telemetry import tracing
print(tracing.preload())
with tracing.span("x", "CLIENT"):
    pass
with tracing.span("x", "CLIENT"):
    print(tracing.tracer())
"""
    environ = {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", name: value}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environ, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.splitlines()[-1] == "None"
    assert done.stdout.count("no traces") + done.stderr.count("no traces") >= 1


def test_headers_are_for_the_exporter_that_has_some(monkeypatch: pytest.MonkeyPatch) -> None:
    """A console has none: each worker ended with a TypeError, and the run was a dead letter."""
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "console")
    monkeypatch.setattr(tracing, "_headers", "")
    monkeypatch.setattr(tracing, "_provider", None)
    tracing.use_headers(HEADERS)
    provider = tracing._make_provider()
    assert provider is not None
    provider.shutdown()


def test_a_password_in_the_address_is_a_header_of_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """They had no address at all, and made no traces."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "https://ada:p%40ss:w@collector.example:4318/x")
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_HEADERS", raising=False)
    assert tracing.without_user(os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"])[0] == (
        "https://collector.example:4318/x"
    )
    headers = tracing.exporter_headers()
    assert headers is not None
    name, _, value = headers.partition("=")
    assert name == "authorization"
    assert base64.b64decode(unquote(value).removeprefix("Basic ")) == b"ada:p@ss:w"
    assert tracing.without_user("owner=ada@example.org") == ("owner=ada@example.org", None)


def test_headers_are_no_matter_where_nothing_of_opentelemetry_is_installed() -> None:
    """The interpreter of a person's runs may have none of it, though the server has."""
    script = """
import sys
sys.modules["opentelemetry"] = None
from po_jupyter.telemetry import tracing
tracing.use_headers("authorization=x")
print(tracing.tracer())
"""
    environ = {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "None"


@pytest.mark.parametrize(
    "header", [None, "", "00-" + "0" * 32 + "-" + "1" * 16 + "-01", "x" * 10_000, "00-AB-CD-01"]
)
def test_a_context_that_is_none_is_passed_over(header: str | None) -> None:
    tracing.accept(header)
    assert tracing.traceparent() is None


def test_a_context_goes_through_a_server_that_traces_nothing() -> None:
    header = "00-" + "a" * 32 + "-" + "1" * 16 + "-01"
    tracing.accept(header)
    assert tracing.traceparent() == header
    tracing.accept(None)


def test_what_another_thread_is_importing_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """redis has spans of its own, which it imports when it connects: the first submission was an error 500."""
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", ModuleType("opentelemetry.trace"))
    assert tracing.traceparent() is None


def test_workers_get_the_variables_without_the_key() -> None:
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_EXPORTER_OTLP_HEADERS": HEADERS}
    assert worker_environment((), environ) == {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}


def test_a_flush_takes_no_longer_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK's own limit holds for a part of the tries to export alone."""
    stuck = threading.Event()
    monkeypatch.setattr(tracing, "_provider", SimpleNamespace(force_flush=lambda *_: stuck.wait(30)))
    monkeypatch.setattr(tracing, "_FLUSH", 0.05)
    began = time.monotonic()
    tracing.shutdown()
    assert time.monotonic() - began < 10
    stuck.set()


def test_a_refusal_is_in_a_span_by_its_code_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(tracing, "_provider", provider)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(InvalidInput), tracing.span("POST runs", "SERVER"):
        raise InvalidInput("the text of a person is no seed")
    (span,) = exporter.get_finished_spans()
    assert "the text of a person" not in span.to_json()
    assert span.attributes is not None and span.attributes["error.type"] == "invalid_input"
