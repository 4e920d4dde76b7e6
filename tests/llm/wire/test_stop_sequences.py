"""Text is cut at the first stop sequence, however it is split into pieces."""

from hypothesis import given
from hypothesis import strategies as st

from po_jupyter.llm.wire.stop_sequences import StopCutter


@given(pieces=st.lists(st.text("abE", max_size=4), max_size=8), stop=st.text("abE", min_size=1, max_size=3))
def test_the_pieces_are_the_text_before_the_stop(pieces, stop):
    cutter = StopCutter([stop])
    shown = "".join(cutter.feed(piece) for piece in pieces) + cutter.flush()
    assert shown == "".join(pieces).partition(stop)[0]
    assert cutter.hit is (stop in "".join(pieces))


@given(text=st.text("abE", max_size=20), stops=st.lists(st.text("abE", min_size=1, max_size=3), max_size=3))
def test_the_first_of_several_stops_counts(text, stops):
    cutter = StopCutter(stops)
    assert cutter.feed(text) + cutter.flush() == min(
        (text.partition(stop)[0] for stop in stops), key=len, default=text
    )


def test_what_could_be_the_beginning_of_a_stop_is_held_back():
    cutter = StopCutter(["END"])
    assert cutter.feed("one E") == "one " and cutter.feed("N") == ""
    assert cutter.feed("x ") == "ENx " and not cutter.hit
    assert cutter.feed("two END three") == "two " and cutter.hit
    assert cutter.feed("END four") == "" and cutter.flush() == ""


def test_without_a_stop_everything_passes_at_once():
    cutter = StopCutter(["", ""])
    assert cutter.feed("abc") == "abc" and cutter.flush() == "" and not cutter.hit
