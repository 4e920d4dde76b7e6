"""The key store: the stored keys of providers of one data directory. What they mean: `llm.credentials.keys`.

Every method blocks (files, perhaps the keyring): call it in a thread. Several servers of one data directory share
the file; it is looked at anew whenever it changed.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import structlog

from po_jupyter.errors import InvalidInput, ModelKeyError, NotFound, StoreError
from po_jupyter.llm.credentials import keys
from po_jupyter.llm.credentials.keys import KeyState, StoredKey
from po_jupyter.llm.credentials.team import HUB, TeamCatalogue, goes_through, is_of_team, team_state, with_team
from po_jupyter.llm.specs import Spec, obtain_credentials, spec_of, specs
from po_jupyter.model.pipeline.violations import did_you_mean
from po_jupyter.model.run.events import now
from po_jupyter.model.values.behalf import behalf_token
from po_jupyter.orchestrator.environment.kept_prices import KeptPrices
from po_jupyter.orchestrator.environment.team import Team
from po_jupyter.orchestrator.environment.variables import provider_environment, worker_environment
from po_jupyter.platform.private_file import locked
from po_jupyter.store import diagnosis
from po_jupyter.store.files.tree import write_atomic
from po_jupyter.telemetry.redaction import Fingerprint, fingerprints_of, redactor, secrets_of

log = structlog.get_logger(__name__)

_PAUSE = 10  # times as long as it took, until a keyring without an answer is asked again
_MOST_PAUSE = 60.0  # s


class KeyStore:
    """Reads and changes stored keys. A key that was read is known to the redactor from then on (P10)."""

    def __init__(
        self, data_dir: Path, hub_url: str | None = None, *, behalf: bool = False, owner: str | None = None
    ) -> None:
        """Nothing is read yet. `hub_url` is the gateway of a hub, with the keys of a team; with `behalf` it is asked in
        the name of each owner of runs. `owner` is that of a key store of `of`."""
        self.team: Team | None = None
        if hub_url is not None:
            self.team = Team(hub_url, self.hub_token, kept=KeptPrices(data_dir, owner, hub_url))
        self._hub_url, self._behalf, self._owner = hub_url, behalf, owner
        self._of: dict[str, KeyStore] = {}
        self._data_dir = data_dir
        self._path = data_dir / keys.FILE
        self._lock = threading.RLock()
        self._stamp: tuple[int, ...] | None = None
        self._cached: dict[str, StoredKey] = {}
        self._retry_at = 0.0  # when a keyring that did not answer is asked again

    def __repr__(self) -> str:
        """Without a key."""
        return f"Keys({str(self._path)!r})"

    def of(self, owner: str) -> KeyStore:
        """The keys of an owner's runs: these, or where the gateway is asked in the name of each owner those of that
        one, who has no other."""
        if not self._behalf:
            return self
        with self._lock:
            if owner not in self._of:
                self._of[owner] = KeyStore(self._data_dir, self._hub_url, owner=owner)
            return self._of[owner]

    def stored(self) -> dict[str, StoredKey]:
        """The stored keys by provider. Raises StoreUnusable."""
        with self._lock:
            stamp: tuple[int, ...] = ()
            with suppress(FileNotFoundError):
                info = os.lstat(self._path)
                stamp = (info.st_mtime_ns, info.st_ino, info.st_size, info.st_mode)
            # A keyring that was locked may be open now: what could not be read is asked for again. Not at once
            # where that took long: every submission waits here, and every start of a worker.
            began = time.monotonic()
            unread = any(key.key is None for key in self._cached.values())
            if stamp != self._stamp or (unread and began >= self._retry_at):
                self._cached = keys.read_stored_keys(self._data_dir) if stamp else {}
                ended = time.monotonic()
                self._retry_at = ended + min(_MOST_PAUSE, _PAUSE * (ended - began))
                self._stamp = stamp
                redactor.learn(key.key for key in self._cached.values() if key.key is not None)
            return dict(self._cached)

    def environment(self, extra: Iterable[str] = ()) -> tuple[dict[str, str], dict[str, str]]:
        """The variables that providers go by, stored keys among them; and by provider, why a stored key is not.

        A file that cannot be used is the reason for every provider without a key, and keeps no worker from starting.
        """
        environ, refused = self._own_environment(extra)
        if self.team is None:
            return environ, refused
        catalogue = self.team.catalogue()
        complete = with_team(environ, self.team.url, self.hub_token(), catalogue)
        return complete, {
            name: reason
            for name, reason in refused.items()
            if not is_of_team(specs()[name], complete, self.team.url)
        }

    def _own_environment(self, extra: Iterable[str]) -> tuple[dict[str, str], dict[str, str]]:
        """`environment` without a hub."""
        if self._owner is not None:
            return worker_environment(), {}
        environ = provider_environment(extra)
        try:
            stored = self.stored()
        except StoreError as error:
            log.error("the stored keys are not used", error=error.message)
            return environ, {
                name: error.message
                for name, spec in specs().items()
                if spec.key_env and not spec.key_optional and not environ.get(spec.key_env, "").strip()
            }
        if not stored:
            return environ, {}
        return keys.with_stored_keys(environ, stored), keys.refused_keys(environ, stored)

    def hub_token(self) -> str:
        """The user's token of the hub, as it is now; "" when there is none: that of this server, else a stored one."""
        for name in self._token_variables():
            if token := os.environ.get(name, "").strip():
                return token if self._owner is None else behalf_token(self._owner, token)
        with suppress(StoreError):
            stored = self.stored().get(HUB.name)
            if stored is not None and self.team is not None and stored.origin == keys.origin_of(self.team.url):
                return stored.key or ""
        return ""

    def _token_variables(self) -> tuple[str, ...]:
        """The variables that may hold the token: none where the gateway's address is not that of the environment. It
        may be of a project's file then, and a project be anybody's."""
        named = os.environ.get(HUB.base_env, "").strip().rstrip("/")
        return ("JUPYTERHUB_API_TOKEN", HUB.key_env) if self.team is not None and named == self.team.url else ()

    def catalogue(self) -> TeamCatalogue | None:
        """The team's models on the hub; None without a hub."""
        return self.team.catalogue() if self.team is not None else None

    def key_of(self, provider: str, extra: Iterable[str] = ()) -> dict[str, str]:
        """The key of one provider, by the name of its variable; nothing when it has none, or takes none. Behind a hub
        with its address; without a key what its login gives. Raises ModelKeyError when there is no token of the hub,
        or no login."""
        spec = spec_of(provider)
        environ, _ = self.environment(extra)
        if spec is not None and self.team is not None and is_of_team(spec, environ, self.team.url):
            if not environ.get(spec.key_env):
                raise ModelKeyError(
                    f"{provider} is asked through the hub, and there is no token of the hub here",
                    hint="Make one on the hub's page Token, then: po keys set hub",
                    details={"provider": provider, "waits_for": "token"},
                )
            return {name: environ[name] for name in (spec.base_env, spec.key_env)}
        if (
            self.team is not None
        ):  # CLI agents and plugins look up the vendors' variables: not with the hub's token
            environ, _ = self._own_environment(extra)
        names = spec.key_variables if spec is not None else ()
        key = next(({name: environ[name]} for name in names if environ.get(name, "").strip()), {})
        return key or (self._login_of(spec) if spec is not None and spec.login is not None else {})

    def _login_of(self, spec: Spec) -> dict[str, str]:
        """The short-lived credentials of a provider's login, which is that of this server's user: nothing where runs of
        others, or an admin of the hub, rule it out. May ask the network. Raises ModelKeyError."""
        if self._owner is not None or (self.team is not None and not self.team.catalogue().own_keys):
            return {}
        credentials = dict(obtain_credentials(spec, os.environ))
        redactor.learn(secrets_of(credentials))
        return credentials

    def fingerprints(self) -> list[Fingerprint]:
        """Those of every secret here, stored keys among them: a worker redacts what it does not have."""
        stored: dict[str, StoredKey] = {}
        with suppress(StoreError):
            stored = self.stored()
        return fingerprints_of([*secrets_of(os.environ), *(key.key for key in stored.values() if key.key)])

    def states(self, extra: Iterable[str] = ()) -> list[KeyState]:
        """The state of the key of every provider that takes one. Raises StoreUnusable."""
        environ, stored = provider_environment(extra), self.stored()
        states = keys.key_states(environ, stored)
        if self.team is None:
            return states
        token, catalogue = self.hub_token(), self.team.catalogue()
        own = keys.with_stored_keys(environ, stored)
        return [
            team_state(state, spec, self.team.url, token) if goes_through(spec, own, catalogue) else state
            for state in states
            if (spec := spec_of(state.provider)) is not None
        ]

    def state(self, provider: str, extra: Iterable[str] = ()) -> KeyState:
        """The state of one provider's key. Raises InvalidInput, StoreUnusable."""
        if provider == HUB.name:
            return self._hub_state()
        _spec(provider)
        return next(state for state in self.states(extra) if state.provider == provider)

    def _hub_state(self) -> KeyState:
        token = self.hub_token()
        source = "environment" if any(os.environ.get(name) for name in self._token_variables()) else "file"
        url = self.team.url if self.team is not None else ""
        kept = HUB.name in self.stored()
        return KeyState(
            HUB.name,
            HUB.key_env,
            url,
            True,
            source if token else None,
            keys.mask(token) if token else "",
            kept,
            "",
        )

    def put(self, provider: str, key: str) -> None:
        """Keep a key: in the system's keyring when there is one, else in the file. InvalidInput, StoreUnusable."""
        spec = _spec(provider)
        key = key.strip()
        if (problem := keys.problem_of_key(key, spec.key_env)) is not None:
            raise InvalidInput(f"that is not a key of {provider}: {problem}", hint=f"po keys set {provider}")
        base = keys.base_url_of(spec, provider_environment())
        if spec is HUB and self.team is not None:
            base = self.team.url
        origin = keys.origin_of(base)
        if not origin:
            missing = spec.region_env[0] if spec.region_env and not base else ""
            raise InvalidInput(
                f"{missing} is not set, so it is not known which region the key is for"
                if missing
                else f"{spec.base_env} is not a URL, so it is not known whom the key is for",
                hint="Set it right where the orchestrator starts, or unset it.",
            )
        redactor.learn([key])
        entry: keys.KeyEntry = {"for": origin, "at": now()}
        with self._changing() as entries:
            if self._put_in_keyring(provider, key):
                entry["in"] = "keyring"
            else:
                entry["key"] = key
                if entries.get(provider, {}).get("in") == "keyring":
                    self._drop_from_keyring(provider)
            entries[provider] = entry

    def remove(self, provider: str) -> None:
        """Forget a stored key. NotFound when none is stored; InvalidInput, StoreUnusable."""
        with self._changing() as entries:
            if provider not in entries:
                spec = _spec(provider)
                hint = ""
                if os.environ.get(spec.key_env, "").strip():
                    hint = f"{spec.key_env} is set where the orchestrator starts; it is unset there."
                raise NotFound(f"no key of {provider} is stored", hint=hint)
            if entries.pop(provider).get("in") == "keyring":
                self._drop_from_keyring(provider)

    def _put_in_keyring(self, provider: str, key: str) -> bool:
        backend = keys.keyring_backend()
        if backend is None:
            return False
        name = keys.keyring_service(self._data_dir)
        try:
            keys.with_timeout(keys.KEYRING_TIMEOUT, lambda: backend.set_password(name, provider, key))
            return bool(
                keys.with_timeout(keys.KEYRING_TIMEOUT, lambda: backend.get_password(name, provider)) == key
            )
        except Exception as error:  # every backend has errors of its own; their texts may have anything in them
            log.warning("the system's keyring is not used", error=type(error).__name__)
            return False

    def _drop_from_keyring(self, provider: str) -> None:
        backend = keys.keyring_backend()
        if backend is not None:
            with suppress(Exception):
                keys.with_timeout(
                    keys.KEYRING_TIMEOUT,
                    lambda: backend.delete_password(keys.keyring_service(self._data_dir), provider),
                )

    @contextmanager
    def _changing(self) -> Iterator[dict[str, keys.KeyEntry]]:
        """The entries, written back at the end when nothing was raised; one process at a time."""
        diagnosis.make(self._data_dir)
        with self._lock, locked(self._data_dir / f".{keys.FILE}.lock"):
            entries = keys.read_entries(self._data_dir)
            before = json.dumps(entries, sort_keys=True)
            yield entries
            text = json.dumps(entries, sort_keys=True)
            if text != before:
                write_atomic(
                    self._path, json.dumps({"version": keys.VERSION, "keys": entries}).encode() + b"\n"
                )
            self._stamp = None


def _spec(provider: str) -> Spec:
    """A provider that takes a key, or the hub. Raises InvalidInput, which does not repeat a word that may be a key."""
    if provider == HUB.name:
        return HUB
    spec = spec_of(provider)
    takers = sorted(name for name, spec in specs().items() if spec.key_env)
    if spec is None:
        called = f" called {provider!r}" if len(provider) <= 20 else ""
        raise InvalidInput(
            f"there is no provider{called}{did_you_mean(provider, takers)}", hint=f"Known: {', '.join(takers)}"
        )
    if not spec.key_env:
        raise InvalidInput(f"{provider} takes no key", hint=f"Those that do: {', '.join(takers)}")
    return spec
