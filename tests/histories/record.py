"""Record the run histories of the version that is installed: `python -m tests.histories.record NAME`.

Writes `NAME.tar.gz` beside this file and what is expected of it into `manifest.json`. Needs Linux or macOS: it kills
an orchestrator and its workers in the middle of their work, with SIGKILL.

The data directory is recorded at PLACE, under the host name "history", so that nothing in the recording tells about the
machine on which it was made. It is copied as the killed processes left it: what was committed stands partly in SQLite's
write-ahead logs, as after a power cut.

    phase 1    one orchestrator, stopped in order: runs that ended or wait for a person
    phase 2    another one, killed with its workers: runs in the middle of something
    phase 3    a copy is opened, and everything in it is written down
    phase 4    another copy is gone on with: what has to come of each run
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import structlog

from . import going_on, opening, submissions

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PLACE = Path("/tmp/po-history")
HOST = "history"


# -- phase 1 -----------------------------------------------------------------------------------------------
async def ended(runs: dict[str, Any]) -> dict[str, Any]:
    """Runs that ended, and those that wait for a person. Returns the submission that is asked for again later."""

    def note(label: str, run: str, what: str, *steps: dict[str, Any]) -> None:
        runs[label] = {"id": run, "what": what, "goes_on": {"steps": list(steps)} if steps else None}

    async with opening.orchestrator(PLACE) as service:
        pipeline, lines = submissions.tickets()
        await service.pipelines.put("tickets", pipeline, owner=going_on.OWNER)
        rows = await opening.put_rows(service, going_on.OWNER, lines)
        seed = {"name": "done", "data": {"text": "the export button is broken", "rows": rows}}
        submitted = {"pipeline": "tickets", "seed": seed}
        view, _ = await service.submissions.submit(
            {**submitted, "idempotency_key": "history"}, owner=going_on.OWNER
        )
        assert (await opening.until(service, view.id))["state"] == "done"
        note("done", view.id, submissions.DONE, {"fork": "report"})

        fork = (await service.control.fork(view.id, None, "report")).id
        await opening.until(service, fork)
        note("fork", fork, "a fork of `done`; its last task is done again", {"restart": "report"})

        for label, (what, given, state, steps) in submissions.ended().items():
            view, _ = await service.submissions.submit(given, owner=going_on.OWNER)
            if label == "cancelled":
                while (await service.runs.get(view.id, None)).tasks[1].state != "running":
                    await asyncio.sleep(0.05)
                await service.control.cancel(view.id, None)
            elif label == "rejected":
                await opening.until(service, view.id, ("waiting",))
                await service.control.gate(view.id, None, "reject", note="not like this")
            elif label == "directed":
                await opening.until(service, view.id)
                await service.control.restart(view.id, None, "last")
            found = await opening.until(
                service, view.id, (*opening.ENDED, *(["waiting"] if label == "gate" else []))
            )
            assert found["state"] == state, found
            note(label, view.id, what, *steps)
    return submitted


# -- phase 2 -----------------------------------------------------------------------------------------------
async def serve() -> None:
    """An orchestrator that submits what it reads, line by line, and answers with the run's id. To be killed."""
    socket.gethostname = lambda: HOST
    async with opening.orchestrator(PLACE, max_running=2) as service:
        print(json.dumps("ready"), flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            view, _ = await service.submissions.submit(json.loads(line), owner=going_on.OWNER)
            print(json.dumps(view.id), flush=True)


def _until(what: Callable[[], bool], patience: float = 30.0) -> None:
    deadline = time.monotonic() + patience
    while not what():
        if time.monotonic() > deadline:
            raise TimeoutError("a run did not get to where it is to be killed")
        time.sleep(0.05)


def killed(runs: dict[str, Any], model: opening.ModelServer, batches: opening.BatchServer) -> None:
    """Start the runs of `submissions.killed`, wait until each is where it belongs, and kill everything."""
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.histories.record", "--serve"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    assert server.stdin is not None and server.stdout is not None

    def ask(line: Any = None) -> Any:
        if line is not None:
            server.stdin.write(json.dumps(line) + "\n")
            server.stdin.flush()
        return json.loads(server.stdout.readline())

    assert ask() == "ready"
    store = opening.Opened(PLACE)

    def waits(label: str) -> str:
        return str(store.view(runs[label]["id"])["tasks"][0]["waiting"])

    def answered(label: str) -> Counter[str]:
        return Counter(call["state"] for call in store.calls(runs[label]["id"]))

    there: dict[str, Callable[[], bool]] = {
        "batch": lambda: "batch of 3 rows" in waits("batch"),
        "killed-in-a-map": lambda: (
            (now := answered("killed-in-a-map"))["done"] == 3 and now["failed"] == 1 and now["in_flight"] == 2
        ),
        "killed-between-calls": lambda: (
            answered("killed-between-calls")["done"] == 1
            and any("two (no answer)" in r.prompt for r in model.requests)
        ),
        "pending": lambda: True,
    }
    for label, (what, given) in submissions.killed().items():
        runs[label] = {"id": ask(given), "what": what, "goes_on": {"steps": [{"recover": True}]}}
        _until(there[label])
    time.sleep(0.5)  # what was said by the way (progress) is durable too
    store.close()
    family = psutil.Process(server.pid).children(recursive=True)
    server.send_signal(signal.SIGSTOP)  # so that it does not start anew what is killed
    for process in family:
        process.kill()
    server.kill()
    server.wait()
    psutil.wait_procs(family, timeout=10)
    server.stdin.close()
    server.stdout.close()


# -- phase 3 -----------------------------------------------------------------------------------------------
def expected(data_dir: Path, runs: dict[str, Any]) -> dict[str, Any]:
    """Complete the manifest's runs; and everything that is too long for it, by label."""
    store = opening.Opened(data_dir)
    whole = {}
    try:
        for label, run in runs.items():
            view = store.view(run["id"])
            calls = store.calls(run["id"])
            run |= {
                "state": view["state"],
                "last_event": view["last_event"],
                "code": (view["error"] or {}).get("code"),
                "items": {
                    t["name"]: [t["items"]["done"], t["items"]["failed"]] for t in view["tasks"] if t["items"]
                },
                "usage": {k: view["usage"][k] for k in ("input_tokens", "output_tokens", "calls")},
                "calls": dict(sorted(Counter(call["state"] for call in calls).items())),
                "outputs": {name: going_on.small(value) for name, value in store.outputs(run["id"]).items()},
                "artifacts": [entry["name"] for entry in store.artifacts(run["id"])],
            }
            whole[label] = {
                "view": view,
                "folded": store.folded(run["id"]),
                "events": store.events(run["id"]),
                "calls": calls,
                "answers": store.answers(run["id"]),
                "rows": store.items(run["id"]),
                "artifacts": store.artifacts(run["id"]),
            }
    finally:
        store.close()
    return whole


def pack(archive: Path, whole: dict[str, Any]) -> None:
    """The data directory as it is, and what is expected of it. Without the files that only a living process uses."""

    def neutral(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
        if not (entry.isfile() or entry.isdir()) or entry.name.endswith("-shm"):
            return None  # a socket; the shared memory of SQLite, which whoever opens first makes anew
        entry.uid = entry.gid = 0
        entry.uname = entry.gname = ""
        return entry

    with tarfile.open(archive, "w:gz") as packed:
        packed.add(PLACE, "data", filter=neutral)
        for label, said in whole.items():
            text = json.dumps(said, indent=1, sort_keys=True).encode()
            entry = tarfile.TarInfo(f"expected/{label}.json")
            entry.size = len(text)
            packed.addfile(entry, io.BytesIO(text))


def record(name: str) -> None:
    """Make the recording of that name. Two of them at the same time would be in each other's way."""
    shutil.rmtree(PLACE, ignore_errors=True)
    runs: dict[str, Any] = {}
    socket.gethostname = lambda: HOST
    with tempfile.TemporaryDirectory() as scratch:
        # The processes that are started learn the name of the host from here.
        (Path(scratch) / "sitecustomize.py").write_text(
            f"import socket\nsocket.gethostname = lambda: {HOST!r}\n"
        )
        os.environ["PYTHONPATH"] = os.pathsep.join([scratch, str(ROOT)])
        with opening.ModelServer(submissions.provider()) as model, opening.BatchServer() as batches:
            batches.hold()
            with going_on.providers(model.base_url, batches.root_url):
                submitted = asyncio.run(ended(runs))
                killed(runs, model, batches)
            for label, run in runs.items():
                found = {r.prompt for r in model.requests if r.answered and r.prompt.startswith(f"{label}:")}
                bad = ("(overloaded)", "(refused)")
                run["answered"] = sorted(p for p in found if not any(word in p for word in bad))
            recording = {
                "model_url": model.base_url,
                "batches": opening.batch_of(batches),
                "submitted": submitted,
                "runs": runs,
            }
        copies = [Path(scratch) / "read", Path(scratch) / "gone-on"]
        for copy in copies:
            shutil.copytree(PLACE, copy, ignore=shutil.ignore_patterns("*-shm", "*.sock"))
        pack(HERE / f"{name}.tar.gz", expected(copies[0], runs))
        os.environ["PYTHONPATH"] = str(ROOT)
        store = opening.Opened(copies[0])
        recording["cached_answers"] = store.cached_answers()
        recording["order"] = [next(k for k, r in runs.items() if r["id"] == run) for run in store.runs()]
        store.close()
        recording["gone_on"] = going_on.go_on(copies[1], recording)
    shutil.rmtree(PLACE, ignore_errors=True)
    manifest = HERE / "manifest.json"
    known = json.loads(manifest.read_text()) if manifest.exists() else {}
    manifest.write_text(json.dumps({**known, name: recording}, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="python -m tests.histories.record", description="Record run histories."
    )
    parser.add_argument("name", nargs="?", help="of the recording: the version, for example 0.1.0-pre")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    # What is said on standard output is read by whoever started this.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    if options.serve:
        asyncio.run(serve())
    elif options.name and (HERE / f"{options.name}.tar.gz").exists():
        parser.error(f"{options.name} is recorded already; what a version left behind is never made anew")
    elif options.name:
        record(options.name)
    else:
        parser.error("the recording needs a name")
