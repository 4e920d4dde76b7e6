"""Log lines sent to another machine."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
import structlog

from po_jupyter.config import Settings
from po_jupyter.telemetry.logging import configure, flush
from tests.support.log_collector import LogCollector

pytestmark = pytest.mark.integration


def test_otlp_is_what_the_protocol_says(
    tmp_path: Path, logger: logging.Logger, collector: LogCollector
) -> None:
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
    collector = LogCollector(refuse=1)
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
