"""The model server that other tests stand on."""

import http.client
import json

import pytest

from po_jupyter.testing.model_server import ModelServer, Reply, read_log

pytestmark = pytest.mark.integration

BODY = {"model": "m", "messages": [{"role": "user", "content": "hello there"}]}


def post(server, body=None, key="test-key"):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.request(
            "POST", "/v1/chat/completions", json.dumps(body or BODY), {"authorization": f"Bearer {key}"}
        )
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def test_it_echoes_and_records():
    with ModelServer() as server:
        status, _, raw = post(server)
        answer = json.loads(raw)
        assert status == 200
        assert answer["choices"][0]["message"]["content"] == "echo: hello there"
        assert answer["usage"] == {"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5}
        (request,) = server.wait_for(1, answered=True)
        assert request.prompt == "hello there" and request.answered
        post(server)
        assert list(server.duplicates().values()) == [2]
        assert len(server.paid_twice()) == 1


def test_a_schema_is_answered_with_a_value_that_fits():
    schema = {"type": "object", "properties": {"label": {"enum": ["bug", "praise"]}, "n": {"type": "integer"}}}
    body = {**BODY, "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}}
    with ModelServer() as server:
        content = json.loads(post(server, body)[2])["choices"][0]["message"]["content"]
    assert json.loads(content) == {"label": "bug", "n": 0}


def test_replies_are_used_in_order_then_the_standing_one():
    busy = Reply(status=429, headers={"retry-after": "2"})
    with ModelServer(lambda body, n: f"call {n}", replies=["one", busy]) as s:
        assert json.loads(post(s)[2])["choices"][0]["message"]["content"] == "one"
        status, headers, _ = post(s)
        assert (status, headers["retry-after"]) == (429, "2")
        assert json.loads(post(s)[2])["choices"][0]["message"]["content"] == "call 3"


def test_streams_come_as_events_with_usage_last():
    with ModelServer("a b") as server:
        _, _, raw = post(server, {**BODY, "stream": True, "stream_options": {"include_usage": True}})
    lines = [line.removeprefix("data: ") for line in raw.decode().split("\n\n") if line]
    assert lines[-1] == "[DONE]"
    chunks = [json.loads(line) for line in lines[:-1]]
    assert "".join(c["choices"][0]["delta"].get("content", "") for c in chunks if c["choices"]) == "a b"
    assert chunks[-1]["usage"]["completion_tokens"] == 2


def test_a_wrong_key_is_refused_and_a_cut_answer_is_cut():
    with ModelServer(key="right", replies=[Reply(cut=200)]) as server:
        assert post(server, key="wrong")[0] == 401
        with pytest.raises(http.client.HTTPException):
            post(server, key="right")
        server.wait_for(2)
        assert not server.requests[1].answered


def test_a_process_of_its_own_logs_across_restarts(tmp_path):
    log = tmp_path / "calls.jsonl"
    for _ in range(2):
        with ModelServer("fixed", process=True, log=log) as server:
            assert json.loads(post(server)[2])["choices"][0]["message"]["content"] == "fixed"
    assert [r.answered for r in read_log(log)] == [True, True]


def test_hold_keeps_answers_back_until_release():
    import threading

    with ModelServer() as server:
        server.hold()
        answers = []
        thread = threading.Thread(target=lambda: answers.append(post(server)))
        thread.start()
        server.wait_for(1)
        assert not answers
        server.release()
        thread.join(10)
        assert answers[0][0] == 200
