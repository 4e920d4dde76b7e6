"""Files of JSON lines: upload, and the response in a line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from po_jupyter.errors import ModelUnavailable
from po_jupyter.llm.batches.jsonl_files import read_answer, upload_file
from po_jupyter.llm.batches.transfer import BatchTransport
from po_jupyter.llm.chat import ChatRequest, Message
from po_jupyter.llm.providers.compatible.chat_completions import ChatReader
from po_jupyter.llm.providers.compatible.family import OPENAI
from po_jupyter.llm.specs import ProviderEndpoint
from tests.support.batch_http import FakeHttp


async def test_a_file_goes_up_with_its_purpose(tmp_path: Path) -> None:
    http: Any = FakeHttp()
    transport = BatchTransport(ProviderEndpoint("http://x", "k"), http, name="v", key_env="K", timeout=1)
    path = tmp_path / "rows"
    path.write_bytes(b"{}\n{}")
    http.answers["POST /files"] = {"id": "f1"}
    assert await upload_file(transport, path, "po1") == "f1"
    (sent,) = http.sent
    assert b'name="purpose"\r\n\r\nbatch\r\n' in sent.body and b'filename="po1.jsonl"' in sent.body
    http.answers["POST /files"] = []
    with pytest.raises(ModelUnavailable, match="no id"):
        await upload_file(transport, path, "po1")


@pytest.mark.parametrize("response", [{"status_code": "x", "body": None}, {"status_code": 200, "body": []}])
def test_a_response_of_no_shape_is_an_error(response: dict[str, Any]) -> None:
    request = ChatRequest("openai:gpt-4o", (Message("user", "hi"),))
    with pytest.raises(ModelUnavailable):
        read_answer(ChatReader("openai", request, "k", "K", OPENAI), response)
