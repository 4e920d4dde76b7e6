"""The table of doors: what every route answers to everybody, asked of a real server, route by route of the table.

    python -m tests.security.scopes        # writes tests/security/scopes.md again: look at its diff

A new route comes into the table by itself. A new route that asks for `code:run` needs its line in `CODE`.
"""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx

from po_jupyter.server.auth import SCOPES
from po_jupyter.server.routes import TABLE
from po_jupyter.server.routing.table import AnyRoute
from tests.support.jupyter_process import API, JupyterProcess
from tests.support.scoped_people import ARGS, token_with

FILE = Path(__file__).with_name("scopes.md")
VERBS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_DEFINITION = {"name": "p", "tasks": [{"name": "a", "source": "def ingestion(ctx):\n    return 1\n"}]}
_WITH_CODE = {"pipeline": _DEFINITION, "seed": {"name": "s", "data": {}}}
_FAILING = {
    "name": "p",
    "tasks": [
        {"name": "a", "source": "def ingestion(ctx):\n    raise ValueError\n", "retry": {"max_attempts": 1}}
    ],
}
# By the name of a route that asks for `code:run`: its path and a body with code. RUN is a failed run with code,
# SCHEDULE a paused schedule of a pipeline with code.
CODE: Mapping[str, tuple[str, dict[str, Any]]] = {
    "validate": ("pipelines/validate", _WITH_CODE),
    "put_pipeline": ("pipelines/p", _DEFINITION),
    # `p` has code: the one before has registered it.
    "add_schedule": ("schedules", {"pipeline": "p", "cron": "0 0 1 1 *"}),
    "put_schedule": ("schedules/SCHEDULE", {"pipeline": "p", "cron": "0 0 1 1 *"}),
    "patch_schedule": ("schedules/SCHEDULE", {"paused": False}),
    "run_schedule": ("schedules/SCHEDULE/run", {}),
    "submit": ("runs", _WITH_CODE),
    "estimate": ("runs/estimate", _WITH_CODE),
    "resume": ("runs/RUN/resume", {}),
    "restart": ("runs/RUN/restart", {}),
    "fork": ("runs/RUN/fork", {"from_task": "a", "pipeline": _DEFINITION}),
    "requeue": ("dead-letters/RUN/requeue", {}),
}
_HEADER = """# Every door

Made by `python -m tests.security.scopes` from the table of routes (`po_jupyter/server/routes.py`), by asking a real
server. Ids in the paths are of nothing and bodies are empty: 404 and 400 are answers to somebody who may ask. Columns:
nobody, a wrong token, somebody without a scope, with that scope alone, with all but that one, with all.
"""
_CODE_HEADER = """
## With code

Bodies with a Python task, and failed runs that have one.
"""

Caller = tuple[str, dict[str, str]]  # (the name of a column, the headers)


def callers() -> list[Caller]:
    """The columns of the table."""
    people = [("no scope", ()), *((scope, (scope,)) for scope in SCOPES)]
    people += [(f"all but {scope}", tuple({*SCOPES} - {scope})) for scope in SCOPES]
    people += [("all", tuple(SCOPES))]
    strangers: list[Caller] = [("nobody", {}), ("wrong token", {"Authorization": "token wrong"})]
    return strangers + [(name, {"Authorization": f"token {token_with(scopes)}"}) for name, scopes in people]


def path_of(route: AnyRoute) -> str:
    """The path of a route, with ids of nothing."""
    return re.sub(r"\{\w+\}", "abcd", route.path)


def ask(client: httpx.Client, method: str, path: str, headers: Mapping[str, str], body: Any = None) -> int:
    """The status of an answer, of which nothing more is read."""
    content = {"json": {} if body is None else body} if method in ("POST", "PUT", "PATCH") else {}
    with client.stream(method, path, headers=headers, **content) as answer:
        return answer.status_code


def statuses(client: httpx.Client, method: str, path: str, body: Any = None) -> list[int]:
    """The answers of one door to all callers."""
    return [ask(client, method, path, headers, body) for _, headers in callers()]


def expected_refusals(route: AnyRoute) -> list[int | None]:
    """By caller, the status of a refusal; None: not refused. From the scopes of the route alone."""
    refusals: list[int | None] = [401, 403, 403 if route.scopes else None]
    refusals += [None if {*route.scopes} <= {scope} else 403 for scope in SCOPES]
    refusals += [403 if scope in route.scopes else None for scope in SCOPES]
    return [*refusals, None]


def table(client: httpx.Client) -> str:
    """Both tables, as Markdown."""
    everybody = [name for name, _ in callers()]
    text = [_HEADER, *_begin(["route", "scopes", *everybody])]
    for route in TABLE.routes:
        answers = statuses(client, route.method, path_of(route))
        scopes = ", ".join((*route.scopes, "(code:run)") if route.asks_code else route.scopes)
        text.append(_line(f"{route.method} {route.path}", scopes, *answers))
    text += [_CODE_HEADER, *_begin(["route", "all but code:run", "all"])]
    for route in TABLE.routes:
        if route.asks_code:
            text.append(_line(f"{route.method} {route.path}", *with_code(client, route)))
    return "\n".join(text) + "\n"


def with_code(client: httpx.Client, route: AnyRoute) -> list[int]:
    """The answers of a door to a body with code: without the scope `code:run`, and with it."""
    path, body = CODE[route.name]
    found = []
    for scopes in ({*SCOPES} - {"code:run"}, {*SCOPES}):
        headers = {"Authorization": f"token {token_with(scopes)}"}
        run = failed_run(client) if "RUN" in path else ""
        if "SCHEDULE" in path:
            path = path.replace("SCHEDULE", paused_schedule(client))
        found.append(ask(client, route.method, path.replace("RUN", run), headers, body))
    return found


def failed_run(client: httpx.Client) -> str:
    """A run whose code has failed."""
    headers = {"Authorization": f"token {token_with(SCOPES)}"}
    answer = client.post("runs", json={**_WITH_CODE, "pipeline": _FAILING}, headers=headers)
    answer.raise_for_status()
    run = str(answer.json()["run"]["id"])
    wait_for(lambda: client.get(f"runs/{run}", headers=headers).json()["run"]["state"] == "failed")
    return run


def paused_schedule(client: httpx.Client) -> str:
    """A paused schedule of a pipeline that has code."""
    headers = {"Authorization": f"token {token_with(SCOPES)}"}
    client.put("pipelines/p", json=_DEFINITION, headers=headers).raise_for_status()
    answer = client.post("schedules", json={"pipeline": "p", "cron": "0 0 1 1 *"}, headers=headers)
    answer.raise_for_status()
    schedule = str(answer.json()["schedule"]["id"])
    client.patch(f"schedules/{schedule}", json={"paused": True}, headers=headers).raise_for_status()
    return schedule


def wait_for(true: Callable[[], bool], patience: float = 30.0) -> None:
    """Return once it is true."""
    until = time.monotonic() + patience
    while not true():
        assert time.monotonic() < until
        time.sleep(0.05)


def _begin(columns: list[str]) -> list[str]:
    return [_line(*columns), "|---" * len(columns) + "|"]


def _line(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def server(folder: Path) -> JupyterProcess:
    """A Jupyter server with the real orchestrator, ready, whose people have the scopes that their tokens say."""
    process = JupyterProcess(folder, orchestrator=None, args=ARGS)
    with client_of(process) as client:
        headers = {"Authorization": f"token {token_with(SCOPES)}"}
        wait_for(lambda: ask(client, "GET", "ready", headers) == 200)
    return process


def client_of(process: JupyterProcess) -> httpx.Client:
    """A client without credentials."""
    return httpx.Client(base_url=process.url + API, trust_env=False, timeout=30)


def main() -> None:
    """Write the table."""
    with tempfile.TemporaryDirectory() as folder:
        process = server(Path(folder))
        try:
            with client_of(process) as client:
                FILE.write_text(table(client))
        finally:
            process.stop()
    print(FILE)


if __name__ == "__main__":
    main()
