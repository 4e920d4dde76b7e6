"""Headers of answers."""

from po_jupyter.llm.wire.headers import AnswerHeaders


def test_names_are_found_in_any_letters():
    headers = AnswerHeaders({"X-Request-Id": "r-1"})
    assert (headers["x-request-id"], headers.get("X-REQUEST-ID"), "X-request-id" in headers) == (
        "r-1",
        "r-1",
        True,
    )
    assert headers.get("other") is None and 1 not in headers
    assert (list(headers), len(headers)) == (["x-request-id"], 1)


def test_a_header_that_comes_twice_is_joined_and_any_byte_is_text():
    headers = AnswerHeaders.of_raw(
        [(b"Content-Encoding", b"gzip"), (b"content-encoding", b"br"), (b"X", b"\xff\xe4")]
    )
    assert headers["content-encoding"] == "gzip, br"
    assert headers["x"].encode() == "ÿä".encode()
