"""Every error that po_jupyter raises, in one tree.

    PoError
    ├── InvalidInput                  what somebody wrote is wrong; carries every violation at once
    │   ├── InvalidPipeline
    │   ├── InvalidSeed
    │   ├── InvalidSettings
    │   └── InvalidEnvironment        what a run needs outside of itself is missing: a key, a program
    ├── Unauthenticated               no credentials
    ├── Forbidden                     wrong credentials, or not allowed
    ├── NotFound
    ├── Conflict                      legal, but not in this state
    │   └── Moved                     somebody else wrote to the run meanwhile; asked again, it may be legal
    ├── RateLimited                   too many requests to the orchestrator
    ├── Unavailable                   the orchestrator cannot be reached or started
    │   └── BrokerUnavailable         the message broker does not answer; runs wait in the store
    ├── StoreError
    │   ├── StaleFence                somebody else works on the run now
    │   ├── CorruptRow                a row that we refuse to load
    │   └── StoreUnusable             the directory cannot hold a store
    ├── ModelError                    a call to a model failed; `transient` says whether another try can help
    │   ├── ModelUnavailable          connection, timeout, 5xx, overloaded (transient)
    │   ├── ModelRateLimited          429 (transient; knows `retry_after`)
    │   ├── ModelRefused              400, 404, 422, policy (permanent)
    │   ├── ModelKeyError             401, 403, or no key at all (permanent)
    │   ├── AnswerTruncated           the answer hit `max_tokens` (permanent)
    │   ├── AnswerEmpty               thoughts and no answer, or a tool that nobody offered (transient)
    │   └── AnswerUnreadable          not the JSON that was asked for (re-asked, see `refine`)
    ├── TaskError
    │   ├── StageFailed               the code of a stage raised
    │   │   └── ToolFailed            a tool of `ctx.llm` raised, or its server did not answer
    │   ├── ToolLoop                  a model that calls tools and never answers
    │   ├── StageTimeout
    │   ├── TemplateFailed            an undefined name, or a template that cannot be rendered
    │   ├── OutputInvalid             a validation still fails after the last refinement
    │   ├── ThresholdExceeded         too many rows of a map failed
    │   ├── ShardFailed               a child run of a map ended without its rows
    │   ├── PipelineFailed            the run of the pipeline that a task runs did not end well
    │   ├── RowsLeft                  the rows that a resume named have their outcome, others have none
    │   └── ControlInvalid            a task directed its run in a way that cannot be
    ├── BudgetExceeded
    └── WorkerError
        ├── WorkerCrashed
        ├── SpawnFailed
        └── VersionMismatch           another version of po_jupyter in that interpreter

`code` is stable: it is what HTTP, events and scripts see. `hint` says what to do next.
An error crosses a process boundary as `to_json()` and comes back through `from_json()`.
`details` is JSON for people and logs; the entries of it that decide something are typed fields of their class.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from po_jupyter.errors.base import Details
from po_jupyter.errors.base import PoError as PoError
from po_jupyter.errors.fields import DetailField as DetailField
from po_jupyter.errors.fields import Violation as Violation
from po_jupyter.errors.fields import first_violations
from po_jupyter.errors.model_errors import AnswerEmpty as AnswerEmpty
from po_jupyter.errors.model_errors import AnswerTruncated as AnswerTruncated
from po_jupyter.errors.model_errors import AnswerUnreadable as AnswerUnreadable
from po_jupyter.errors.model_errors import ModelError as ModelError
from po_jupyter.errors.model_errors import ModelKeyError as ModelKeyError
from po_jupyter.errors.model_errors import ModelRateLimited as ModelRateLimited
from po_jupyter.errors.model_errors import ModelRefused as ModelRefused
from po_jupyter.errors.model_errors import ModelUnavailable as ModelUnavailable


class InvalidInput(PoError):
    """Raised with every violation found; nothing was changed."""

    code = "invalid_input"
    status = 400

    def __init__(
        self,
        message: str = "",
        *,
        violations: Iterable[Violation] = (),
        hint: str = "",
        details: Details = None,
    ) -> None:
        """The text is `message` and every violation, one line each."""
        self.violations = first_violations(violations)
        text = "\n".join(filter(None, [message, *map(str, self.violations)])) or "invalid input"
        merged = dict(details or {})
        if self.violations:
            merged["violations"] = [v._asdict() for v in self.violations]
        super().__init__(text, hint=hint, details=merged)


class InvalidPipeline(InvalidInput):
    """A pipeline definition that cannot run."""

    code = "invalid_pipeline"


class InvalidSeed(InvalidInput):
    """A seed that is not `{name, data, pipeline?, metadata?, index?}`, or does not fit its pipeline."""

    code = "invalid_seed"


class InvalidSettings(InvalidInput):
    """A setting of the wrong type or out of range, or one that does not exist."""

    code = "invalid_settings"


class InvalidEnvironment(InvalidInput):
    """A run needs a key, base URL or program that is not there; `details["missing"]`: `{provider, variable}` each."""

    code = "environment"


class Unauthenticated(PoError):
    """No credentials came with the request."""

    code = "unauthenticated"
    status = 401


class Forbidden(PoError):
    """The credentials are wrong or do not allow this."""

    code = "forbidden"
    status = 403


class NotFound(PoError):
    """There is no such run, pipeline, task or route."""

    code = "not_found"
    status = 404


class Conflict(PoError):
    """The thing exists, but its state does not allow this now."""

    code = "conflict"
    status = 409


class Moved(Conflict):
    """The run is not any more as it was when this was decided; look at it again."""

    code = "moved"


class RateLimited(PoError):
    """Too many requests to the orchestrator with one token; `retry_after` is in seconds."""

    code = "rate_limited"
    status = 429
    retry_after = DetailField[float | None]("retry_after", (int, float), None)


class Unavailable(PoError):
    """The orchestrator cannot be reached or started, or not now: then `retry_after` is in seconds."""

    code = "unavailable"
    status = 503
    retry_after = DetailField[float | None]("retry_after", (int, float), None)


class BrokerUnavailable(Unavailable):
    """The message broker does not answer or refuses us; the runs are in the store and are published again later."""

    code = "broker_unavailable"


class StoreError(PoError):
    """The durable state cannot be read or written."""

    code = "store_error"
    status = 507  # 500 is what nobody has foreseen


class StaleFence(StoreError):
    """A write with an old fence number: the run was taken over, this writer must stop."""

    code = "stale_fence"
    status = 409


class CorruptRow(StoreError):
    """A row that is not JSON (it may claim to be a pickle): refused, never loaded."""

    code = "corrupt_row"


class StoreUnusable(StoreError):
    """The data directory cannot hold a store: network file system, read-only, full, another user's, or a newer
    version's."""

    code = "store_unusable"


class TaskError(PoError):
    """A task, or one row of it, cannot go on. `permanent`: another attempt would fail in the same way."""

    code = "task_error"
    permanent = DetailField[bool]("permanent", bool, False)

    def __init__(
        self, message: str, *, hint: str = "", details: Details = None, permanent: bool = False
    ) -> None:
        """`permanent` goes to the details."""
        super().__init__(message, hint=hint, details=details)
        if permanent:
            self.permanent = True


class StageFailed(TaskError):
    """The code of a stage raised; `details` has the stage and the traceback of the user's own lines."""

    code = "stage_failed"


class ToolFailed(StageFailed):
    """A tool that a model had called raised, or an MCP server failed; `details["tool"]` is its name."""

    code = "tool_failed"


class ToolLoop(TaskError):
    """The model went on calling tools after `max_tool_rounds`."""

    code = "tool_loop"


class StageTimeout(TaskError):
    """One attempt of a stage took longer than the task's `timeout`, in seconds."""

    code = "stage_timeout"


class TemplateFailed(TaskError):
    """A template names something that does not exist, or cannot be rendered."""

    code = "template_failed"


class OutputInvalid(TaskError):
    """The answer still breaks its JSON Schema or a validation stage; `violations` says all that is wrong."""

    code = "output_invalid"
    violations = DetailField[Sequence[str]]("violations", list, ())


class ThresholdExceeded(TaskError):
    """More rows failed than `failure_threshold` allows, or all of them; the finished ones are kept."""

    code = "failure_threshold"


class RowsLeft(TaskError):
    """The rows of a map that a resume named were asked for again, and others have no outcome yet; all is kept."""

    code = "rows_left"


class ShardFailed(TaskError):
    """A child run of a map ended before its rows had outcomes; what it finished is kept."""

    code = "shard_failed"


class PipelineFailed(TaskError):
    """The run of the pipeline that a task runs failed, was cancelled or is dead; what it finished is kept."""

    code = "pipeline_failed"


class ControlInvalid(TaskError):
    """A task cannot add, skip or pause that; `details["violations"]` has everything that is wrong."""

    code = "control_invalid"


class BudgetExceeded(PoError):
    """The next call could cost more than is left; what is finished is kept."""

    code = "budget_exceeded"
    status = 402


class WorkerError(PoError):
    """The process that worked on a run ended, or could not be started."""

    code = "worker_error"


class WorkerCrashed(WorkerError):
    """A worker died `crashes` times in a row without a new commit."""

    code = "worker_crashed"


class SpawnFailed(WorkerError):
    """A worker could not be started."""

    code = "spawn_failed"


class VersionMismatch(WorkerError):
    """The chosen interpreter has another version of po_jupyter, or none."""

    code = "version_mismatch"
    status = 409


def _tree(cls: type[PoError]) -> Iterable[type[PoError]]:
    yield cls
    for sub in cls.__subclasses__():
        yield from _tree(sub)


def from_json(data: Mapping[str, Any]) -> PoError:
    """The error that `to_json()` described; an unknown code comes back as a plain `PoError`."""
    cls = next((c for c in _tree(PoError) if c.code == data.get("code")), PoError)
    error = cls.__new__(cls)
    PoError.__init__(
        error, str(data.get("message", "")), hint=str(data.get("hint") or ""), details=data.get("details") or {}
    )
    if isinstance(error, InvalidInput):
        error.violations = Violation.list_from_json(error.details.get("violations"))
    if isinstance(error, ModelError):
        error.retry_after = error.limits = None
    return error
