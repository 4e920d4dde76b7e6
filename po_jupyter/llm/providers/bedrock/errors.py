"""Errors of Amazon's services: their type stands in a header, their message in a body of its own shape.

Reference: docs.aws.amazon.com/bedrock/latest/userguide/troubleshooting-api-error-codes.html and the model of
bedrock-runtime in botocore 1.44, read 2026-11.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from po_jupyter.errors import ModelError
from po_jupyter.llm.wire.bodies import HttpResponse, decode_json

# Credentials at their end: new ones are obtained, and the request is worth another try.
EXPIRED = frozenset({"ExpiredTokenException", "ExpiredToken"})
_SIGNATURE = frozenset(
    {"InvalidSignatureException", "RequestExpired", "RequestTimeTooSkewed", "SignatureDoesNotMatch"}
)
_CLOCK = ("signature expired", "signature not yet current", "request has expired", "clock", "too skewed")
_TEMPORARY = 503
# The status that a type of error means, where the one that came with it would be read otherwise.
STATUS_OF = {
    "internalServerException": 500,
    "modelStreamErrorException": 503,  # 424 on the wire: the model failed
    "ModelErrorException": 503,
    "modelTimeoutException": 504,
    "serviceUnavailableException": 503,
    "throttlingException": 429,
    "ThrottlingException": 429,
    "ModelNotReadyException": 503,  # 429 on the wire: it is being started
    "ServiceQuotaExceededException": 429,
    "validationException": 400,
    **dict.fromkeys(EXPIRED, _TEMPORARY),
}


def in_common_shape(response: HttpResponse) -> HttpResponse:
    """An error response as most vendors send theirs: `{"error": {"type", "message"}}`, the type without its URL."""
    body = decode_json(response.body)
    if not isinstance(body, Mapping):
        return response
    kind = response.headers.get("x-amzn-errortype") or body.get("__type") or body.get("code") or ""
    kind = str(kind).partition(":")[0].rpartition("#")[2][:100]
    inner = body.get("error")
    message = body.get("message") or body.get("Message")
    if message is None:
        message = inner.get("message") if isinstance(inner, Mapping) else ""
        kind = kind or str(inner.get("type") or "") if isinstance(inner, Mapping) else kind
    error = {"type": kind, "message": message}
    return HttpResponse(
        STATUS_OF.get(kind, response.status), response.headers, json.dumps({"error": error}).encode()
    )


def explain(error: ModelError, response: HttpResponse, region: str) -> None:
    """Say in the hint of an error what to do, where its own words do not."""
    kind, text = str(error.details.get("reason", "")), error.message.lower()
    if kind in _SIGNATURE and any(word in text for word in _CLOCK):
        off = _clock_offset(response)
        by = f" by {abs(off):.0f} s" if off is not None else ""
        error.hint = f"The clock of this machine is wrong{by}: set it right. The credentials are not at fault."
        error.details["reason"] = "clock_skew"
    elif "credential should be scoped to a valid region" in text:
        error.hint = (
            f"The address is of another region than {region or 'the one set'}: set AWS_REGION to its own."
        )
    elif "on-demand throughput" in text:
        error.hint = (
            "This model is asked through an inference profile: put its area before the name, for example `us.`, `eu.` "
            "or `global.`."
        )
    elif "model identifier is invalid" in text or kind == "ResourceNotFoundException":
        error.hint = (
            f"Check the model's name, and that it is offered in {region or 'this region'} (AWS_REGION)."
        )
    elif kind == "AccessDeniedException":
        error.hint = (
            f"The key or login may not use this model in {region or 'this region'}: it needs bedrock:InvokeModel and "
            "bedrock:InvokeModelWithResponseStream, and access to the model in Bedrock's console."
        )
    elif kind in EXPIRED:
        error.hint = "The credentials were at their end; new ones are obtained for the next try."


def _clock_offset(response: HttpResponse) -> float | None:
    """Seconds by which this machine's clock is ahead of the server's."""
    try:
        there = parsedate_to_datetime(response.headers.get("date", ""))
    except ValueError:
        return None
    there = there if there.tzinfo else there.replace(tzinfo=UTC)
    return (datetime.now(UTC) - there).total_seconds()
