"""R2.4: structured logs, rotated, sent elsewhere, and one id that finds one request in all of them."""

from __future__ import annotations

import http.server
import json
import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from po_jupyter.config import Settings
from po_jupyter.config import load as load_settings
from po_jupyter.errors import InvalidSettings
from po_jupyter.telemetry import correlation
from po_jupyter.telemetry.correlation import request_id
from po_jupyter.telemetry.logging import configure, flush, redactor
from po_jupyter.testing.model_server import ModelServer
from tests.support.orchestrator import orchestrator, until

KEY = "sk-planted-for-the-logs-0123456789"
PIPELINE = {
    "name": "p",
    "llm": {"model": "openai:any-model", "max_tokens": 20},
    "tasks": [
        {"name": "ask", "prompt": "hello {{ seed.text }}"},
        {
            "name": "fail",
            "source": "def inference(ctx):\n    raise ValueError('no')\n",
            "retry": {"max_attempts": 1},
        },
    ],
}
BODY = {"pipeline": PIPELINE, "seed": {"name": "s", "data": {"text": "x"}}}


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """The logger `po_jupyter`, as it was afterwards."""
    logger = logging.getLogger("po_jupyter")
    handlers, level, propagate = list(logger.handlers), logger.level, logger.propagate
    secrets, pattern = set(redactor._secrets), redactor._pattern
    yield logger
    for handler in logger.handlers:
        if handler not in handlers:
            handler.close()
    logger.handlers[:], logger.propagate = handlers, propagate
    logger.setLevel(level)
    redactor._secrets, redactor._pattern = secrets, pattern
    structlog.reset_defaults()


class Collector:
    """A server that keeps what is posted to it, after refusing as often as told."""

    def __init__(self, refuse: int = 0) -> None:
        outer = self
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.refuse = refuse

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if outer.refuse:
                    outer.refuse -= 1
                    self.send_response(503)
                else:
                    outer.bodies.append(body)
                    outer.headers.append({k.lower(): v for k, v in self.headers.items()})
                    self.send_response(200)
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1/logs"

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for body in self.bodies for line in body.decode().splitlines()]

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def collector() -> Iterator[Collector]:
    found = Collector()
    yield found
    found.close()


async def test_one_id_finds_one_request_in_every_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, collector: Collector
) -> None:
    """From the request over the run and its worker to the model, and to the collector."""
    with ModelServer() as model:
        monkeypatch.setenv("OPENAI_BASE_URL", model.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", model.key)
        more = {"log_remote_url": collector.url, "log_remote_token": "token-of-the-collector"}
        async with orchestrator(tmp_path, **more) as service:
            request_id.set("cell-42")
            view, _ = await service.submissions.submit(BODY, owner="me")
            request_id.set("")
            view = await until(service, view.id)
            assert view.state == "failed"
            created, *_ = await service.runs.events(view.id, None)
            assert created["data"]["request"] == "cell-42"
        assert model.requests[0].headers["x-client-request-id"] == "cell-42"
        log = (tmp_path / "runs" / view.id / "worker.log").read_text()
        (line,) = [json.loads(text) for text in log.splitlines() if "task failed" in text]
        assert line["request"] == "cell-42"
        assert line["run"] == view.id
        assert (line["task"], line["stage"], line["attempt"]) == ("fail", "inference", 1)
        assert line["level"] == "warning"
        sent = [said for said in collector.lines() if said["event"] == "task failed"]
        assert sent == [line], "the worker delivers before it ends"
        assert collector.headers[0]["authorization"] == "Bearer token-of-the-collector"
        files = [p for p in tmp_path.rglob("*") if p.is_file()]
        for secret in (model.key, "token-of-the-collector"):
            assert [p for p in files if secret.encode() in p.read_bytes()] == [], "P10"


def test_the_file_is_rotated(tmp_path: Path, logger: logging.Logger) -> None:
    file = tmp_path / "logs" / "orchestrator.log"
    configure(Settings(data_dir=tmp_path, log_max_bytes=10_000, log_backups=2), file=file)
    for n in range(400):
        structlog.get_logger("po_jupyter.test").info("a line", n=n, padding="x" * 50)
    names = sorted(p.name for p in file.parent.iterdir())
    assert names == ["orchestrator.log", "orchestrator.log.1", "orchestrator.log.2"]
    assert all(p.stat().st_size <= 10_000 for p in file.parent.iterdir())
    assert json.loads(file.read_text().splitlines()[-1])["n"] == 399


def test_keys_are_taken_out_by_value_and_by_name(
    tmp_path: Path, logger: logging.Logger, monkeypatch: pytest.MonkeyPatch, collector: Collector
) -> None:
    """P10, in the file, for people, and on the way to elsewhere."""
    monkeypatch.setenv("SOME_API_KEY", KEY)
    for format in ("json", "console"):
        file = tmp_path / f"{format}.log"
        configure(Settings(data_dir=tmp_path, log_format=format, log_remote_url=collector.url), file=file)
        log = structlog.get_logger("po_jupyter.test")
        log.info(f"sent {KEY}", headers={"Authorization": "Basic c2VjcmV0"}, nested=[{"deep": f"x{KEY}y"}])
        try:
            raise ValueError(KEY)
        except ValueError:
            log.exception("failed")
        flush()
        text = file.read_text()
        assert KEY not in text
        assert "c2VjcmV0" not in text
        assert "x********y" in text
        assert "ValueError" in text
    assert collector.bodies
    assert not any(KEY.encode() in body or b"c2VjcmV0" in body for body in collector.bodies)


def test_otlp_is_what_the_protocol_says(tmp_path: Path, logger: logging.Logger, collector: Collector) -> None:
    settings = Settings(data_dir=tmp_path, log_remote_url=collector.url, log_remote_format="otlp")
    configure(settings, file=tmp_path / "x.log")
    structlog.get_logger("po_jupyter.test").warning("slow", run="abc", seconds=1.5, tries=3, ok=False)
    flush()
    (body,) = map(json.loads, collector.bodies)
    (resource,) = body["resourceLogs"]
    assert resource["resource"]["attributes"][0]["value"] == {"stringValue": "po_jupyter"}
    (record,) = resource["scopeLogs"][0]["logRecords"]
    assert record["body"] == {"stringValue": "slow"}
    assert (record["severityNumber"], record["severityText"]) == (13, "WARNING")
    said = {a["key"]: a["value"] for a in record["attributes"]}
    assert said["run"] == {"stringValue": "abc"}
    assert said["seconds"] == {"doubleValue": 1.5}
    assert said["tries"] == {"intValue": "3"}
    assert said["ok"] == {"boolValue": False}
    assert collector.headers[0]["content-type"] == "application/json"


def test_what_cannot_be_delivered_is_counted_and_nobody_waits(tmp_path: Path, logger: logging.Logger) -> None:
    collector = Collector(refuse=1)
    try:
        configure(Settings(data_dir=tmp_path, log_remote_url=collector.url), file=tmp_path / "x.log")
        log = structlog.get_logger("po_jupyter.test")
        log.info("lost")
        flush()
        log.info("delivered")
        flush()
        assert [(line["event"], line.get("lines")) for line in collector.lines()] == [
            ("delivered", None),
            ("log lines were not delivered", 1),
        ]
        assert len((tmp_path / "x.log").read_text().splitlines()) == 2, "the local log has every line"
    finally:
        collector.close()


@pytest.mark.parametrize("sent", [None, "", "a b", "x" * 65, "a\nb", "é"])
def test_an_id_that_is_none_is_replaced(sent: str | None) -> None:
    """P10: what a stranger sends does not get into a log or a header as it is."""
    assert correlation.accepted("cell-1") == "cell-1"
    made = correlation.accepted(sent)
    assert made != sent
    assert len(made) == 16


def test_settings_of_remote_logs_are_checked() -> None:
    with pytest.raises(InvalidSettings):
        load_settings({"PO_LOG_REMOTE_URL": "file:///etc/passwd"})
    settings = load_settings(
        {"PO_LOG_REMOTE_URL": "https://logs.example/v1/logs", "PO_LOG_REMOTE_TOKEN": "t" * 20}
    )
    assert "t" * 20 not in repr(settings)
