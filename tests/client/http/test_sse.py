"""Server-sent events, however the bytes are cut."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from po_jupyter.client.http.sse import Parser, SseMessage
from po_jupyter.server.sse.streams import frame

WIRE = (
    b": ping\n\n"
    b'id: 1\nevent: run.created\ndata: {"a":1}\n\n'
    b'event: text\r\ndata: {"text":"line\\u2028separator \xe2\x80\xa8 raw"}\r\n\r\n'
    b"event: broken\ndata: {nope\n\n"
    b"data: [1]\n\n"
    b'id: x\ndata:{"b":\ndata: 2}\n\n'
)
MESSAGES = [
    SseMessage("run.created", {"a": 1}, 1),
    SseMessage("text", {"text": "line\u2028separator \u2028 raw"}),
    SseMessage("message", {"b": 2}),
]


@given(st.lists(st.integers(0, len(WIRE)), max_size=20))
def test_cuts_do_not_matter(cuts: list[int]) -> None:
    """P8: the same messages from any chunks."""
    places = [0, *sorted(cuts), len(WIRE)]
    parser = Parser()
    found = [m for a, b in pairwise(places) for m in parser.feed(WIRE[a:b])]
    assert found == MESSAGES


@given(st.dictionaries(st.text(), st.text()), st.none() | st.integers(1, 10**9))
def test_what_the_server_writes_is_what_the_client_reads(data: dict[str, str], offset: int | None) -> None:
    """P6: no text of a model can end a line or a message."""
    written = frame("x", data, offset)
    assert Parser().feed(written) == [SseMessage("x", data, offset)]
