"""The machines of the chaos: nodes, a node that serves, a database, a broker, each of which can die and come back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import psutil

from po_jupyter.errors import PoError
from po_jupyter.store.postgres.store import PostgresStore
from po_jupyter.store.protocol import Head
from po_jupyter.testing.model_server import ModelServer
from tests.support.brokers import BrokerServer, RabbitServer, SqsServer, ValkeyServer, running
from tests.support.nodes import TTL, WorkerNode
from tests.support.paths import ROOT
from tests.support.postgres import PostgresServer, postgres_server

BROKERS: dict[str, type[BrokerServer] | None] = {
    "store": None, "valkey": ValkeyServer, "rabbitmq": RabbitServer, "sqs": SqsServer,
}  # fmt: skip
LATENCY = 0.15  # s of an answer
TASKS = 4


def prompt_of(number: int, task: int) -> str:
    return f"run {number} task {task}"


def body(number: int) -> dict[str, Any]:
    tasks = [
        {"name": f"t{i}", "prompt": prompt_of(number, i), **({"needs": [f"t{i - 1}"]} if i else {})}
        for i in range(TASKS)
    ]
    llm = {"model": "openai:gpt-4o-mini", "max_tokens": 50}
    return {
        "pipeline": {"name": "chaos", "llm": llm, "tasks": tasks}, "seed": {"name": "s", "data": {}},
        "idempotency_key": f"run-{number}",
    }  # fmt: skip


class ApiNode:
    """A node that only serves. What it was asked when it died is asked again, with the same key."""

    def __init__(self, data_dir: Path, store: str, **env: str) -> None:
        variables = {
            **os.environ, "PYTHONPATH": str(ROOT), "PO_DATA_DIR": str(data_dir), "PO_STORE": store,
            "PO_NODE_TTL": str(TTL), "PO_NODE": data_dir.name, "PO_NODE_WORKS": "false", **env,
        }  # fmt: skip
        self.data_dir = data_dir
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.api_node"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT,
            env=variables,
        )  # fmt: skip

    def ask(self, line: str) -> dict[str, Any] | None:
        """Its answer; None when it died."""
        assert self.process.stdin is not None and self.process.stdout is not None
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
            while answer := self.process.stdout.readline():
                found: dict[str, Any] = json.loads(answer)
                if "key" in found:
                    return found
        except (OSError, ValueError):
            pass
        return None

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)

    def close(self) -> None:
        self.kill()
        for stream in (self.process.stdin, self.process.stdout):
            with suppress(OSError, ValueError):
                assert stream is not None
                stream.close()


class Cluster:
    """All of them over one database, and the runs that keep them busy."""

    def __init__(self, folder: Path, broker: str, *, nodes: int = 3, slots: int = 8, at_once: int = 8) -> None:
        self.folder = folder
        self._kind = BROKERS[broker]
        self._names = [f"node{i}" for i in range(nodes)]
        self._slots = slots
        self._at_once = at_once
        self._stack = ExitStack()
        self.nodes: dict[str, WorkerNode] = {}
        self.apis: list[ApiNode] = []
        self.runs: dict[int, str] = {}  # by number, what was acknowledged
        self.refused: list[str] = []
        self.model: ModelServer
        self.store: PostgresStore
        self.database: PostgresServer
        self.broker: BrokerServer | None = None
        self._feeding = True
        self._numbers = 0
        self._feeder: threading.Thread | None = None

    # -- life -----------------------------------------------------------------------------------
    def __enter__(self) -> Cluster:
        enter = self._stack.enter_context
        try:
            self.database = enter(postgres_server())
            self._url = self.database.url("chaos")
            if self._kind is not None:
                self.broker = enter(running(self._kind))
            self.calls = self.folder / "calls.jsonl"
            self.model = enter(ModelServer(latency=LATENCY, process=True, log=self.calls))
            self.store = PostgresStore(self._url, patience=60.0)
            self._stack.callback(self.store.close)
            self._stack.callback(self._kill_all)
            for name in self._names:
                self.start_node(name)
            self.apis = [self._api(number) for number in range(2)]
            for node in self.nodes.values():
                node.ready()
        except BaseException:
            self._stack.close()
            raise
        self._feeder = threading.Thread(target=self._feed, name="feeder", daemon=True)
        self._feeder.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._feeding = False
        self._stack.close()

    def _env(self) -> dict[str, str]:
        env = {"OPENAI_BASE_URL": self.model.base_url, "OPENAI_API_KEY": self.model.key}
        return env | ({"PO_BROKER": self.broker.url} if self.broker is not None else {})

    def start_node(self, name: str) -> None:
        # Every other one has its runs in processes of many.
        shared = "true" if self._names.index(name) % 2 else "false"
        self.nodes[name] = WorkerNode(
            self.folder / name, self._url, slots=self._slots, PO_SHARED_WORKER=shared, **self._env()
        )

    def _api(self, number: int) -> ApiNode:
        return ApiNode(self.folder / f"api{number}", self._url, **self._env())

    def restart_api(self, number: int) -> None:
        self.apis[number].close()
        self.apis[number] = self._api(number)

    def restart_database(self) -> None:
        for _ in range(20):
            try:
                self.database.start()
                return
            except RuntimeError:  # a process of the one before still has its memory
                time.sleep(0.2)
        raise RuntimeError("the database does not start again")

    def _kill_all(self) -> None:
        for node in self.nodes.values():
            node.kill()
        for api in self.apis:
            api.close()

    # -- work -----------------------------------------------------------------------------------
    def _feed(self) -> None:
        """Keep so many runs at work."""
        while self._feeding:
            try:
                missing = self._at_once - len(self.store.active())
            except PoError:
                continue
            for _ in range(missing):
                self._submit(self._numbers)
                self._numbers += 1
            time.sleep(0.1)

    def _submit(self, number: int) -> None:
        """Until somebody says which run it is."""
        line, tries = json.dumps(body(number)), 0
        while self._feeding:
            answer = self.apis[(number + tries) % len(self.apis)].ask(line)
            tries += 1
            if answer is not None and "run" in answer:
                self.runs[number] = answer["run"]
                return
            if answer is not None:
                self.refused.append(answer["error"])
            time.sleep(0.1)

    def finish(self, patience: float) -> list[Head]:
        """Submit no more, wait for the end of all runs; those that have not ended by then."""
        self._at_once = 0
        until = time.monotonic() + patience
        while (left := self.store.active()) and time.monotonic() < until:
            time.sleep(0.2)
        self._feeding = False
        assert self._feeder is not None
        self._feeder.join(30)
        return left

    def resume(self, run: str) -> None:
        """Have a run that ended go on."""
        answer = self.apis[0].ask(json.dumps({"resume": run}))
        assert answer is not None and "run" in answer, answer

    # -- victims --------------------------------------------------------------------------------
    def at_work(self, node: str | None = None) -> list[Head]:
        """The runs that have a worker, of one node or all."""
        return [
            head for head in self.store.active()
            if head["holder"] is not None and not head["holder"].get("reserves")
            and node in (None, head["holder"].get("node"))
        ]  # fmt: skip

    def kill_worker(self, head: Head) -> None:
        assert head["holder"] is not None
        with suppress(ProcessLookupError):
            os.kill(head["holder"]["pid"], signal.SIGKILL)

    def kill_node(self, name: str, *, orphans: bool) -> list[psutil.Process]:
        """All of its processes, or itself alone: its workers are orphans then."""
        node = self.nodes[name]
        tree = node.tree()
        if orphans:
            node.process.kill()
            node.process.wait(10)
            assert node.process.stdout is not None
            node.process.stdout.close()
            return tree[1:]
        node.kill()
        return []


def soon(done: Callable[[], object], patience: float) -> bool:
    until = time.monotonic() + patience
    while not done():
        if time.monotonic() > until:
            return False
        time.sleep(0.03)
    return True


__all__ = ["BROKERS", "LATENCY", "TASKS", "ApiNode", "Cluster", "body", "prompt_of", "soon"]
