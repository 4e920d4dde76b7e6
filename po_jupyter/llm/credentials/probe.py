"""Whether a provider answers and takes its key: its cheapest question, asked once, which costs nothing."""

from __future__ import annotations

import time
from collections.abc import Mapping
from urllib.parse import urlsplit

import httpx

from po_jupyter.llm.credentials.keys import base_url_of
from po_jupyter.llm.specs import BUILT_IN, Spec

TIMEOUT = 5.0  # s, of everything together
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


async def probe(
    spec: Spec,
    environ: Mapping[str, str],
    *,
    timeout: float = TIMEOUT,  # noqa: ASYNC109 - httpx's own
) -> tuple[bool, str]:
    """(all is well, what was found in words). Neither the key nor a word of the answer is in them."""
    if spec not in BUILT_IN or not spec.base_url:
        return True, "not asked: it is not known what it can be asked"
    base = base_url_of(spec, environ).rstrip("/")
    key = environ.get(spec.key_env, "").strip()
    headers = {"accept": "application/json", "accept-encoding": "identity", "user-agent": "po_jupyter"}
    url = f"{base}/models"
    if spec.name == "anthropic":
        url = f"{base.removesuffix('/v1')}/v1/models?limit=1"
        headers |= {"x-api-key": key, "anthropic-version": "2023-06-01"}
    elif spec.name == "gemini":
        url = f"{base.removesuffix('/v1beta')}/v1beta/models?pageSize=1"
        headers |= {"x-goog-api-key": key}
    else:
        if spec.name == "openrouter":
            url = f"{base}/key"  # its list of models is public and says nothing of the key
        if key:
            headers["authorization"] = f"Bearer {key}"
    started = time.monotonic()
    try:
        local = urlsplit(url).hostname in _LOOPBACK
        async with (
            httpx.AsyncClient(timeout=timeout, follow_redirects=False, trust_env=not local) as client,
            client.stream("GET", url, headers=headers) as answer,
        ):
            status = answer.status_code
    except httpx.TimeoutException:
        return False, f"no answer within {timeout:g} s"
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        return False, f"it cannot be reached ({type(error).__name__})"
    took = f"{(time.monotonic() - started) * 1000:.0f} ms"
    if status in (401, 403):
        return False, f"it answers, and refuses the key ({status})" if key else f"it wants a key ({status})"
    if status == 404:
        return False, "it answers, but has no list of models there (404): is the base URL right?"
    if 300 <= status < 400:
        return False, f"it sends elsewhere ({status}), where a key does not follow: is the base URL right?"
    if status == 429:
        return True, f"it answers, and says too many requests (429), {took}"
    if status >= 400:
        return False, f"it answers with an error ({status})"
    return True, f"it answers, {took}"
