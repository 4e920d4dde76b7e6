"""The messages about rate limits, between a worker's `rate_limit_client` and the orchestrator's `rate_limit_server`.

Each is about one run, and names it as `ipc.messages` says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from po_jupyter.ipc.wire import IpcMessage
from po_jupyter.model.values.json import JsonObject


class RateState(TypedDict):
    """The limiter as a worker meets it: which one it is, and the models and providers that are limited."""

    epoch: str
    limited: list[str]


@dataclass(frozen=True, slots=True)
class RateHistory(IpcMessage):
    """Worker to orchestrator: by model, what was sent without asking: `{past, open, limits}`."""

    op = "rate.recall"
    models: JsonObject


@dataclass(frozen=True, slots=True)
class RatePermitRequest(IpcMessage):
    """Worker to orchestrator: may a call of about `input` tokens go, whose answer has at most `most`?"""

    op = "rate.ask"
    id: int
    model: str
    input: int
    most: int | None


@dataclass(frozen=True, slots=True)
class RatePermitDropped(IpcMessage):
    """Worker to orchestrator: the call will not be sent."""

    op = "rate.drop"
    id: int


@dataclass(frozen=True, slots=True)
class RatePermitUsed(IpcMessage):
    """Worker to orchestrator: the call began `ago` seconds ago and is over; tokens that count, when they are known,
    and the limits that the provider's server named."""

    op = "rate.used"
    id: int
    ago: float
    input: int | None = None
    output: int | None = None
    limits: JsonObject | None = None


@dataclass(frozen=True, slots=True)
class RatePermitRefused(IpcMessage):
    """Worker to orchestrator: the provider's server refused the call (429), for `after` seconds if it said so."""

    op = "rate.refused"
    id: int
    model: str
    after: float | None
    limits: JsonObject | None = None


@dataclass(frozen=True, slots=True)
class LimitedModels(IpcMessage):
    """Orchestrator to worker: the models and providers whose calls must ask from now on."""

    op = "rate.limited"
    keys: list[str]


@dataclass(frozen=True, slots=True)
class RatePermitGranted(IpcMessage):
    """Orchestrator to worker: the call may go."""

    op = "rate.go"
    id: int


@dataclass(frozen=True, slots=True)
class RatePermitDenied(IpcMessage):
    """Orchestrator to worker: the call can never go, and why."""

    op = "rate.no"
    id: int
    error: JsonObject


@dataclass(frozen=True, slots=True)
class RatePermitWait(IpcMessage):
    """Orchestrator to worker: what its calls to a model wait for, and for about how many seconds."""

    op = "rate.wait"
    model: str
    seconds: float | None
    reason: str
    calls: int


RateReport = RateHistory | RatePermitRequest | RatePermitDropped | RatePermitUsed | RatePermitRefused
RateMessage = LimitedModels | RatePermitGranted | RatePermitDenied | RatePermitWait
