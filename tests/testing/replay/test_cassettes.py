"""Cassettes in the formats that are published."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

from po_jupyter.testing.replay.cassettes import read_exchanges

REQUEST = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}]}
RESPONSE = {"id": "c1", "object": "chat.completion", "choices": []}
URL = "https://api.openai.com/v1/chat/completions"


def vcr(body: str) -> str:
    return (
        f"interactions:\n- request:\n    body: '{json.dumps(REQUEST)}'\n    method: POST\n    uri: {URL}\n"
        "    headers: {authorization: [secret]}\n"
        f"  response:\n    body: {body}\n    headers: {{Content-Length: ['7'], X-Request-Id: [r1]}}\n"
        "    status: {code: 200, message: OK}\nversion: 1\n"
    )


def test_vcr_as_text_and_as_zipped_bytes(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(vcr("{string: '" + json.dumps(RESPONSE) + "'}"))
    zipped = gzip.compress(json.dumps(RESPONSE).encode())
    import base64

    (tmp_path / "b.yml").write_text(vcr("{string: !!binary " + base64.b64encode(zipped).decode() + "}"))
    for exchange, name in zip(read_exchanges(tmp_path), ("a.yaml#1", "b.yml#1"), strict=True):
        assert exchange.source == name
        assert exchange.request == REQUEST
        assert json.loads(exchange.response) == RESPONSE
        assert (exchange.status, exchange.host, exchange.headers) == (
            200,
            "api.openai.com",
            {"x-request-id": "r1"},
        )


def test_parsed_bodies(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        f"interactions:\n- request: {{parsed_body: {json.dumps(REQUEST)}, uri: '{URL}', method: POST}}\n"
        f"  response: {{parsed_body: {json.dumps(RESPONSE)}, status: {{code: 200}}, headers: {{}}}}\n"
    )
    (exchange,) = read_exchanges(tmp_path)
    assert json.loads(exchange.response) == RESPONSE


def test_lists_of_requests_and_responses_zipped(tmp_path: Path) -> None:
    text = (
        f"requests:\n- {{body: '{json.dumps(REQUEST)}', uri: '**REDACTED**', method: POST}}\n"
        f"responses:\n- {{body: {{string: '{json.dumps(RESPONSE)}'}}, status: {{code: 200}}, headers: {{}}}}\n"
    )
    (tmp_path / "a.yaml.gz").write_bytes(gzip.compress(text.encode()))
    (exchange,) = read_exchanges(tmp_path)
    assert (exchange.host, exchange.status) == ("", 200)


def test_an_array_that_gemini_streams_comes_as_events(tmp_path: Path) -> None:
    url = "https://generativelanguage.googleapis.com/v1beta/models/gemini-2.0-flash:streamGenerateContent"
    (tmp_path / "a.yaml").write_text(
        f"interactions:\n- request: {{body: '{{\"contents\": []}}', uri: '{url}', method: POST}}\n"
        '  response: {body: {string: \'[{"a": 1}, {"a": 2}]\'}, status: {code: 200}}\n'
    )
    (exchange,) = read_exchanges(tmp_path)
    assert exchange.streamed
    assert exchange.response == b'data: {"a": 1}\n\ndata: {"a": 2}\n\n'


def test_what_is_no_cassette_is_passed_over(tmp_path: Path) -> None:
    """Bad input of every kind: another file, broken YAML, entries without a response, requests that are no JSON."""
    (tmp_path / "list.yaml").write_text("- 1\n- 2\n")
    (tmp_path / "broken.yaml").write_text("interactions: [")
    (tmp_path / "half.yaml").write_text("interactions:\n- request: {body: '{}'}\n- 3\n")
    (tmp_path / "form.yaml").write_text(
        "interactions:\n- request: {body: a=1, uri: x}\n  response: {status: {code: 200}}\n"
    )
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00interactions")
    (tmp_path / "notes.txt").write_text("interactions")
    assert list(read_exchanges(tmp_path)) == []
