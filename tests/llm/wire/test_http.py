"""Targets and the pools of their connections."""

import pytest

from po_jupyter.llm.specs import ProviderEndpoint
from po_jupyter.llm.wire.http import Http, Target
from po_jupyter.telemetry.correlation import TO_MODELS, request_id
from po_jupyter.testing.model_server import ModelServer

KEY = "sk-secret-0123456789"


def test_keys_are_in_no_repr():
    """P10."""
    assert KEY not in repr(ProviderEndpoint("http://x/v1", KEY))
    assert KEY not in repr(Target("http://x/v1", key=KEY, name="x"))


def test_a_key_goes_into_its_header_and_nowhere_else():
    assert Target("http://x/v1", key=KEY, name="x").headers["authorization"] == f"Bearer {KEY}"
    own = Target("http://x/v1", key=KEY, name="x", headers={"v": "1"}, key_header="x-api-key").headers
    assert (own["x-api-key"], own["v"], "authorization" in own) == (KEY, "1", False)
    assert "authorization" not in Target("http://x/v1", key=None, name="x").headers


@pytest.mark.parametrize(
    ("url", "proxy"),
    [
        ("http://far.example/v1", "http://p:1"),
        ("https://far.example/v1", "http://p:2"),
        ("http://127.0.0.1:9/v1", None),
        ("https://near.example/v1", None),
    ],
)
def test_the_proxy_comes_from_the_environment_but_never_for_loopback(url, proxy, monkeypatch):
    for name, value in {
        "http_proxy": "http://p:1",
        "https_proxy": "http://p:2",
        "no_proxy": "near.example",
    }.items():
        monkeypatch.setenv(name, value)
    target = Target(url, key=None, name="x")
    assert (target.pool.proxy, target.pool.tls) == (proxy, url.startswith("https"))
    assert target.stream_pool.once is ("127.0.0.1" in url)


@pytest.mark.integration
async def test_a_request_carries_the_id_of_ours_that_it_belongs_to():
    http = Http()
    token = request_id.set("r-17")
    try:
        with ModelServer() as server:
            target = Target(f"{server.base_url}/chat/completions", key=None, name="x")
            body = b'{"model": "m", "messages": [{"role": "user", "content": "hi"}]}'
            assert (await http.post(target, body, seconds=5)).status == 200
            assert (await http.fetch(target, method="POST", body=body, seconds=5)).status == 200
            assert [r.headers[TO_MODELS.lower()] for r in server.requests] == ["r-17", "r-17"]
    finally:
        request_id.reset(token)
        await http.aclose()
