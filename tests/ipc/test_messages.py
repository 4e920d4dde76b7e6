"""The wire of each message, as versions before and after speak it: a worker may be adopted by another version."""

from __future__ import annotations

import json
from typing import Any

import pytest

from po_jupyter.ipc import messages
from po_jupyter.ipc.messages import FROM_ORCHESTRATOR, FROM_ZYGOTE, TO_ORCHESTRATOR, TO_ZYGOTE, WorkerRequest
from po_jupyter.ipc.wire import IpcMessage, Vocabulary

LOAD = {"running": 1, "queued": 2, "positions": {"r": 1}, "held": {}}
REQUEST = {
    "run": "r", "expect": 3, "address": "/s", "watched": False, "shards": 8, "settings": {}, "cwd": None,
    "log": "/l", "env": {"A": "b"}, "log_token": None,
}  # fmt: skip
# Fields that one version always sent are always sent, also when they are null: the other one reads them.
WIRE: list[tuple[Vocabulary, IpcMessage, dict[str, Any]]] = [
    (
        TO_ORCHESTRATOR,
        messages.WorkerHello("r", 7, 1.5, 3),
        {"op": "hello", "run": "r", "pid": 7, "created": 1.5, "fence": 3},
    ),
    (
        TO_ORCHESTRATOR,
        messages.SharedHello(7, 1.5, ["r"]),
        {"op": "process", "pid": 7, "created": 1.5, "runs": ["r"]},
    ),
    (TO_ORCHESTRATOR, messages.RunLeft(75), {"op": "left", "status": 75}),
    (TO_ORCHESTRATOR, messages.Heartbeat(), {"op": "beat"}),
    (
        FROM_ORCHESTRATOR,
        messages.TakeRun("r", 3, True),
        {"op": "take", "run": "r", "expect": 3, "watched": True},
    ),
    (
        TO_ORCHESTRATOR,
        messages.LogGrew(4, 9, "running"),
        {"op": "committed", "n": 4, "offset": 9, "state": "running"},
    ),
    (
        TO_ORCHESTRATOR,
        messages.TextPiece("t", "hi", 1, attempt=2),
        {"op": "text", "task": "t", "text": "hi", "round": 1, "attempt": 2},
    ),
    (
        TO_ORCHESTRATOR,
        messages.ResourceRequest(1, "local_model", "local:m"),
        {"op": "need", "id": 1, "what": "local_model", "model": "local:m"},
    ),
    (TO_ORCHESTRATOR, messages.RestingChanged(True), {"op": "rest", "on": True}),
    (TO_ORCHESTRATOR, messages.ChildChanged("c"), {"op": "child", "child": "c"}),
    (TO_ORCHESTRATOR, messages.WorkerFinished("done"), {"op": "bye", "state": "done"}),
    (TO_ORCHESTRATOR, messages.StoreFailure("full", ""), {"op": "failed", "message": "full", "hint": ""}),
    (TO_ORCHESTRATOR, messages.RateHistory({"m": {}}), {"op": "rate.recall", "models": {"m": {}}}),
    (
        TO_ORCHESTRATOR,
        messages.RatePermitRequest(1, "m", 10, None),
        {"op": "rate.ask", "id": 1, "model": "m", "input": 10, "most": None},
    ),
    (TO_ORCHESTRATOR, messages.RatePermitDropped(1), {"op": "rate.drop", "id": 1}),
    (TO_ORCHESTRATOR, messages.RatePermitUsed(1, 0.5), {"op": "rate.used", "id": 1, "ago": 0.5}),
    (
        TO_ORCHESTRATOR,
        messages.RatePermitUsed(1, 0.5, input=0, output=2, limits={"requests": [60, 59, 1.0]}),
        {
            "op": "rate.used",
            "id": 1,
            "ago": 0.5,
            "input": 0,
            "output": 2,
            "limits": {"requests": [60, 59, 1.0]},
        },
    ),
    (
        TO_ORCHESTRATOR,
        messages.RatePermitRefused(1, "m", None),
        {"op": "rate.refused", "id": 1, "model": "m", "after": None},
    ),
    (TO_ORCHESTRATOR, messages.Notify(None), {"op": "poke", "run": None}),
    (
        FROM_ORCHESTRATOR,
        messages.Welcome(True, {"epoch": "e", "limited": []}),
        {"op": "welcome", "watched": True, "rates": {"epoch": "e", "limited": []}},
    ),
    (FROM_ORCHESTRATOR, messages.Heartbeat(), {"op": "beat"}),
    (FROM_ORCHESTRATOR, messages.LookAtLog(), {"op": "look"}),
    (FROM_ORCHESTRATOR, messages.CancelRequested(), {"op": "cancel"}),
    (FROM_ORCHESTRATOR, messages.DrainWorker(), {"op": "drain"}),
    (FROM_ORCHESTRATOR, messages.StopWorker(), {"op": "stop"}),
    (FROM_ORCHESTRATOR, messages.WatchedChanged(False), {"op": "watched", "on": False}),
    (FROM_ORCHESTRATOR, messages.ResourceProgress(1, "5 MB"), {"op": "progress", "id": 1, "text": "5 MB"}),
    (
        FROM_ORCHESTRATOR,
        messages.ResourceResponse(1, "http://x", "k"),
        {"op": "answer", "id": 1, "base_url": "http://x", "key": "k"},
    ),
    (
        FROM_ORCHESTRATOR,
        messages.ResourceResponse(1, error={"code": "unavailable"}),
        {"op": "answer", "id": 1, "error": {"code": "unavailable"}},
    ),
    (FROM_ORCHESTRATOR, messages.LimitedModels(["m"]), {"op": "rate.limited", "keys": ["m"]}),
    (FROM_ORCHESTRATOR, messages.RatePermitGranted(1), {"op": "rate.go", "id": 1}),
    (
        FROM_ORCHESTRATOR,
        messages.RatePermitDenied(1, {"code": "model_refused"}),
        {"op": "rate.no", "id": 1, "error": {"code": "model_refused"}},
    ),
    (
        FROM_ORCHESTRATOR,
        messages.RatePermitWait("m", None, "m (429)", 3),
        {"op": "rate.wait", "model": "m", "seconds": None, "reason": "m (429)", "calls": 3},
    ),
    (
        FROM_ORCHESTRATOR,
        messages.NotifyReply(LOAD),
        {"op": "ok", "load": LOAD},
    ),
    (TO_ZYGOTE, messages.Spawn(1, REQUEST), {"op": "spawn", "id": 1, "request": REQUEST}),
    (
        FROM_ZYGOTE,
        messages.ZygoteHello("0.1.0", 1, "3.11.7", 9),
        {"op": "hello", "version": "0.1.0", "protocol": 1, "python": "3.11.7", "pid": 9},
    ),
    (
        FROM_ZYGOTE,
        messages.WorkerSpawned(1, 9, 2.0),
        {"op": "spawned", "id": 1, "pid": 9, "created": 2.0},
    ),
    (
        FROM_ZYGOTE,
        messages.ForkFailed(1, "cannot fork"),
        {"op": "failed", "id": 1, "error": "cannot fork"},
    ),
    (FROM_ZYGOTE, messages.WorkerExited(9, -15), {"op": "exited", "pid": 9, "status": -15}),
]


@pytest.mark.parametrize(
    ("vocabulary", "message", "wire"), WIRE, ids=[f"{type(m).__name__}-{i}" for i, (_, m, _) in enumerate(WIRE)]
)
def test_a_message_is_the_json_that_every_version_speaks(
    vocabulary: Vocabulary, message: IpcMessage, wire: dict[str, Any]
) -> None:
    line = message.encode()
    assert line.endswith(b"\n") and line.count(b"\n") == 1
    assert json.loads(line) == wire
    assert vocabulary.decode(line) == message


def test_a_message_names_the_run_that_it_is_about_and_an_older_reader_passes_over_that() -> None:
    """Upgrades: a worker of one run before 0.2.0 named none, and reads what names one."""
    line = messages.RestingChanged(True).encode("r")
    assert json.loads(line) == {"op": "rest", "run": "r", "on": True}
    assert TO_ORCHESTRATOR.decode(line) == messages.RestingChanged(True)
    assert TO_ORCHESTRATOR.decode_addressed(line) == (messages.RestingChanged(True), "r")
    assert TO_ORCHESTRATOR.decode_addressed(b'{"op":"beat"}') == (messages.Heartbeat(), None)


def test_every_message_is_in_the_table_above() -> None:
    classes = {cls for cls in vars(messages).values() if isinstance(cls, type) and issubclass(cls, IpcMessage)}
    assert classes - {IpcMessage} == {type(message) for _, message, _ in WIRE}


def test_a_request_carries_its_secrets_and_does_not_print_them() -> None:
    request = WorkerRequest.from_json({**REQUEST, "env": {"KEY": "secret"}, "log_token": "secret", "later": 1})
    assert WorkerRequest.from_json(request.to_json()) == request
    assert "secret" not in repr(request)
    assert "secret" not in repr(messages.Spawn(1, request.to_json()))
    assert "secret" not in repr(messages.ResourceResponse(1, "http://x", "secret"))
