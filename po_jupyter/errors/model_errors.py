"""Errors of calls to models. `errors` has them all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from po_jupyter.errors.base import Details, PoError
from po_jupyter.errors.fields import DetailField


class ModelError(PoError):
    """A call to a model failed. `transient` errors are worth another try.

    retry_after    seconds that the server asked to wait
    limits         the rate limits of the answer's headers, see `llm.rate_limits.headers`
    outcome        "unknown": it was sent and no answer says what came of it
    usage          what it used all the same, as JSON
    model          the name that the server gave for the model
    http_status    and `reason`: of the provider's answer, the latter as its code
    at_once        the next try goes another way, so that it does not wait
    gateway        what the gateway of a hub says of it (the header X-Po-Error)
    page           a page answered, in the place of an API
    waits_for      `hub`, `token` or `limit`: it is tried again once that is there, and counts as no attempt
    """

    code = "model_error"
    status = 502
    transient: bool = False
    outcome = DetailField[Literal["unknown"] | None]("outcome", str, None)
    usage = DetailField[dict[str, Any] | None]("usage", dict, None)
    model = DetailField[str]("model", str, "")
    http_status = DetailField[int | None]("status", int, None)
    reason = DetailField[str | None]("reason", str, None)
    at_once = DetailField[bool]("at_once", bool, False)
    gateway = DetailField[str]("gateway", str, "")
    page = DetailField[bool]("page", bool, False)
    waits_for = DetailField[Literal["hub", "token", "limit"] | None]("waits_for", str, None)

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        details: Details = None,
        retry_after: float | None = None,
        outcome: Literal["unknown"] | None = None,
        at_once: bool = False,
    ) -> None:
        """`outcome` and `at_once` go to the details."""
        super().__init__(message, hint=hint, details=details)
        self.retry_after = retry_after
        self.limits: Mapping[str, Any] | None = None
        if outcome is not None:
            self.outcome = outcome
        if at_once:
            self.at_once = True

    @property
    def may_be_billed(self) -> bool:
        """Nobody here can know what it cost."""
        return self.outcome == "unknown" and self.usage is None


class ModelUnavailable(ModelError):
    """No connection, a timeout, a 5xx, an overloaded server."""

    code = "model_unavailable"
    transient = True


class ModelRateLimited(ModelError):
    """429; `retry_after` is what the server asked for, in seconds, or None."""

    code = "model_rate_limited"
    transient = True


class ModelRefused(ModelError):
    """The server understood the request and refused it: 400, 404, 422, a policy."""

    code = "model_refused"


class ModelKeyError(ModelError):
    """The key is missing, wrong or not allowed to use this model."""

    code = "model_key"


class AnswerTruncated(ModelError):
    """The answer stopped at `max_tokens`."""

    code = "answer_truncated"


class AnswerEmpty(ModelError):
    """The answer ended well and holds nothing: only thoughts, no text, or calls of tools that nobody offered."""

    code = "answer_empty"
    transient = True


class AnswerUnreadable(ModelError):
    """The answer holds no JSON although the request demands JSON; `details["sample"]` is its beginning."""

    code = "answer_unreadable"
