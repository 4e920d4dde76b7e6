"""G3: what servers tell of their limits, and that it comes up from every wire."""

from __future__ import annotations

import httpx
import pytest

from po_jupyter.errors import ModelRateLimited
from po_jupyter.llm.chat import ChatRequest, ChatResponse, Message
from po_jupyter.llm.providers.registry import Providers
from po_jupyter.llm.rate_limits.headers import limits_from
from po_jupyter.llm.wire.http import Http
from po_jupyter.testing.model_server import ModelServer, Reply

OPENAI = {
    "X-RateLimit-Limit-Requests": "500",
    "x-ratelimit-remaining-requests": "499",
    "x-ratelimit-reset-requests": "120ms",
    "x-ratelimit-limit-tokens": "200000",
    "x-ratelimit-remaining-tokens": "199000",
    "x-ratelimit-reset-tokens": "6m0s",
}
ANTHROPIC = {
    "date": "Sun, 22 Nov 2026 12:00:00 GMT",
    "anthropic-ratelimit-requests-limit": "50",
    "anthropic-ratelimit-requests-remaining": "49",
    "anthropic-ratelimit-requests-reset": "2026-11-22T12:00:30Z",
    "anthropic-ratelimit-output-tokens-limit": "8000",
    "anthropic-ratelimit-output-tokens-remaining": "0",
    "anthropic-ratelimit-output-tokens-reset": "2026-11-22T12:00:30+00:00",
}


@pytest.mark.parametrize("kind", [dict, httpx.Headers])
def test_the_vendors_words(kind: type) -> None:
    assert limits_from(
        kind(OPENAI) if kind is httpx.Headers else {k.lower(): v for k, v in OPENAI.items()}
    ) == {
        "requests": (500, 499, 0.12),
        "tokens": (200_000, 199_000, 360.0),
    }
    assert limits_from(kind(ANTHROPIC)) == {"requests": (50, 49, 30.0), "output_tokens": (8000, 0, 30.0)}
    assert limits_from(kind({"content-type": "application/json"})) is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1s", 1.0), ("0s", 0.0), ("2m59.56s", 179.56), ("1h2m3s", 3723.0), ("1d", 86400.0), ("7.66", 7.66),
        ("", None), ("soon", None), ("-1s", None), ("nan", None), ("inf", 1e9), ("1s" * 50, None), ("9" * 400, 1e9),
        ("2026-99-99T00:00:00Z", None),
    ],
)  # fmt: skip
def test_times_in_every_form(text: str, seconds: float | None) -> None:
    """P11: what cannot be read is left out."""
    limits = limits_from({"x-ratelimit-limit-requests": "5", "x-ratelimit-reset-requests": text})
    assert limits == {"requests": (5, None, seconds)}


@pytest.mark.parametrize("limit", ["", "0", "-5", "many", "1.5", "9" * 30, "٣"])
def test_a_limit_that_is_none_teaches_nothing(limit: str) -> None:
    assert limits_from({"x-ratelimit-limit-requests": limit, "x-ratelimit-remaining-requests": "3"}) is None


WIRES = ["openai:gpt-5-mini", "openai:gpt-4o-mini", "anthropic:claude-haiku-4-5", "gemini:gemini-2.5-flash"]


@pytest.mark.parametrize("model", WIRES)
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.integration
async def test_every_wire_brings_them_up(model: str, streamed: bool) -> None:
    """G3: on answers and on refusals, not in what the journal keeps."""
    request = ChatRequest(model, (Message("user", "hi"),), max_tokens=50)
    on_text = (lambda piece: None) if streamed else None
    headers = {k.lower(): v for k, v in OPENAI.items()}
    with ModelServer(replies=[Reply("yes", headers=headers), Reply(status=429, headers=headers)]) as server:
        environ = {f"{n}_API_KEY": server.key for n in ("OPENAI", "ANTHROPIC", "GEMINI")}
        environ |= {f"{n}_BASE_URL": server.root_url for n in ("ANTHROPIC", "GEMINI")}
        http = Http()
        provider = Providers({**environ, "OPENAI_BASE_URL": server.base_url}, http=http).get(model)
        answer = await provider.chat(request, on_text=on_text)
        assert answer.limits is not None and answer.limits["requests"] == (500, 499, 0.12)
        assert "limits" not in answer.to_json() and answer == ChatResponse.from_json(answer.to_json())
        with pytest.raises(ModelRateLimited) as caught:
            await provider.chat(request, on_text=on_text)
        assert caught.value.limits is not None and caught.value.limits["tokens"][0] == 200_000
        assert "limits" not in caught.value.to_json()["details"]
        await http.aclose()
