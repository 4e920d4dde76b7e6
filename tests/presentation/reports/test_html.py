"""G13, P6: one file, nothing fetched, nothing run."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from po_jupyter.presentation.reports import html
from tests.support.report_content import EVIL, content


class Tags(HTMLParser):
    """The tags and attributes of a page, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.names: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.names |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text += data


def parsed(text: str) -> Tags:
    tags = Tags()
    tags.feed(text)
    return tags


def test_the_page_runs_and_fetches_nothing_whatever_is_in_the_run() -> None:
    page = html.page(content(name=EVIL, pipeline="tickets"))
    tags = parsed(page)
    assert not {"script", "img", "a", "link", "iframe", "object", "base", "form"} & set(tags.tags)
    assert not {"src", "href", "onload", "style"} & tags.names
    assert "default-src 'none'" in page
    assert "\x1b" not in page
    assert "<script>alert(1)</script>" in tags.text, "it is shown, as text"


def test_it_has_everything_of_the_run() -> None:
    text = re.sub(r"\s+", " ", parsed(html.page(content())).text)
    for part in ("tickets", "18.2k tokens", "openai:gpt-5-mini", "be kind", "def ingestion(ctx):", "no label <b>",
                 "997 of 1,000 rows are left out", '{"label": "bug"}', "Failed rows of label"):  # fmt: skip
        assert part in text, part


def test_in_a_cell_it_is_in_a_frame_of_its_own() -> None:
    fragment = html.fragment(content())
    tags = parsed(fragment)
    assert tags.tags == ["iframe"]
    assert "sandbox" in tags.names
    assert "<script" not in fragment
