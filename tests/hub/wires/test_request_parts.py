"""Parts of requests: what is not read is not passed on. More of them are in `test_request_bounds`."""

from __future__ import annotations

from typing import Any

import pytest

from po_jupyter.hub.problems import GatewayProblem
from po_jupyter.hub.wires.operations import Api
from po_jupyter.hub.wires.request_bounds import bound_request


def chat(**fields: Any) -> dict[str, Any]:
    return {"model": "gpt-5-mini", "messages": [{"role": "user", "content": "hello"}], **fields}


def one(part: Any, **message: Any) -> dict[str, Any]:
    return chat(messages=[{"role": "user", "content": [part], **message}])


URL = {"url": "https://x/y.png"}


@pytest.mark.parametrize(
    ("api", "body"),
    [
        # References to what is kept at the vendor, without the type that says so.
        ("responses", {"model": "m", "input": [{"id": "msg_1"}]}),
        ("responses", {"model": "m", "input": [{"type": None, "id": "msg_1"}]}),
        ("responses", {"model": "m", "input": [{"role": "user", "id": "msg_1"}]}),
        ("responses", {"model": "m", "input": [{"type": "input_image", "image_url": "https://x"}]}),
        ("responses", {"model": "m", "input": {"id": "msg_1"}}),
        ("responses", {"model": "m", "input": [["x"]]}),
        ("responses", {"model": "m", "input": "x", "instructions": [{"id": "msg_1"}]}),
        # Parts that are not counted.
        ("chat", one({"type": "text", "text": "x"}, type="image_url", image_url=URL)),
        ("chat", one({"video_url": URL})),
        ("chat", one({"image_url": URL})),
        ("chat", one({"type": None, "image_url": URL})),
        ("chat", one({"type": "text", "text": "x", "video_url": URL})),
        ("chat", one({"type": "image_url", "image_url": URL, "content": [{"type": "video_url"}]})),
        ("chat", one([{"type": "video_url", "video_url": URL}])),
        ("chat", one({"type": "image_url", "image_url": {**URL, "detail": "original"}})),
        ("chat", chat(messages={"role": "user", "content": "x"})),
        ("chat", chat(messages=["x"])),
        ("chat", chat(messages=[{"role": "user", "content": {"type": "video_url"}}])),
        (
            "responses",
            {
                "model": "m",
                "input": [
                    {
                        "role": "user",
                        "content": [{"type": "input_image", "image_url": "https://x", "detail": "original"}],
                    }
                ],
            },
        ),
        (
            "messages",
            {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": [{"source": 1}]}]},
        ),
        *(
            ("gemini", {"contents": [{"parts": [{name: {"name": "f", "parts": [{"fileData": {}}]}}]}]})
            for name in ("functionResponse", "function_response", "functionCall")
        ),
        ("gemini", {"contents": [], "systemInstruction": [{"parts": []}]}),
    ],
)
def test_what_is_not_read_is_not_passed_on(api: Api, body: dict[str, Any]) -> None:
    with pytest.raises(GatewayProblem) as refused:
        bound_request(api, body, path_model="m")
    assert refused.value.code == "invalid_request"


def test_items_of_responses_have_no_name_at_the_vendor_and_nothing_is_kept_there() -> None:
    thoughts = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "abc"}
    call = {"type": "function_call", "id": "fc_1", "call_id": "c", "name": "f", "arguments": "{}"}
    body = {"model": "m", "store": True, "input": [thoughts, call, {"role": "user", "content": "go"}]}
    request = bound_request("responses", body)
    assert request.body["store"] is False
    assert [item.get("id") for item in request.body["input"]] == [None, None, None]
    assert request.body["input"][0]["encrypted_content"] == "abc"
    assert bound_request("responses", {"model": "m", "input": "x"}).body["store"] is False


@pytest.mark.parametrize(
    "url",
    ["http://169.254.169.254/latest", "HTTPS://x.example/a.png", " http://10.0.0.1/", "file:///etc/passwd",
     "ftp://x/y", "//10.0.0.1/a.png", "data:text/html,x"],
)  # fmt: skip
def test_an_address_is_told_from_an_image(url: str) -> None:
    """A server inside of the team's network would fetch it."""
    body = chat(**one({"type": "image_url", "image_url": {"url": url}}))
    try:
        request = bound_request("chat", body)
    except GatewayProblem:
        return
    assert request.image_urls == 1 and request.image_bytes == 0


@pytest.mark.parametrize(
    "data", ["data:image/png;base64,AAAA", "DATA:image/png;base64,AAAA", "iVBORw0KGgo=", "A" * 999]
)
def test_an_image_in_the_request_is_no_address(data: str) -> None:
    request = bound_request("chat", chat(**one({"type": "image_url", "image_url": {"url": data}})))
    assert request.image_urls == 0 and request.image_bytes == len(data)
