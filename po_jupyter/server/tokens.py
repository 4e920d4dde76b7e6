"""Scoped tokens: what a person gives to a dashboard or another machine, for some scopes and for some time.

`tokens.json` in the data directory (mode 0600) has a digest of each, never the token: `{version, tokens: {id: {digest,
name, scopes, owner, user, created_at, expires_at}}}`, times in seconds since 1970. Servers of one data directory share
the file; it is looked at anew whenever it changed. A token is `po_ID_SECRET`.
"""

from __future__ import annotations

import hmac
import json
import os
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from threading import RLock
from typing import TypedDict

import structlog

from po_jupyter.errors import NotFound, StoreUnusable
from po_jupyter.platform.private_file import locked, write_private
from po_jupyter.telemetry.redaction import redactor

FILE = "tokens.json"
_VERSION = 1
_PREFIX = "po_"
_log = structlog.get_logger(__name__)


class TokenRecord(TypedDict):
    """The record of a token. `owner` has the runs that it starts, `user` is the name for Jupyter's authorizer."""

    digest: str
    name: str
    scopes: list[str]
    owner: str
    user: str
    created_at: float
    expires_at: float


class TokenView(TypedDict):
    """A token as people see it; times are ISO 8601 UTC."""

    id: str
    name: str
    scopes: list[str]
    owner: str
    created_at: str
    expires_at: str
    expired: bool


class ScopedTokens:
    """The tokens of one data directory. What changes them blocks: call it in a thread."""

    def __init__(self, data_dir: Path, clock: Callable[[], float] = time.time) -> None:
        """Nothing is read yet."""
        self._path = data_dir / FILE
        self._clock = clock
        self._lock = RLock()
        self._stamp: tuple[int, ...] | None = None
        self._records: dict[str, TokenRecord] = {}

    def find(self, text: str) -> tuple[str, TokenRecord] | None:
        """The id and the record of a token that is valid now, or None. Reads one small file when it changed."""
        if not text.startswith(_PREFIX):
            return None
        token_id = text.removeprefix(_PREFIX).partition("_")[0]
        record = self._current().get(token_id)
        if record is None or not hmac.compare_digest(_digest(text), record["digest"]):
            return None
        return (token_id, record) if self._clock() < record["expires_at"] else None

    def is_valid(self, token_id: str) -> bool:
        """Whether a token that was found is neither revoked nor expired meanwhile."""
        record = self._current().get(token_id)
        return record is not None and self._clock() < record["expires_at"]

    def expires_at(self, token_id: str) -> float:
        """When a token expires, in seconds since 1970; 0 for one that is no more."""
        record = self._current().get(token_id)
        return 0.0 if record is None else record["expires_at"]

    def create(
        self, *, name: str, scopes: Sequence[str], seconds: float, owner: str, user: str
    ) -> tuple[str, TokenView]:
        """A new token, and what is kept of it. The text is nowhere afterwards. Raises StoreUnusable."""
        token_id, now = secrets.token_hex(6), self._clock()
        text = f"{_PREFIX}{token_id}_{secrets.token_urlsafe(32)}"
        redactor.learn([text])
        record: TokenRecord = {
            "digest": _digest(text), "name": name, "scopes": sorted(set(scopes)), "owner": owner, "user": user,
            "created_at": now, "expires_at": now + seconds,
        }  # fmt: skip
        with self._changing() as records:
            records[token_id] = record
        return text, self._view(token_id, record)

    def list(self, owner: str) -> list[TokenView]:
        """The tokens of an owner, the newest first; expired ones too, until they are revoked."""
        mine = [(key, record) for key, record in self._current().items() if record["owner"] == owner]
        mine.sort(key=lambda entry: entry[1]["created_at"], reverse=True)
        return [self._view(key, record) for key, record in mine]

    def revoke(self, token_id: str, owner: str) -> None:
        """Make a token worth nothing, from the next request on. Raises NotFound, StoreUnusable."""
        with self._changing() as records:
            record = records.get(token_id)
            if record is None or record["owner"] != owner:
                raise NotFound(f"there is no token {token_id!r:.40}", hint="`po token list` lists yours.")
            del records[token_id]

    def _view(self, token_id: str, record: TokenRecord) -> TokenView:
        return {
            "id": token_id, "name": record["name"], "scopes": record["scopes"], "owner": record["owner"],
            "created_at": _iso(record["created_at"]), "expires_at": _iso(record["expires_at"]),
            "expired": self._clock() >= record["expires_at"],
        }  # fmt: skip

    def _current(self) -> dict[str, TokenRecord]:
        """The records as the file has them now; none of a file that cannot be used, which the log says once."""
        with self._lock:
            try:
                info = os.stat(self._path)
            except OSError:
                self._stamp, self._records = None, {}
                return self._records
            stamp = (info.st_mtime_ns, info.st_ino, info.st_size)
            if stamp != self._stamp:
                self._stamp = stamp
                try:
                    self._records = self._read()
                except StoreUnusable as error:
                    _log.error("no scoped token is valid", error=error.message)
                    self._records = {}
            return self._records

    def _read(self) -> dict[str, TokenRecord]:
        try:
            tokens = json.loads(self._path.read_text("utf-8"))["tokens"]
            for record in tokens.values():
                missing = TokenRecord.__required_keys__ - record.keys()
                if missing:
                    raise ValueError(f"{', '.join(sorted(missing))} is missing")
            return dict(tokens)
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise self._unusable(str(error) or type(error).__name__) from None

    @contextmanager
    def _changing(self) -> Iterator[dict[str, TokenRecord]]:
        """The records, written back when nothing was raised; one process at a time."""
        with self._lock:
            try:
                with locked(self._path.with_name(f".{FILE}.lock")):
                    records = self._read()
                    yield records
                    write_private(self._path, json.dumps({"version": _VERSION, "tokens": records}))
            except OSError as error:
                raise self._unusable(error.strerror or str(error)) from None
            self._stamp = None

    def _unusable(self, reason: str) -> StoreUnusable:
        return StoreUnusable(
            f"the file of tokens {self._path} cannot be used: {reason}",
            hint="Correct it or remove it: then no token is valid any more.",
            details={"path": str(self._path)},
        )


def _digest(text: str) -> str:
    # Not slow, as for passwords: 256 random bits are not guessed from their digest.
    return sha256(text.encode("utf-8", "replace")).hexdigest()


def _iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
