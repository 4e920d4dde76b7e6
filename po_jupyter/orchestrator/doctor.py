"""The doctor: checks everything that a run needs where the orchestrator runs; each finding says what to do about it.

python -m po_jupyter.orchestrator.doctor [--online]     the findings as JSON, when no orchestrator runs
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import json
import shutil
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Literal, TypedDict

from po_jupyter.config import Settings
from po_jupyter.errors import InvalidSettings, PoError, StoreError
from po_jupyter.llm.credentials.availability import provider_problems
from po_jupyter.llm.credentials.keys import KeyState, base_url_of
from po_jupyter.llm.credentials.probe import probe
from po_jupyter.llm.credentials.team import is_of_team, team_prices
from po_jupyter.llm.money.pricing import PriceBook
from po_jupyter.llm.providers.refs import ref_problem
from po_jupyter.llm.specs import Spec, spec_of, specs
from po_jupyter.orchestrator.environment.key_store import KeyStore
from po_jupyter.orchestrator.environment.team import Team
from po_jupyter.orchestrator.notifications.report import ChannelReport, channel_reports, receiver
from po_jupyter.orchestrator.notifications.senders import missing_package
from po_jupyter.orchestrator.threads import ToThread
from po_jupyter.orchestrator.workers.rate_limit_server import check_limit_names
from po_jupyter.orchestrator.workers.spawned_workers import worker_pool
from po_jupyter.orchestrator.workers.zygote_pool import ZygotePool
from po_jupyter.platform import private_dir
from po_jupyter.presentation.urls import shown_url
from po_jupyter.store.protocol import Store
from po_jupyter.worker.zygote import version

_LITTLE = 1024**3  # bytes; below this the disk is called nearly full
_PACKAGES = ("httpx", "aiohttp", "diskcache", "jupyter-server", "genai-prices", "keyring", "xllamacpp")


Verdict = Literal["ok", "note", "bad"]


class DoctorFinding(TypedDict):
    """The result of one check. `verdict`: `ok`, `note` (runs work without it), `bad` (to be mended, as `todo` says)."""

    what: str
    verdict: Verdict
    found: str
    todo: str


def finding(what: str, verdict: Verdict, found: str, todo: str = "") -> DoctorFinding:
    """A `Finding`."""
    return {"what": what, "verdict": verdict, "found": found, "todo": todo}


class Doctor:
    """The doctor of a running orchestrator."""

    def __init__(
        self,
        settings: Settings,
        keys: KeyStore,
        zygotes: ZygotePool,
        store: Store,
        to_thread: ToThread,
        *,
        has_workers: Callable[[], bool],
    ) -> None:
        """`has_workers` tells whether runs are worked off here, with this process's environment."""
        self._settings = settings
        self._keys = keys
        self._zygotes = zygotes
        self._store = store
        self._to_thread = to_thread
        self._has_workers = has_workers

    async def examine(self, *, online: bool = False) -> list[DoctorFinding]:
        """A finding about everything that a run needs here; with `online` providers are asked too."""
        findings = await examine(
            self._settings, self._keys, self._zygotes, self._store, self._to_thread, online=online
        )
        if not self._has_workers():
            note = (
                "another server of this data directory has the workers, and its environment counts for keys"
                if self._settings.store is None
                else "this node works no runs off: `po workers` lists those that do, and their environments count"
            )
            findings.insert(0, finding("workers of another", "note", note))
        return findings


async def examine(
    settings: Settings,
    keys: KeyStore,
    zygotes: ZygotePool,
    store: Store | None,
    to_thread: ToThread,
    *,
    online: bool = False,
) -> list[DoctorFinding]:
    """Every check. Never raises: a check that fails is a finding, and the others still run.

    `store` None: it is opened for this, when there is one.
    """
    findings = [_python()]
    for what, check in (
        ("data directory", lambda: to_thread(_data_dir, settings)),
        ("store", lambda: to_thread(_store, settings, store)),
        ("workers", lambda: _workers(zygotes)),
        ("keys", lambda: to_thread(_key_file, settings, keys)),
        ("prices", lambda: to_thread(_prices, settings, keys)),
        ("rate limits", lambda: to_thread(_limits, settings)),
    ):
        findings.append(await _guarded(what, check))
    findings += await to_thread(_notifications, settings, store)
    if keys.team is not None:
        findings.append(await _guarded("hub", partial(to_thread, _hub, keys.team)))
    environ, refused = await to_thread(keys.environment, settings.worker_env)
    states: dict[str, KeyState] = {}
    with contextlib.suppress(StoreError):  # said by the check of the file
        states = {state.provider: state for state in await to_thread(keys.states, settings.worker_env)}
    checks = [
        _guarded(
            name, partial(_provider, name, settings, environ, refused.get(name, ""), states.get(name), online)
        )
        for name in specs()
    ]
    return [*findings, *await asyncio.gather(*checks)]


async def _guarded(what: str, check: Callable[[], Awaitable[DoctorFinding]]) -> DoctorFinding:
    try:
        return await check()
    except PoError as error:
        return finding(what, "bad", error.message, error.hint)
    except Exception as error:
        return finding(what, "bad", f"this check failed: {type(error).__name__}")


def _python() -> DoctorFinding:
    packages = []
    for name in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            packages.append(f"{name} {importlib.metadata.version(name)}")
    python = ".".join(map(str, sys.version_info[:3]))
    return finding(
        "versions", "ok", f"po_jupyter {version()}, Python {python} ({sys.executable}), {', '.join(packages)}"
    )


def _data_dir(settings: Settings) -> DoctorFinding:
    path = settings.data_dir
    private_dir.prepare(path, allow_network=settings.allow_network_store)
    free = shutil.disk_usage(path).free
    summary = f"{path}, {_file_system(path)}, {free / 1024**3:.1f} GB free"
    if free < _LITTLE:
        return finding("data directory", "bad", summary, "Free some space, or set PO_DATA_DIR to another disk.")
    return finding("data directory", "ok", summary)


def _file_system(path: Path) -> str:
    path, best = path.resolve(), None
    for mount in private_dir.mounts():
        if path.is_relative_to(mount.point) and (best is None or len(mount.point) >= len(best.point)):
            best = mount
    return best.type if best is not None else "an unknown file system"


def _store(settings: Settings, store: Store | None) -> DoctorFinding:
    started, opened = time.monotonic(), None
    if store is None:
        url = settings.store.get_secret_value() if settings.store else None
        if url is None and not (settings.data_dir / "store").is_dir():
            return finding("store", "note", "none yet: the first start makes it")
        from po_jupyter.store.opening import open_store

        store = opened = open_store(
            settings.data_dir / "store",
            url,
            shards=settings.store_shards,
            allow_network=settings.allow_network_store,
        )
    try:
        some = store.runs(limit=200)
    finally:
        if opened is not None:
            opened.close()
    count = f"{len(some.heads)}{' or more' if some.next else ''} {'run' if len(some.heads) == 1 else 'runs'}"
    return finding(
        "store", "ok", f"it opens and answers, {count}, {(time.monotonic() - started) * 1000:.0f} ms"
    )


async def _workers(zygotes: ZygotePool) -> DoctorFinding:
    started = time.monotonic()
    zygote = await zygotes.get(None)
    took = time.monotonic() - started
    how = f"started in {took:.1f} s" if took > 0.2 else "at hand"
    return finding("workers", "ok", f"Python {zygote.hello.python}, {how}")


def _key_file(settings: Settings, keys: KeyStore) -> DoctorFinding:
    from po_jupyter.llm.credentials.keys import keyring_backend

    stored = keys.stored()
    backend = keyring_backend()
    storage = f"the system's keyring ({type(backend).__module__})" if backend is not None else "a file, 0600"
    unread = [key for key in stored.values() if key.key is None]
    if unread:
        problems = "; ".join(f"{key.provider}: {key.problem}" for key in unread)
        return finding("keys", "bad", problems, f"po keys set {unread[0].provider}")
    return finding("keys", "ok", f"{len(stored)} stored; `po keys set` keeps them in {storage}")


def _prices(settings: Settings, keys: KeyStore) -> DoctorFinding:
    if unknown := [ref for ref in settings.prices if ref_problem(ref) is not None]:
        problems = "; ".join(str(ref_problem(ref)) for ref in unknown)
        return finding("prices", "note", problems, "The setting `prices` names models as provider:model.")
    environ, _ = keys.environment(settings.worker_env)
    book = PriceBook(settings.prices, team=team_prices(keys.catalogue(), environ, settings.hub_url))
    if settings.daily_usd is not None and book.lacks_price(settings.default_model):
        return finding(
            "prices", "bad", f"daily_usd is set, and the price of {settings.default_model} (default_model) is unknown",
            "Give it in the setting `prices`, or use daily_tokens.",
        )  # fmt: skip
    return finding("prices", "ok", f"{len(settings.prices)} of your own over the list's")


def _hub(team: Team) -> DoctorFinding:
    catalogue = team.catalogue()
    summary = f"{team.url}, models: {catalogue.listed() if catalogue.is_known else 'not known yet'}"
    if catalogue.problem:
        todo = "Runs wait for it. Ask the hub's admin if it stays so."
        return finding("hub", "bad", f"{summary}; {catalogue.problem}", todo)
    own = (
        "keys of your own win over the team's for their provider"
        if catalogue.own_keys
        else "no keys of your own"
    )
    return finding("hub", "ok", f"{summary}; {own}")


def _limits(settings: Settings) -> DoctorFinding:
    try:
        check_limit_names(settings)
    except InvalidSettings as error:
        problems = "; ".join(violation.message for violation in error.violations)
        return finding("rate limits", "bad", problems, error.hint)
    if not settings.rate_limits:
        return finding("rate limits", "ok", "none set; learned from what servers say")
    return finding("rate limits", "ok", ", ".join(settings.rate_limits))


def _notifications(settings: Settings, store: Store | None) -> list[DoctorFinding]:
    """A finding for each channel; of one whose store is not open only what the settings say."""
    if store is None:
        return [
            finding(f"notifications {name}", "bad" if missing_package(channel) else "ok", receiver(channel),
                    _todo_of_channel(missing_package(channel)))
            for name, channel in settings.notifications.items()
        ]  # fmt: skip
    try:
        return [_channel(report) for report in channel_reports(settings, store)]
    except PoError as error:
        return [finding("notifications", "bad", error.message, error.hint)]


def _channel(report: ChannelReport) -> DoctorFinding:
    facts = [report["receiver"], f"{report['delivered']} delivered"]
    if report["waiting"]:
        facts.append(f"{report['waiting']} waiting, the next try at {report['next_at']}")
    if report["given_up"]:
        facts.append(f"{report['given_up']} given up, the last at {report['given_up_at']}")
    if report["error"]:
        facts.append(report["error"])
    verdict: Verdict = "bad" if report["error"] else "note" if report["given_up"] else "ok"
    return finding(
        f"notifications {report['name']}", verdict, ", ".join(facts), _todo_of_channel(report["error"])
    )


def _todo_of_channel(error: str) -> str:
    if not error:
        return ""
    if "apprise is not installed" in error:
        return "pip install 'po_jupyter[notify]' where the orchestrator runs"
    return "Correct the channel in the setting `notifications`, or its receiver; what waits is tried again."


async def _provider(
    name: str, settings: Settings, environ: dict[str, str], refused: str, state: KeyState | None, online: bool
) -> DoctorFinding:
    """Usable or why not. It is `bad` when runs would use it: it was set up, or is the default."""
    spec = await asyncio.to_thread(spec_of, name)
    if spec is None:
        return finding(name, "bad", "its plugin cannot be loaded", "Install its package again, or remove it.")
    problems = await asyncio.to_thread(
        lambda: list(provider_problems(spec, environ, settings, refused=refused))
    )
    default = settings.default_model.partition(":")[0] == name
    facts = _facts(spec, environ, state)
    if is_of_team(spec, environ, settings.hub_url):
        return finding(name, "ok", f"asked through the hub's gateway, {shown_url(base_url_of(spec, environ))}")
    errors = [p.message for p in problems if not p.warning]
    notes = [p.message for p in problems if p.warning]
    if errors:
        set_up = bool(
            environ.get(spec.base_env, "").strip() or environ.get(spec.key_env, "").strip() or refused
        )
        verdict: Verdict = "bad" if default or (set_up and not spec.runs_code) else "note"
        if len(errors) == 1 and problems[0].variable and not set_up:
            return finding(name, verdict, f"no key ({spec.key_env})", f"po keys set {name}" if default else "")
        return finding(name, verdict, "; ".join([*facts, *errors]), _todo(spec, errors))
    if spec.key_optional and not environ.get(spec.base_env, "").strip() and not default:
        # A server of one's own that nobody set up: it may not be there, and nobody misses it.
        return finding(name, "note", f"{spec.base_env} is not set; it would be asked at {spec.base_url}")
    if online and spec.base_url:
        good, answer = await probe(spec, environ)
        todo = "" if good else _todo(spec, [answer])
        return finding(name, "ok" if good else "bad", "; ".join([*facts, answer, *notes]), todo)
    return finding(name, "note" if notes else "ok", "; ".join([*facts, *notes]) or "usable")


def _todo(spec: Spec, errors: list[str]) -> str:
    """The next step: a command to type, or a variable to set."""
    if spec.runs_code or spec.name == "local":
        return ""  # the message has it
    if any("key" in error for error in errors):
        return f"po keys set {spec.name}"
    if not spec.base_env:
        return ""
    variable = spec.base_env if any(spec.base_env in error for error in errors) else "it"
    return f"Set {variable} right where the orchestrator starts, then: po stop, po start"


def _facts(spec: Spec, environ: dict[str, str], state: KeyState | None) -> list[str]:
    facts = []
    if state is not None and state.source is not None:
        facts.append(f"key {state.masked} from the {state.source}")
        if state.note:
            facts.append(state.note)
    if spec.base_env and (base := base_url_of(spec, environ)):  # some have an address for each region alone
        own = f" ({spec.base_env})" if base != spec.base_url else ""
        facts.append(f"{shown_url(base)}{own}")
    return facts


def main() -> None:
    """Examine this machine without an orchestrator, and print the findings."""
    from po_jupyter import config
    from po_jupyter.telemetry.logging import configure

    async def run() -> list[DoctorFinding]:
        settings = config.load()
        configure(settings)  # to stderr: stdout is for the findings
        zygotes = worker_pool(settings)
        try:
            return await examine(
                settings,
                KeyStore(settings.data_dir, settings.hub_url),
                zygotes,
                None,
                asyncio.to_thread,
                online="--online" in sys.argv,
            )
        finally:
            await zygotes.close()

    print(json.dumps(asyncio.run(run())))


if __name__ == "__main__":
    main()
