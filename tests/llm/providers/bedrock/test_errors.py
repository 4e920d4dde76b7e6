"""Errors of Amazon's services: their shape, and a clock that is wrong."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx

from po_jupyter.errors import ModelKeyError
from po_jupyter.llm.providers.bedrock.errors import explain, in_common_shape
from po_jupyter.llm.wire.bodies import HttpResponse


def answer(kind: str, message: str, status: int = 403, **headers: str) -> HttpResponse:
    headers["x-amzn-errortype"] = kind
    return HttpResponse(status, httpx.Headers(headers), json.dumps({"message": message}).encode())


def test_the_type_comes_without_its_url_and_the_status_that_it_means() -> None:
    shaped = in_common_shape(answer("ModelNotReadyException:http://internal.amazon/", "wait", 429))
    assert (shaped.status, json.loads(shaped.body)["error"]["type"]) == (503, "ModelNotReadyException")


def test_a_wrong_clock_is_measured_and_the_key_is_not_blamed() -> None:
    date = format_datetime(datetime.now(UTC) - timedelta(minutes=10), usegmt=True)
    error = ModelKeyError(
        "Signature expired: it is now earlier", details={"reason": "InvalidSignatureException"}
    )
    explain(error, answer("InvalidSignatureException", "", date=date), "eu-west-1")
    assert "clock of this machine is wrong by 60" in error.hint
    assert error.details["reason"] == "clock_skew"
