"""Documents in messages: what they are, what they weigh, and that old hashes stay."""

from __future__ import annotations

from base64 import b64encode

import pytest

from po_jupyter.errors import InvalidInput
from po_jupyter.llm.chat import ChatRequest, Message
from po_jupyter.llm.documents import Document
from po_jupyter.llm.money.tokens import bound_request

DATA = b64encode(b"%PDF-1.4\n%%EOF\n").decode()


@pytest.mark.parametrize(
    ("data", "pages", "message"),
    [
        ("!", 1, "base64"),
        (b64encode(b"GIF8").decode(), 1, "no PDF"),
        (DATA, 0, "pages"),
        ("A" * 20 * 1024**2, 1, "14 MB"),
    ],
)
def test_what_is_no_document_is_refused(data: str, pages: int, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        Document(data, pages)


@pytest.mark.parametrize(
    ("model", "page"),
    [
        ("anthropic:claude-sonnet-4-5", 8000),
        ("openai:gpt-5", 8000),
        ("openai:gpt-4o-mini", 51_200),
        ("gemini:x", 1120),
    ],
)
def test_a_budget_sets_aside_what_each_page_may_take(model: str, page: int) -> None:
    plain = bound_request(ChatRequest(model, (Message("user", "Hi"),)))
    with_file = bound_request(ChatRequest(model, (Message("user", "Hi", files=(Document(DATA, 10),)),)))
    assert with_file - plain >= 10 * page


def test_the_file_is_in_the_hash_and_messages_without_one_keep_theirs() -> None:
    assert "files" not in Message("user", "Hi").to_json()
    one, two = (
        ChatRequest("fake:echo", (Message("user", "Hi", files=files),)) for files in ((), (Document(DATA, 1),))
    )
    assert one.request_hash != two.request_hash
    assert Message("user", "Hi", files=(Document(DATA, 1),)).sharing(1).files
