"""Keys kept by `po keys set`: how they are read, shown and given to runs. Who writes them: `orchestrator.keys`.

    DATA_DIR/keys.json   0600; {"version": 1, "keys": {provider: {"for": origin, "at": time, "key": ...}}}

A key that the system's keyring holds has `"in": "keyring"` there instead of the key itself. A variable of the
environment wins over a stored key. A stored key belongs to the server that it was stored for: when the provider's
base URL leads elsewhere since, it is not used, so that nobody is sent a key by changing a URL.
"""

from __future__ import annotations

import json
import os
import stat
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit

import structlog

from po_jupyter.errors import StoreUnusable
from po_jupyter.llm.specs import Spec, spec_of, specs
from po_jupyter.model.values.digests import short_digest
from po_jupyter.presentation.urls import shown_url

T = TypeVar("T")
log = structlog.get_logger(__name__)

FILE = "keys.json"
VERSION = 1
MIN_LENGTH = 8  # what is shorter hits words when it is taken out of logs
MAX_LENGTH = 4096
_PATIENCE = 5.0  # s that a keyring may take: it may have opened a window that nobody sees
_REAL = ("keyring.backends.SecretService", "keyring.backends.kwallet", "keyring.backends.macOS",
         "keyring.backends.Windows", "keyring.backends.libsecret")  # fmt: skip


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
    """What is known of one provider's key, without the key.

    source   where the key that runs get comes from: `environment`, `keyring`, `file`, or None: runs get none
    masked   that key, unreadable
    stored   whether one is stored, used or not
    note     what a person should know, "" mostly
    """

    provider: str
    variable: str
    base_url: str
    needed: bool
    source: str | None
    masked: str
    stored: bool
    note: str

    def to_json(self) -> dict[str, Any]:
        """A plain dict."""
        return {name: getattr(self, name) for name in self.__slots__}


def mask(key: str) -> str:
    """Enough to tell two keys apart, not enough to use one: `sk-…a1b2`; a short key shows nothing."""
    return f"{key[:3]}…{key[-4:]}" if len(key) >= 20 else "…"


def problem_of_key(key: str, variable: str = "") -> str | None:
    """Why a text cannot be a key, in words that do not repeat it; None when it can."""
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
    """Where a provider listens: from the environment, else its own."""
    return environ.get(spec.base_env, "").strip() or spec.base_url


def origin_of(url: str) -> str:
    """Scheme, host and port: who gets a key. "" when the URL is none."""
    try:
        parts = urlsplit(url.strip())
        port = parts.port or {"https": 443, "http": 80}.get(parts.scheme)
    except ValueError:
        return ""
    return f"{parts.scheme}://{(parts.hostname or '').lower()}:{port}" if parts.hostname and port else ""


# -- reading ------------------------------------------------------------------------------------


def entries(data_dir: Path) -> dict[str, dict[str, Any]]:
    """What the file says, by provider. Raises StoreUnusable: somebody else's file, or none of ours."""
    path = data_dir / FILE
    try:
        fd = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise _unusable(path, error.strerror or "it cannot be opened") from None
    with os.fdopen(fd, "rb") as file:
        info = os.fstat(fd)
        if hasattr(os, "geteuid"):
            if info.st_uid != os.geteuid():
                raise _unusable(path, "it belongs to another user")
            if stat.S_IMODE(info.st_mode) & 0o077:
                log.warning("the file of keys was open to other users, and is closed now", file=str(path))
                os.fchmod(fd, 0o600)
        text = file.read(4 * 1024 * 1024)
    try:
        said = json.loads(text)
        if said["version"] > VERSION:
            raise _unusable(path, "a newer version of po_jupyter wrote it")
        return {str(name): dict(entry) for name, entry in said["keys"].items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise _unusable(path, "it is damaged") from None


def _unusable(path: Path, why: str) -> StoreUnusable:
    return StoreUnusable(
        f"the stored keys in {path} cannot be used: {why}",
        hint="Remove that file, then store the keys again: po keys set PROVIDER",
        details={"path": str(path)},
    )


def read(data_dir: Path) -> dict[str, StoredKey]:
    """The stored keys by provider. May ask the keyring: call it in a thread. Raises StoreUnusable."""
    return {name: _stored(name, entry, data_dir) for name, entry in entries(data_dir).items()}


def _stored(name: str, entry: Mapping[str, Any], data_dir: Path) -> StoredKey:
    origin, at = str(entry.get("for", "")), str(entry.get("at", ""))
    if entry.get("in") != "keyring":
        key = entry.get("key")
        good = isinstance(key, str) and problem_of_key(key) is None
        return StoredKey(
            name, origin, at, "file", key if good else None, "" if good else "the stored key is damaged"
        )
    backend = keyring_backend()
    if backend is None:
        return StoredKey(name, origin, at, "keyring", None, "the system's keyring, which has it, is not there")
    try:
        key = within(_PATIENCE, lambda: backend.get_password(service(data_dir), name))
    except Exception as error:  # every backend has errors of its own
        why = f"the system's keyring cannot be read ({type(error).__name__})"
        return StoredKey(name, origin, at, "keyring", None, why)
    if not key:
        return StoredKey(name, origin, at, "keyring", None, "the system's keyring has it no more")
    return StoredKey(name, origin, at, "keyring", str(key))


def keyring_backend() -> Any:
    """The system's keyring when the extra `keyring` is installed and there is a real one, else None."""
    try:
        import keyring
    except ImportError:
        return None
    try:
        found = within(_PATIENCE, keyring.get_keyring)
    except Exception:
        return None
    # The chain asks several; plain files of other packages are no better than ours.
    for backend in getattr(found, "backends", None) or [found]:
        if type(backend).__module__.startswith(_REAL):
            return backend
    return None


def service(data_dir: Path) -> str:
    """The name in the keyring under which one data directory's keys are."""
    return f"po_jupyter {short_digest(str(data_dir), 12)}"


def within(seconds: float, work: Callable[[], T]) -> T:
    """`work()` in a thread that is given up after that. Raises TimeoutError, and what `work` raises."""
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


def unused(spec: Spec, stored: StoredKey, environ: Mapping[str, str]) -> str:
    """Why a stored key is not given to runs, in words; "" when it is."""
    if stored.key is None:
        return stored.problem
    base = base_url_of(spec, environ)
    if stored.origin != origin_of(base):
        name = spec.base_env or "the base URL"
        return f"the stored key was stored for {stored.origin}, and {name} is {shown_url(base)}"
    return ""


def with_stored(environ: Mapping[str, str], stored: Mapping[str, StoredKey]) -> dict[str, str]:
    """`environ` with the stored keys that may be used where a provider's variable is missing."""
    found = dict(environ)
    for name, key in stored.items():
        spec = spec_of(name)
        if spec is None or not spec.key_env or found.get(spec.key_env, "").strip():
            continue
        if key.key is not None and not unused(spec, key, environ):
            found[spec.key_env] = key.key
    return found


def refused(environ: Mapping[str, str], stored: Mapping[str, StoredKey]) -> dict[str, str]:
    """Why a provider's stored key is not used, by provider: of those that would be needed."""
    found = {}
    for name, key in stored.items():
        spec = spec_of(name)
        if spec is None or not spec.key_env or environ.get(spec.key_env, "").strip():
            continue
        if why := unused(spec, key, environ):
            found[name] = why
    return found


def states(environ: Mapping[str, str], stored: Mapping[str, StoredKey]) -> list[KeyState]:
    """Every provider that takes a key, those that have one first. `environ` is what the orchestrator sees."""
    found = []
    for name in specs():
        spec = spec_of(name)
        if spec is None or not spec.key_env:
            continue
        given, kept, note = environ.get(spec.key_env, "").strip(), stored.get(name), ""
        source, masked = None, ""
        if given:
            source, masked = "environment", mask(given)
            if kept is not None:
                note = f"{spec.key_env} is set where the orchestrator runs and wins over the stored key"
        elif kept is not None:
            note = unused(spec, kept, environ)
            if not note and kept.key is not None:
                source, masked = kept.where, mask(kept.key)
        base = shown_url(base_url_of(spec, environ))
        needed = not spec.key_optional
        found.append(KeyState(name, spec.key_env, base, needed, source, masked, kept is not None, note))
    return sorted(found, key=lambda one: (one.source is None, not one.stored))
