"""R2.4, P10: structured lines with their context, and never a secret in one."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from po_jupyter.config import Settings
from po_jupyter.telemetry.logging import bound_contextvars, configure


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    logger = logging.getLogger("po_jupyter")
    before = (list(logger.handlers), logger.level, logger.propagate)
    yield
    for handler in logger.handlers:
        handler.close()
    logger.handlers[:], logger.level, logger.propagate = before
    structlog.reset_defaults()


def test_a_line_is_json_with_run_task_and_stage_and_without_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret-value")
    file = tmp_path / "logs" / "orchestrator.log"
    configure(Settings(data_dir=tmp_path), file=file)
    log = structlog.get_logger("po_jupyter.test")
    with bound_contextvars(run="r1", task="label", stage="inference"):
        log.warning("refused sk-very-secret-value", token="another", nested={"password": "x", "text": "fine"})
        log.debug("not at this level")
    (line,) = file.read_text().splitlines()
    said = json.loads(line)
    assert (said["run"], said["task"], said["stage"]) == ("r1", "label", "inference")
    assert (said["level"], said["logger"]) == ("warning", "po_jupyter.test")
    assert "secret-value" not in line
    assert said["token"] == said["nested"]["password"] == "********"
    assert said["nested"]["text"] == "fine"


def test_an_exception_is_redacted_too(tmp_path: Path) -> None:
    file = tmp_path / "x.log"
    configure(Settings(data_dir=tmp_path, auth_token="the-token-of-the-door"), file=file)
    try:
        raise ValueError("got the-token-of-the-door")
    except ValueError:
        structlog.get_logger("po_jupyter.test").exception("failed")
    assert "the-token-of-the-door" not in file.read_text()
    assert "ValueError" in file.read_text()


def test_the_hosts_own_logging_is_left_alone(tmp_path: Path) -> None:
    root = list(logging.getLogger().handlers)
    configure(Settings(data_dir=tmp_path), file=tmp_path / "x.log")
    configure(Settings(data_dir=tmp_path), file=tmp_path / "y.log")
    assert logging.getLogger().handlers == root
    assert len(logging.getLogger("po_jupyter").handlers) == 1


@pytest.mark.integration
def test_a_runs_own_log_is_bounded(tmp_path: Path) -> None:
    """R2.4: every log rotates; that of a run, which its subprocesses write to as well, in place."""
    file = tmp_path / "worker.log"
    code = (
        "import os, sys, structlog\nfrom pathlib import Path\nfrom po_jupyter.config import Settings\n"
        "from po_jupyter.telemetry.logging import configure_worker\n"
        "fd = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)\nos.dup2(fd, 2)\n"
        "settings = Settings(log_max_bytes=int(sys.argv[2]))\n"
        "configure_worker(settings, run='r1', file=Path(sys.argv[1]))\n"
        "log = structlog.get_logger('po_jupyter.test')\n"
        "for i in range(300):\n    log.warning('something', i=i)\n    os.write(2, b'printed\\n')\n"
    )
    subprocess.run([sys.executable, "-c", code, str(file), "10000"], check=True, timeout=60)
    assert file.stat().st_size < 11_000
    assert (tmp_path / "worker.log.1").stat().st_size < 11_000
    assert '"i": 299' in file.read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["worker.log", "worker.log.1"]
