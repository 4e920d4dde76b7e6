"""Bodies of responses: server-sent events, JSON lines, compression and bounds, over pieces of any size."""

import gzip
import zlib

import httpx
import pytest

from po_jupyter.errors import ModelRefused, ModelUnavailable
from po_jupyter.llm.wire import bodies
from po_jupyter.llm.wire.bodies import decode_json, json_lines, read_body, read_error, server_sent_events


def response_of(*pieces, status=200, **headers):
    async def stream():
        for piece in pieces:
            yield piece

    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.Response(status, headers=named, content=stream())


def by_bytes(text):
    return [text[n : n + 1] for n in range(len(text))]


async def all_of(items):
    return [item async for item in items]


EVENTS = b": hi\r\n\r\nevent: x\r\ndata: one\r\ndata:two\r\n\r\nid: 7\r\ndata: three\r\n\r\ndata: cut"


@pytest.mark.parametrize("newline", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("split", [lambda text: [text], by_bytes])
async def test_events_are_read_at_every_line_end_and_every_split(newline, split):
    text = EVENTS.replace(b"\r\n", newline)
    assert await all_of(server_sent_events(response_of(*split(text)))) == [b"one\ntwo", b"three"]


@pytest.mark.parametrize("split", [lambda text: [text], by_bytes])
async def test_a_byte_order_mark_before_a_stream_is_no_part_of_its_first_line(split):
    text = b"\xef\xbb\xbfdata: one\n\ndata: \xef\xbb\xbftwo\n\n"
    events = await all_of(server_sent_events(response_of(*split(text))))
    assert events == [b"one", b"\xef\xbb\xbftwo"], "only the first sign of a stream is a mark"


async def test_an_event_that_comes_twice_under_its_id_is_yielded_once():
    text = b"id: 1\ndata: a\n\nid: 1\ndata: a\n\nid: 2\ndata: a\n\ndata: b\n\ndata: b\n\n"
    assert await all_of(server_sent_events(response_of(text))) == [b"a", b"a", b"b", b"b"]


@pytest.mark.parametrize("split", [lambda text: [text], by_bytes])
async def test_json_lines_are_read_at_every_split(split):
    assert await all_of(json_lines(response_of(*split(b'{"a":1}\n\n{"b":2}')))) == [b'{"a":1}', b"", b'{"b":2}']


async def test_every_reader_has_its_bound(monkeypatch):
    monkeypatch.setattr(bodies, "MAX_ANSWER", 10)
    for read in (
        lambda: read_body(response_of(b"x" * 6, b"x" * 6)),
        lambda: all_of(server_sent_events(response_of(b"x" * 6, b"x" * 6))),
        lambda: all_of(json_lines(response_of(b"x" * 6, b"x" * 6))),
    ):
        with pytest.raises(ModelRefused, match="larger than"):
            await read()
    assert len(await all_of(json_lines(response_of(b"x" * 6, b"\n", b"x" * 6)))) == 2, (
        "the bound is of one line"
    )


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [("gzip", gzip.compress(b"hello", mtime=0)), ("deflate", zlib.compress(b"hello"))],
)
async def test_a_compressed_body_is_inflated(encoding, packed):
    assert await read_body(response_of(*by_bytes(packed), content_encoding=encoding)) == b"hello"
    with pytest.raises(ModelUnavailable, match="broke off") as caught:
        await read_body(response_of(packed[:-6], content_encoding=encoding))
    assert caught.value.outcome == "unknown"
    with pytest.raises(ModelUnavailable, match="damaged"):
        await read_body(response_of(b"no zlib at all", content_encoding=encoding))


async def test_an_encoding_that_was_not_asked_for_is_refused():
    with pytest.raises(ModelRefused, match="'br'"):
        await read_body(response_of(b"x", content_encoding="br"))


async def test_of_an_error_the_beginning_is_enough():
    error = await read_error(response_of(b"x" * 70_000, status=500))
    assert (error.status, len(error.body)) == (500, bodies.MAX_ERROR)
    assert (await read_error(response_of(b"x", status=500, content_encoding="br"))).body == b""
    assert await read_body(response_of(b"no", status=404)) == b"no"


def test_what_is_no_json_is_none():
    assert decode_json(b'{"a": 1}') == {"a": 1}
    assert decode_json(b"{") is None and decode_json(b"\xff") is None and decode_json(b"[" * 200_000) is None
