"""`kill -9` in the middle of many calls: what was recorded is not sent again (P3)."""

import json
import os
import signal
import subprocess
import sys

import pytest

from po_jupyter.llm.calls.journal import CallKey, JournalEntry, MemoryJournal
from po_jupyter.llm.calls.journaled_chat import JournaledChat
from po_jupyter.llm.chat import ChatRequest, Message
from po_jupyter.llm.providers.registry import Providers
from po_jupyter.testing.model_server import ModelServer
from tests.support.paths import ROOT

pytestmark = pytest.mark.integration

ROWS, WIDTH = 60, 6


class FileJournal(MemoryJournal):
    """One JSON line for each record; a line that a kill cut off was never recorded."""

    def __init__(self, path):
        super().__init__()
        self.unknown = []
        self._file = path.open("a")
        for line in path.read_text().splitlines():
            record = json.loads(line)
            old = self._entries.get(record["key"])
            outcome = record.get("outcome") or (old and old.outcome)
            intents = (old.intents if old else 0) + (record["kind"] == "intent")
            self._entries[record["key"]] = JournalEntry(outcome, intents)

    def _write(self):
        self._file.write(json.dumps(self.records[-1]) + "\n")
        self._file.flush()

    async def intent(self, key, meta):
        await super().intent(key, meta)
        self._write()

    async def response(self, key, answer, call):
        await super().response(key, answer, call)
        self._write()


async def run(path, url):
    """The run: every row asked once, a few at a time."""
    import asyncio

    providers = Providers({"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": url})
    chat = JournaledChat(providers.get, FileJournal(path))
    rows = iter(range(ROWS))

    async def worker():
        for row in rows:
            request = ChatRequest("openai:m", (Message("user", f"row {row}"),))
            assert (await chat.scope("label", item=row).chat(request)).text == f"echo: row {row}"

    await asyncio.gather(*(worker() for _ in range(WIDTH)))
    await providers.aclose()


def start(path, url):
    code = "import asyncio, pathlib, sys; from tests.llm.calls.test_journaled_chat_crash import run\n"
    code += "asyncio.run(run(pathlib.Path(sys.argv[1]), sys.argv[2]))"
    return subprocess.Popen(
        [sys.executable, "-c", code, str(path), url], env={**os.environ, "PYTHONPATH": str(ROOT)}
    )


@pytest.mark.parametrize("after", [1, 17, 45])
def test_only_calls_in_flight_at_the_kill_are_sent_again(tmp_path, after):
    path = tmp_path / "journal.jsonl"
    path.touch()
    with ModelServer(latency=0.02) as server:
        process = start(path, server.base_url)
        server.wait_for(after, timeout=30)
        process.send_signal(signal.SIGKILL)
        process.wait()
        records = [json.loads(line) for line in path.read_text().splitlines()]
        answered = {r["key"] for r in records if r["kind"] == "response"}
        unknown = {r["key"] for r in records if r["kind"] == "intent"} - answered
        assert len(unknown) <= WIDTH
        assert start(path, server.base_url).wait(30) == 0
        asked = server.requests
    for row in range(ROWS):
        times = sum(r.prompt == f"row {row}" for r in asked)
        key = next((k for k in answered if CallKey.parse(k).item == row), None)
        assert times == 1 if key else times <= 2
    assert {int(r.prompt.split()[1]) for r in asked} == set(range(ROWS))
    records = [json.loads(line) for line in path.read_text().splitlines()]
    again = [r for r in records if r["kind"] == "intent" and r["intents"] > 0]
    assert {r["key"] for r in again} == unknown and len(again) == len(unknown)
