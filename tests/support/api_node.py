"""A node that only serves, in a process of its own: it submits what it reads, one JSON body a line, and says which run
it became; `{"resume": RUN}` has a run go on. `python -m tests.support.api_node`; settings from `PO_*` variables."""

from __future__ import annotations

import asyncio
import json
import sys

from po_jupyter import config
from po_jupyter.distributed.node import NodeDistribution, node_settings
from po_jupyter.errors import PoError
from po_jupyter.orchestrator.service import Orchestrator
from po_jupyter.telemetry import logging


async def serve() -> None:
    """Until standard input ends."""
    settings = node_settings(config.load())
    logging.configure(settings, file=settings.data_dir / "logs" / "orchestrator.log")
    orchestrator = Orchestrator(settings, distribution=NodeDistribution(settings))
    running = await orchestrator.start()
    print(json.dumps({"ready": True}), flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        body = json.loads(line)
        try:
            if "resume" in body:
                await running.control.resume(body["resume"], None)
                print(json.dumps({"key": "", "run": body["resume"]}), flush=True)
                continue
            view, created = await running.submissions.submit(body, owner=f"owner{len(line) % 3}")
            answer = {"key": body["idempotency_key"], "run": view.id, "created": created}
        except PoError as error:
            answer = {"key": body.get("idempotency_key", ""), "error": error.message}
        print(json.dumps(answer), flush=True)
    await orchestrator.stop()


if __name__ == "__main__":
    asyncio.run(serve())
