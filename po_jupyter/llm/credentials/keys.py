"""Stored API keys: reading, showing and giving to runs. `orchestrator.environment.key_store` writes them.

    DATA_DIR/keys.json   0600; {"version": 1, "keys": {provider: {"for": origin, "at": time, "key": ...}}}

A key that the system's keyring holds has `"in": "keyring"` there instead of the key itself. A variable of the
environment wins over a stored key. A stored key belongs to the server that it was stored for: when the provider's
base URL leads elsewhere since, it is not used, so that nobody is sent a key by changing a URL.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, TypedDict, TypeVar, cast
from urllib.parse import urlsplit

import structlog

from po_jupyter.errors import StoreUnusable
from po_jupyter.llm.specs import Spec, spec_of, specs
from po_jupyter.model.values.digests import short_digest
from po_jupyter.model.values.json import JsonObject
from po_jupyter.platform import private_file, users
from po_jupyter.presentation.urls import shown_url

T = TypeVar("T")
log = structlog.get_logger(__name__)

FILE = "keys.json"
VERSION = 1
MIN_LENGTH = 8  # shorter texts would hit words when they are taken out of logs
MAX_LENGTH = 4096
KEYRING_TIMEOUT = 5.0  # s: a keyring may have opened a window that nobody sees
_REAL = ("keyring.backends.SecretService", "keyring.backends.kwallet", "keyring.backends.macOS",
         "keyring.backends.Windows", "keyring.backends.libsecret")  # fmt: skip


KeyEntry = TypedDict("KeyEntry", {"for": str, "at": str, "in": str, "key": str}, total=False)
"""A key as the file has it; see the module."""


class KeyringBackend(Protocol):
    """The part of a backend of the package `keyring` that is used here."""

    def get_password(self, service: str, username: str, /) -> str | None:
        """The password, None when there is none."""
        ...

    def set_password(self, service: str, username: str, password: str, /) -> None:
        """Store a password."""
        ...

    def delete_password(self, service: str, username: str, /) -> None:
        """Remove a password. Raises when there is none."""
        ...


@dataclass(frozen=True, slots=True)
class StoredKey:
    """One stored key. `key` is None, and `problem` says why, when it cannot be read."""

    provider: str
    origin: str
    at: str
    where: Literal["file", "keyring"]
    key: str | None = field(default=None, repr=False)
    problem: str = ""


@dataclass(frozen=True, slots=True)
class KeyState:
    """The state of one provider's key, without the key.

    source   the origin of the key that runs get: `environment`, `keyring`, `file`, or None: runs get none
    masked   that key, unreadable
    stored   one is stored, used or not
    note     a remark for people, "" mostly
    """

    provider: str
    variable: str
    base_url: str
    needed: bool
    source: str | None
    masked: str
    stored: bool
    note: str

    def to_json(self) -> JsonObject:
        """A plain dict."""
        return {name: getattr(self, name) for name in self.__slots__}


def mask(key: str) -> str:
    """A key made unreadable, enough to tell two apart: `sk-…a1b2`; a short key shows nothing."""
    return f"{key[:3]}…{key[-4:]}" if len(key) >= 20 else "…"


def problem_of_key(key: str, variable: str = "") -> str | None:
    """The reason why a text cannot be a key, without repeating it; None when it can."""
    if variable and key.startswith(f"{variable}="):
        return f"give the key alone, without `{variable}=`"
    if key[:1] in "'\"" and key[:1]:
        return "give the key without quotes"
    if not (key.isascii() and key.isprintable()) or " " in key:
        return "it holds spaces, line breaks or other signs that no key has"
    if len(key) < MIN_LENGTH:
        return f"it is too short for a key ({len(key)} characters)"
    if len(key) > MAX_LENGTH:
        return f"it is too long for a key ({len(key):,} characters)"
    return None


def base_url_of(spec: Spec, environ: Mapping[str, str]) -> str:
    """A provider's base URL: from the environment, else its own."""
    return spec.base_url_in(environ)


def origin_of(url: str) -> str:
    """Scheme, host and port of a URL, to which a key belongs. "" when it is no URL."""
    try:
        parts = urlsplit(url.strip())
        port = parts.port or {"https": 443, "http": 80}.get(parts.scheme)
    except ValueError:
        return ""
    return f"{parts.scheme}://{(parts.hostname or '').lower()}:{port}" if parts.hostname and port else ""


# -- reading ------------------------------------------------------------------------------------


def read_entries(data_dir: Path) -> dict[str, KeyEntry]:
    """The entries of the file of keys, by provider. Raises StoreUnusable: another user's file, or a damaged one."""
    path = data_dir / FILE
    try:
        fd = private_file.open_private(path, os.O_RDONLY)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise _unusable(path, error.strerror or "it cannot be opened") from None
    with os.fdopen(fd, "rb") as file:
        info = os.fstat(fd)
        if not users.is_mine(info):
            raise _unusable(path, "it belongs to another user")
        if users.is_open_to_others(info):
            log.warning("the file of keys was open to other users, and is closed now", file=str(path))
            private_file.close_to_others(fd)
        text = file.read(4 * 1024 * 1024)
    try:
        content = json.loads(text)
        if content["version"] > VERSION:
            raise _unusable(path, "a newer version of po_jupyter wrote it")
        return {str(name): cast(KeyEntry, dict(entry)) for name, entry in content["keys"].items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise _unusable(path, "it is damaged") from None


def _unusable(path: Path, reason: str) -> StoreUnusable:
    return StoreUnusable(
        f"the stored keys in {path} cannot be used: {reason}",
        hint="Remove that file, then store the keys again: po keys set PROVIDER",
        details={"path": str(path)},
    )


def read_stored_keys(data_dir: Path) -> dict[str, StoredKey]:
    """The stored keys by provider. May ask the keyring: call it in a thread. Raises StoreUnusable."""
    return {name: _stored(name, entry, data_dir) for name, entry in read_entries(data_dir).items()}


def _stored(name: str, entry: KeyEntry, data_dir: Path) -> StoredKey:
    origin, at = str(entry.get("for", "")), str(entry.get("at", ""))
    if entry.get("in") != "keyring":
        key = entry.get("key")
        if isinstance(key, str) and problem_of_key(key) is None:
            return StoredKey(name, origin, at, "file", key)
        return StoredKey(name, origin, at, "file", None, "the stored key is damaged")
    backend = keyring_backend()
    if backend is None:
        return StoredKey(name, origin, at, "keyring", None, "the system's keyring, which has it, is not there")
    try:
        key = with_timeout(KEYRING_TIMEOUT, lambda: backend.get_password(keyring_service(data_dir), name))
    except Exception as error:  # every backend has errors of its own
        problem = f"the system's keyring cannot be read ({type(error).__name__})"
        return StoredKey(name, origin, at, "keyring", None, problem)
    if not key:
        return StoredKey(name, origin, at, "keyring", None, "the system's keyring has it no more")
    return StoredKey(name, origin, at, "keyring", str(key))


def keyring_backend() -> KeyringBackend | None:
    """The system's keyring when the extra `keyring` is installed and there is a real one, else None."""
    try:
        import keyring
    except ImportError:
        return None
    try:
        active: Any = with_timeout(KEYRING_TIMEOUT, keyring.get_keyring)
    except Exception:
        return None
    # The chain asks several; plain files of other packages are no better than ours.
    for backend in getattr(active, "backends", None) or [active]:
        if type(backend).__module__.startswith(_REAL):
            return cast(KeyringBackend, backend)
    return None


def keyring_service(data_dir: Path) -> str:
    """The name of one data directory's keys in the keyring."""
    return f"po_jupyter {short_digest(str(data_dir), 12)}"


def with_timeout(seconds: float, work: Callable[[], T]) -> T:
    """Run `work()` in a thread that is abandoned after that time. Raises TimeoutError, and what `work` raises."""
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True, name="po-keyring")
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not results:
        raise TimeoutError("no answer")
    return results[0]


# -- what runs get ------------------------------------------------------------------------------


def reason_unused(spec: Spec, stored: StoredKey, environ: Mapping[str, str]) -> str:
    """The reason why runs do not get a stored key; "" when they do."""
    if stored.key is None:
        return stored.problem
    base = base_url_of(spec, environ)
    if stored.origin != origin_of(base):
        name = spec.base_env or "the base URL"
        return f"the stored key was stored for {stored.origin}, and {name} is {shown_url(base)}"
    return ""


def with_stored_keys(environ: Mapping[str, str], stored: Mapping[str, StoredKey]) -> dict[str, str]:
    """`environ` with the stored keys that may be used where a provider's variable is missing."""
    complete = dict(environ)
    for spec, key in _without_variable(complete, stored):  # lazily: the first of two that share a variable wins
        if key.key is not None and not reason_unused(spec, key, environ):
            complete[spec.key_env] = key.key
    return complete


def refused_keys(environ: Mapping[str, str], stored: Mapping[str, StoredKey]) -> dict[str, str]:
    """The reason why a stored key is not used, by provider, of those that would be needed."""
    reasons = {}
    for spec, key in _without_variable(environ, stored):
        if reason := reason_unused(spec, key, environ):
            reasons[key.provider] = reason
    return reasons


def _without_variable(
    environ: Mapping[str, str], stored: Mapping[str, StoredKey]
) -> Iterator[tuple[Spec, StoredKey]]:
    """The stored keys whose provider's variable is not set."""
    for name, key in stored.items():
        spec = spec_of(name)
        if spec is not None and spec.key_env and not spec.key_in(environ):
            yield spec, key


def key_states(environ: Mapping[str, str], stored: Mapping[str, StoredKey]) -> list[KeyState]:
    """Every provider that takes a key, those that have one first. `environ` is the orchestrator's."""
    described = (spec_of(name) for name in specs())
    states = [
        _state(spec, environ, stored.get(spec.name)) for spec in described if spec is not None and spec.key_env
    ]
    return sorted(states, key=lambda state: (state.source is None, not state.stored))


def _state(spec: Spec, environ: Mapping[str, str], stored: StoredKey | None) -> KeyState:
    variable = spec.key_in(environ)
    source, masked, note = None, "", ""
    if variable:
        source, masked = "environment", mask(variable)
        if stored is not None:
            note = f"{spec.key_env} is set where the orchestrator runs and wins over the stored key"
    elif stored is not None:
        note = reason_unused(spec, stored, environ)
        if not note and stored.key is not None:
            source, masked = stored.where, mask(stored.key)
    if source is None and spec.has_login(environ):
        note = note or "without a key the login of this machine is used"
    base_url = shown_url(base_url_of(spec, environ))
    return KeyState(
        spec.name, spec.key_env, base_url, not spec.key_optional, source, masked, stored is not None, note
    )
