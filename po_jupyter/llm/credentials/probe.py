"""The online check of a provider: one request that costs nothing shows that it answers and takes its key."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

import httpx

from po_jupyter.llm.credentials.keys import base_url_of
from po_jupyter.llm.specs import BUILT_IN, Spec

TIMEOUT = 5.0  # s, of everything together
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class ProbeResult(NamedTuple):
    """The result of a probe: all is well or not, and the finding for people. Holds no key and nothing of the answer."""

    ok: bool
    finding: str


async def probe(
    spec: Spec,
    environ: Mapping[str, str],
    *,
    timeout: float = TIMEOUT,  # noqa: ASYNC109 - httpx's own
) -> ProbeResult:
    """Ask a provider for its models, or about its key. Raises nothing."""
    if spec not in BUILT_IN or not spec.base_url:
        return ProbeResult(True, "not asked: it is not known what it can be asked")
    key = spec.key_in(environ)
    url, headers = _request(spec.name, base_url_of(spec, environ).rstrip("/"), key)
    started = time.monotonic()
    try:
        local = urlsplit(url).hostname in _LOOPBACK
        async with (
            httpx.AsyncClient(timeout=timeout, follow_redirects=False, trust_env=not local) as client,
            client.stream("GET", url, headers=headers) as response,
        ):
            status = response.status_code
    except httpx.TimeoutException:
        return ProbeResult(False, f"no answer within {timeout:g} s")
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        return ProbeResult(False, f"it cannot be reached ({type(error).__name__})")
    return _judged(status, bool(key), time.monotonic() - started)


def _request(provider: str, base_url: str, key: str) -> tuple[str, dict[str, str]]:
    """URL and headers of a provider's cheapest request."""
    headers = {"accept": "application/json", "accept-encoding": "identity", "user-agent": "po_jupyter"}
    if provider == "anthropic":
        headers |= {"x-api-key": key, "anthropic-version": "2023-06-01"}
        return f"{base_url.removesuffix('/v1')}/v1/models?limit=1", headers
    if provider == "gemini":
        return f"{base_url.removesuffix('/v1beta')}/v1beta/models?pageSize=1", headers | {"x-goog-api-key": key}
    if key:
        headers["authorization"] = f"Bearer {key}"
    # OpenRouter's list of models is public and says nothing of the key.
    return f"{base_url}/{'key' if provider == 'openrouter' else 'models'}", headers


def _judged(status: int, with_key: bool, seconds: float) -> ProbeResult:
    elapsed = f"{seconds * 1000:.0f} ms"
    if status in (401, 403):
        finding = f"it answers, and refuses the key ({status})" if with_key else f"it wants a key ({status})"
        return ProbeResult(False, finding)
    if status == 404:
        return ProbeResult(False, "it answers, but has no list of models there (404): is the base URL right?")
    if 300 <= status < 400:
        finding = f"it sends elsewhere ({status}), where a key does not follow: is the base URL right?"
        return ProbeResult(False, finding)
    if status == 429:
        return ProbeResult(True, f"it answers, and says too many requests (429), {elapsed}")
    if status >= 400:
        return ProbeResult(False, f"it answers with an error ({status})")
    return ProbeResult(True, f"it answers, {elapsed}")
