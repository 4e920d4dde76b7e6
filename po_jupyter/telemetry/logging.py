"""The configuration of structured logs: structlog over the standard library's handlers, below the logger `po_jupyter`.

Every line has a time (UTC), a level, the logger (the path of its module) and an event, and as far as they are known:
run, task, stage, attempt, index, and the `request` that it all came from (`telemetry.correlation`). Secrets are taken
out last (`telemetry.redaction`).
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import sys
from collections.abc import MutableMapping
from contextlib import suppress
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, TextIO

import structlog
from structlog.contextvars import bind_contextvars, bound_contextvars

from po_jupyter.config import Settings
from po_jupyter.platform import private_file
from po_jupyter.platform.private_file import PRIVATE_DIRECTORY
from po_jupyter.telemetry import correlation
from po_jupyter.telemetry.exporters.http_logs import HttpLogHandler
from po_jupyter.telemetry.redaction import redactor, secrets_of

__all__ = ["bind_contextvars", "bound_contextvars", "configure", "configure_worker", "flush", "preconfigure"]

_ROOT = "po_jupyter"  # the one logger that is configured; every other one is below it, by its module's path


def configure(settings: Settings, *, file: Path | None = None) -> None:
    """Log to `file` (rotated as the settings say), or to stderr when there is none; and to `log_remote_url`.

    Touches only the logger `po_jupyter`: the host's own logging stays as it is. Calling it again replaces
    what the last call set up.
    """
    redactor.learn(secrets_of(os.environ, settings))
    handler: logging.Handler
    if file is not None:
        file.parent.mkdir(mode=PRIVATE_DIRECTORY, parents=True, exist_ok=True)
        handler = RotatingFileHandler(
            file,
            maxBytes=settings.log_max_bytes,
            backupCount=settings.log_backups,
            encoding="utf-8",
            delay=True,
        )
    else:
        handler = logging.StreamHandler(sys.stderr)
    token = settings.log_remote_token
    _install(settings, handler, token.get_secret_value() if token is not None else None)


def configure_worker(
    settings: Settings, *, run: str | None, token: str | None = None, file: Path | None = None
) -> None:
    """Log to the run's own log file, which is stderr in a worker; every line names the run. `file` is its path,
    for what became too long. Without a run the file is that of a process of many, whose lines name theirs; those of a
    run stand in the log of its own besides."""
    redactor.learn([*secrets_of(os.environ, settings), *([token] if token else [])])
    # A descriptor of its own: the standard one is lent to the log of the stage that runs.
    stream = os.fdopen(os.dup(2), "w", encoding="utf-8", errors="backslashreplace", buffering=1)
    handler = logging.getLogger(_ROOT).handlers[0] if _installed == _kind(settings) else None
    if isinstance(handler, _RunLogHandler):
        handler.setStream(stream)
    else:
        handler = _RunLogHandler(stream)
        _install(settings, handler, token)
    handler.limit(file, settings.log_max_bytes)
    handler.runs = settings.data_dir / "runs" if run is None else None
    structlog.contextvars.clear_contextvars()
    if run is not None:
        bind_contextvars(run=run)


def flush() -> None:
    """Deliver what is still queued for elsewhere, within two seconds: before a process ends without goodbye."""
    for handler in logging.getLogger(_ROOT).handlers:
        if isinstance(handler, HttpLogHandler):
            handler.flush_for(2.0)


def preconfigure(settings: Settings) -> None:
    """Do in a zygote, once for all its workers, what `configure_worker` would do in each."""
    global _installed
    if _installed == _kind(settings) or settings.log_remote_url is not None:
        return  # a remote log needs a token, which a zygote is not given
    _install(settings, _RunLogHandler(sys.stderr), None)
    _installed = _kind(settings)


def _kind(settings: Settings) -> tuple[str, str, str | None]:
    return settings.log_level, settings.log_format, settings.log_remote_url


_installed: tuple[str, str, str | None] | None = None


def _install(settings: Settings, handler: logging.Handler, token: str | None) -> None:
    handler.setFormatter(_LineFormatter(console=settings.log_format == "console"))
    handlers = [handler]
    if settings.log_remote_url is not None:
        remote = HttpLogHandler(settings.log_remote_url, format=settings.log_remote_format, token=token)
        remote.setFormatter(_LineFormatter())
        handlers.append(remote)
    logger = logging.getLogger(_ROOT)
    for old in list(logger.handlers):
        logger.removeHandler(old)
        old.close()
    for new in handlers:
        logger.addHandler(new)
    logger.setLevel(settings.log_level)
    logger.propagate = False
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.contextvars.merge_contextvars,
            correlation.add,
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
            structlog.processors.format_exc_info,
            redactor,
            _render_json,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,  # a forked worker configures anew
    )


class _RunLogHandler(logging.StreamHandler[TextIO]):
    """The handler of one run's log, kept below `log_max_bytes`; as much of what was before is in `worker.log.1`.

    Emptied in place: descriptors 1 and 2, and those of subprocesses, lead to the same file.
    """

    runs: Path | None = None  # the directory of the runs, in a process of many
    _file: Path | None = None
    _max_bytes = 0

    def limit(self, file: Path | None, max_bytes: int) -> None:
        """Keep `file` below `max_bytes`; lines that former workers of the run left count."""
        self._file, self._max_bytes = file, max_bytes
        self._shorten()

    def emit(self, record: logging.LogRecord) -> None:
        """Write the line; shorten the file when it became too long."""
        super().emit(record)
        self._shorten()
        if self.runs is not None and (run := structlog.contextvars.get_contextvars().get("run")):
            with suppress(OSError):
                self._emit_own(self.runs / str(run) / "worker.log", self.format(record))

    def _emit_own(self, file: Path, line: str) -> None:
        """Write a line to the log of its run. There are few: of failures, warnings, and what they lead to."""
        file.parent.mkdir(mode=PRIVATE_DIRECTORY, parents=True, exist_ok=True)
        descriptor = private_file.open_log(file)
        try:
            os.write(descriptor, (line + self.terminator).encode("utf-8", "backslashreplace"))
            self._shorten_file(file, descriptor)
        finally:
            os.close(descriptor)

    def _shorten(self) -> None:
        with suppress(OSError, ValueError):
            if self._file is not None:
                self._shorten_file(self._file, self.stream.fileno())

    def _shorten_file(self, file: Path, descriptor: int) -> None:
        if os.fstat(descriptor).st_size > self._max_bytes:
            shutil.copyfile(file, file.with_name(file.name + ".1"))
            os.truncate(descriptor, 0)


class _LineFormatter(logging.Formatter):
    """The formatter of lines: JSON as structlog rendered it, or with `console` drawn for people.

    Lines of plain `logging`, which structlog has not seen, are redacted here.
    """

    def __init__(self, *, console: bool = False) -> None:
        super().__init__()
        self._draw = structlog.dev.ConsoleRenderer(colors=False, timestamp_key="at") if console else None

    def format(self, record: logging.LogRecord) -> str:
        """The line, redacted."""
        text = record.getMessage()
        if record.exc_info and "Traceback" not in text:
            text = f"{text}\n{self.formatException(record.exc_info)}"
        if self._draw is not None:
            with suppress(ValueError):
                text = str(self._draw(None, "", json.loads(text)))
        return redactor.text(text)


def _render_json(_: Any, __: str, event: MutableMapping[str, Any]) -> str:
    first = {k: event.pop(k) for k in ("at", "level", "logger", "event") if k in event}
    return json.dumps({**first, **event}, default=str, ensure_ascii=False)
