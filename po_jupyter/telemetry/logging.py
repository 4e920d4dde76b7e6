"""Structured logs: structlog over the standard library's handlers, below the one logger `po_jupyter`.

Every line has a time (UTC), a level, the logger and an event, and whatever is known: run, task, stage, attempt,
index, and the `request` that it all came from (`telemetry.correlation`). Secrets are taken out last, by name (a
field called `token`) and by value (the text of a key that this process knows) (P10).
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import sys
from collections.abc import Iterable, Mapping, MutableMapping
from contextlib import suppress
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, TextIO

import structlog
from structlog.contextvars import bind_contextvars, bound_contextvars

from po_jupyter.config import Settings
from po_jupyter.telemetry import correlation
from po_jupyter.telemetry.exporters.http_logs import RemoteHandler

__all__ = ["Redactor", "bind_contextvars", "bound_contextvars", "configure", "configure_worker", "redactor"]

STARS = "********"
_SECRET_NAME = re.compile(
    r"(^|[_-])(api[_-]?key|key|token|secret|password|passwd|authorization|cookie|credential)s?$", re.IGNORECASE
)


class Redactor:
    """Takes secrets out of text and values. A value shorter than 8 characters is no secret: it would hit
    words."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._pattern: re.Pattern[str] | None = None
        self._secrets: set[str] = set()
        self.learn(secrets)

    def learn(self, secrets: Iterable[str]) -> None:
        """Know further secrets by value."""
        self._secrets |= {s for s in secrets if len(s) >= 8}
        if self._secrets:
            longest_first = sorted(self._secrets, key=len, reverse=True)
            self._pattern = re.compile("|".join(map(re.escape, longest_first)))

    def text(self, text: str) -> str:
        """`text` with stars where a secret stood."""
        return self._pattern.sub(STARS, text) if self._pattern is not None else text

    def value(self, value: Any, depth: int = 0) -> Any:
        """The same for JSON values; fields with a secret's name are starred whatever they hold."""
        if isinstance(value, str):
            return self.text(value)
        if depth > 6:
            return value
        if isinstance(value, Mapping):
            return {
                k: STARS
                if v and isinstance(v, str) and _SECRET_NAME.search(str(k))
                else self.value(v, depth + 1)
                for k, v in value.items()
            }
        if isinstance(value, list | tuple):
            return [self.value(v, depth + 1) for v in value]
        return value

    def scrub(self, value: Any) -> Any:
        """A JSON value, however deep, without the texts of secrets; by value only: names are the user's."""
        if self._pattern is None:
            return value
        if isinstance(value, str):
            return self._pattern.sub(STARS, value)
        if isinstance(value, dict):
            return {self.text(k) if isinstance(k, str) else k: self.scrub(v) for k, v in value.items()}
        if isinstance(value, list):
            return [self.scrub(v) for v in value]
        return value

    def __call__(self, _: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """As a structlog processor."""
        return self.value(dict(event))  # type: ignore[no-any-return]  # a mapping stays one


redactor = Redactor()  # the one of this process


def secrets_of(environ: Mapping[str, str], settings: Settings | None = None) -> list[str]:
    """The values in an environment (and the settings) that must not be seen."""
    found = [v for k, v in environ.items() if _SECRET_NAME.search(k)]
    if settings is not None and settings.auth_token is not None:
        found.append(settings.auth_token.get_secret_value())
    if settings is not None and settings.log_remote_token is not None:
        found.append(settings.log_remote_token.get_secret_value())
    return found


def configure(settings: Settings, *, file: Path | None = None) -> None:
    """Log to `file` (rotated as the settings say), or to stderr when there is none; and to `log_remote_url`.

    Touches only the logger `po_jupyter`: the host's own logging stays as it is. Calling it again replaces
    what the last call set up.
    """
    redactor.learn(secrets_of(os.environ, settings))
    handler: logging.Handler
    if file is not None:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
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
    settings: Settings, *, run: str, token: str | None = None, file: Path | None = None
) -> None:
    """Log to the run's own log file, which is stderr in a worker; every line names the run. `file` is its path,
    for what became too long."""
    redactor.learn([*secrets_of(os.environ, settings), *([token] if token else [])])
    # A descriptor of its own: the standard one is lent to the log of the stage that runs.
    stream = os.fdopen(os.dup(2), "w", encoding="utf-8", errors="backslashreplace", buffering=1)
    handler = logging.getLogger("po_jupyter").handlers[0] if _installed == _kind(settings) else None
    if isinstance(handler, _RunLog):
        handler.setStream(stream)
    else:
        handler = _RunLog(stream)
        _install(settings, handler, token)
    handler.bound(file, settings.log_max_bytes)
    structlog.contextvars.clear_contextvars()
    bind_contextvars(run=run)


def flush() -> None:
    """Deliver what is still queued for elsewhere, within two seconds: before a process ends without goodbye."""
    for handler in logging.getLogger("po_jupyter").handlers:
        if isinstance(handler, RemoteHandler):
            handler.flush_for(2.0)


def preconfigure(settings: Settings) -> None:
    """What `configure_worker` will do, done in a zygote, where it is done once for all."""
    global _installed
    if _installed == _kind(settings) or settings.log_remote_url is not None:
        return  # a remote log needs a token, which a zygote is not given
    _install(settings, _RunLog(sys.stderr), None)
    _installed = _kind(settings)


def _kind(settings: Settings) -> tuple[str, str, str | None]:
    return settings.log_level, settings.log_format, settings.log_remote_url


_installed: tuple[str, str, str | None] | None = None


def _install(settings: Settings, handler: logging.Handler, token: str | None) -> None:
    handler.setFormatter(_Lines(console=settings.log_format == "console"))
    handlers = [handler]
    if settings.log_remote_url is not None:
        remote = RemoteHandler(settings.log_remote_url, format=settings.log_remote_format, token=token)
        remote.setFormatter(_Lines())
        handlers.append(remote)
    logger = logging.getLogger("po_jupyter")
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


class _RunLog(logging.StreamHandler[TextIO]):
    """The log of one run, kept below `log_max_bytes`; as much of what was before is in `worker.log.1`.

    Emptied in place: descriptors 1 and 2, and those of subprocesses, lead to the same file.
    """

    _file: Path | None = None
    _most = 0

    def bound(self, file: Path | None, most: int) -> None:
        """From now on, and what former workers of the run left counts."""
        self._file, self._most = file, most
        self._keep_short()

    def emit(self, record: logging.LogRecord) -> None:
        super().emit(record)
        self._keep_short()

    def _keep_short(self) -> None:
        with suppress(OSError, ValueError):
            if self._file is None or os.fstat(self.stream.fileno()).st_size <= self._most:
                return
            shutil.copyfile(self._file, self._file.with_name(self._file.name + ".1"))
            os.truncate(self.stream.fileno(), 0)


class _Lines(logging.Formatter):
    """What structlog rendered, in JSON for every handler; for people it is read and drawn here.

    What came past structlog (plain `logging`) is redacted here as well.
    """

    def __init__(self, *, console: bool = False) -> None:
        super().__init__()
        self._draw = structlog.dev.ConsoleRenderer(colors=False, timestamp_key="at") if console else None

    def format(self, record: logging.LogRecord) -> str:
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
