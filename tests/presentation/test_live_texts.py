"""Which of many texts a view shows, and how much of it."""

from __future__ import annotations

from po_jupyter.presentation.live_texts import LiveTexts, ShownText


def test_one_text_is_shown_while_it_grows() -> None:
    texts = LiveTexts()

    def shown(now: float) -> str | None:
        text = texts.current(now)
        return text and text.text

    texts.add("a", 1, "first", 0, now=10.0)
    texts.add("a", 2, "second", 0, now=10.1)
    assert shown(10.2) == "first"
    assert shown(11.3) == "second"
    texts.add("a", 2, "again", 1, now=11.4)
    assert shown(11.5) == "again"
    texts.keep_tasks({"b"})
    assert shown(11.6) is None


def test_what_is_kept_is_bounded() -> None:
    texts = LiveTexts()
    for row in range(1000):
        texts.add("a", row, "x" * 3000, 0, now=12.0)
    assert len(texts._texts) <= 64
    text = texts.current(12.0)
    assert text is not None
    assert len(text.text) <= 2000


def test_a_long_text_shows_its_newest_end() -> None:
    tail = ShownText("a", None, "x" * 5000 + " the end").tail
    assert tail.startswith("…")
    assert tail.endswith("the end")
    assert len(tail) < 500


def test_a_rows_text_is_labelled_by_its_row() -> None:
    assert ShownText("label", 413, "").label == "row 413"
    assert ShownText("label", None, "").label == "label"
