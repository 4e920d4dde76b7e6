"""G13, P6: Markdown in which nothing of the run is mark-up."""

from __future__ import annotations

import re

from po_jupyter.presentation.reports import markdown
from tests.support.report_content import EVIL, content


def outside_code(text: str) -> str:
    return re.sub(r"^(`{3,}).*?^\1$", "", text, flags=re.M | re.S)


def test_nothing_of_the_run_is_a_link_an_image_or_html() -> None:
    text = outside_code(markdown.text(content(name=EVIL)))
    assert not re.search(r"(?<!\\)<\w", text)
    assert not re.search(r"(?<!\\)\]\(", text)
    assert "\x1b" not in text
    for line in text.splitlines():
        if line.startswith("|") and not line.startswith("|-"):
            assert len(re.findall(r"(?<!\\)\|", line)) in (3, 5, 9), line


def test_no_bare_address_or_name_becomes_a_link_or_a_mention() -> None:
    """GitHub links them without any mark-up, and a mention sends mail to people."""
    for bare in ("https://evil.example/x", "HTTP://evil.example", "ftp://evil.example", "www.evil.example",
                 "@org/team", "me@evil.example", "mailto:me@evil.example", "org/repo#12", "GH-12"):  # fmt: skip
        shown = markdown.inline(f"see {bare}, please")
        assert not re.search(r"://|www\.|@\w|#\d|GH\\?-\d", shown, re.I), shown
        assert shown.replace("\\", "").replace("\u200b", "") == f"see {bare}, please"
    assert markdown.inline("a: b, 5 @ 3") == "a: b, 5 @ 3"


def test_a_fence_is_longer_than_any_in_it() -> None:
    assert markdown.fenced("a\n```\nb").startswith("````\n")
    assert markdown.fenced("a", "json") == "```json\na\n```"


def test_it_has_everything_of_the_run() -> None:
    text = markdown.text(content())
    for part in (
        "# tickets 1.0.0",
        "18.2k tokens",
        "be kind",
        "997 of 1,000 rows are left out",
        "## Failed rows of label",
    ):
        assert part in text, part
