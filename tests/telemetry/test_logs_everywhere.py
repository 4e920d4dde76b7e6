"""R2.4: structured logs, rotated, sent elsewhere, and one id that finds one request in all of them."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
import structlog

from po_jupyter.config import Settings
from po_jupyter.telemetry.correlation import request_id
from po_jupyter.telemetry.logging import configure, flush
from po_jupyter.testing.model_server import ModelServer
from tests.support.log_collector import LogCollector
from tests.support.orchestrator import orchestrator, wait_for_state

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


async def test_one_id_finds_one_request_in_every_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, collector: LogCollector
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
            view = await wait_for_state(service, view.id)
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
    tmp_path: Path, logger: logging.Logger, monkeypatch: pytest.MonkeyPatch, collector: LogCollector
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
