"""Nodes of tests: `po worker` in processes of their own, each with a data directory of its own, over one store."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from po_jupyter.config import Settings
from po_jupyter.distributed.node import NodeDistribution, node_settings
from po_jupyter.orchestrator.service import Orchestrator, RunningOrchestrator
from tests.support.paths import ROOT

TTL = 1.5  # s, of a node in tests


class WorkerNode:
    """A `po worker`. `kill` is the end of its machine: the node, its zygotes and its workers. `prelude` is Python that
    its own process runs first."""

    def __init__(
        self,
        data_dir: Path,
        store: str,
        *,
        slots: int = 4,
        prelude: str = "",
        before: Sequence[str] = (),
        **env: str,
    ) -> None:
        """`before` are words before the command: `ip netns exec NAME`."""
        self.data_dir = data_dir
        variables = {
            **os.environ, "PYTHONPATH": str(ROOT), "PO_DATA_DIR": str(data_dir), "PO_STORE": store,
            "PO_NODE_TTL": str(TTL), "PO_HEARTBEAT": "0.2", "PO_NODE": data_dir.name, **env,
        }  # fmt: skip
        command = f"{prelude}\nimport sys; from po_jupyter.cli.main import main; sys.exit(main())"
        self.process = subprocess.Popen(
            [*before, sys.executable, "-c", command, "worker", "--slots", str(slots), "--json"],
            stdout=subprocess.PIPE, text=True, cwd=ROOT, env=variables,
        )  # fmt: skip
        self._ready: dict[str, Any] | None = None

    def ready(self) -> WorkerNode:
        """Once it is a node."""
        if self._ready is None:
            assert self.process.stdout is not None
            text = ""
            while not text.rstrip().endswith("}"):
                line = self.process.stdout.readline()
                assert line, f"the node ended: {self.log()}"
                text += line
            self._ready = json.loads(text)
        return self

    @property
    def name(self) -> str:
        return self.data_dir.name

    def log(self) -> str:
        """The end of what it logged."""
        path = self.data_dir / "logs" / "orchestrator.log"
        return path.read_text()[-3000:] if path.exists() else "no log"

    def tree(self) -> list[psutil.Process]:
        """The node and everything below it."""
        with suppress(psutil.NoSuchProcess):
            node = psutil.Process(self.process.pid)
            return [node, *node.children(recursive=True)]
        return []

    def signal(self, number: int) -> None:
        """Send it to the node and to everything below it."""
        for process in self.tree():
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def kill(self) -> None:
        """kill -9 of everything."""
        self.signal(signal.SIGKILL)
        self.process.wait(10)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def stop(self, patience: float = 30.0) -> int:
        """SIGTERM, and its end."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(patience)
        finally:
            self.kill()


@asynccontextmanager
async def api_node(data_dir: Path, store: str, **more: Any) -> AsyncIterator[RunningOrchestrator]:
    """A node of this process that has no workers, unless `node_works` says so."""
    wanted = Settings(**{
        "data_dir": data_dir, "store": store, "node": data_dir.name, "node_ttl": TTL, "heartbeat": 0.2,
        "node_works": False, **more,
    })  # fmt: skip
    own = node_settings(wanted)
    orchestrator = Orchestrator(own, distribution=NodeDistribution(own))
    try:
        yield await orchestrator.start()
    finally:
        await orchestrator.stop()
