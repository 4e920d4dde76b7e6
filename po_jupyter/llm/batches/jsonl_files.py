"""What batch APIs of OpenAI's kind have in common: the upload of a file of JSON lines, and a response in a line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from po_jupyter.llm.batches.transfer import BatchTransport, FileBody, header_text, read_batched
from po_jupyter.llm.chat import ChatResponse
from po_jupyter.llm.wire.bodies import HttpResponse, decode_json
from po_jupyter.llm.wire.headers import AnswerHeaders
from po_jupyter.llm.wire.json_fields import as_text
from po_jupyter.llm.wire.response_reader import ResponseReader

BOUNDARY = "po-jupyter-batch-6d1f0b2c"  # JSON lines never begin with dashes, so it cannot occur in the file


async def upload_file(transport: BatchTransport, path: Path, token: str) -> str:
    """Upload a file of JSON lines with the purpose `batch`; its id. Raises a ModelError."""
    head = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{token}.jsonl"\r\n'
        "Content-Type: application/jsonl\r\n\r\n"
    ).encode()
    body = FileBody(path, head, f"\r\n--{BOUNDARY}--\r\n".encode())
    kind = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}
    file = decode_json(await transport.request("POST", "/files", body, kind))
    id = as_text(file.get("id")) if isinstance(file, Mapping) else ""
    if not id:
        raise transport.malformed("the uploaded file has no id")
    return id


def read_answer(reader: ResponseReader, response: Mapping[str, object]) -> ChatResponse:
    """The answer in the `response` of a line: `{status_code, request_id, body}`. Raises a ModelError."""
    headers = AnswerHeaders({"x-request-id": header_text(response.get("request_id"))})
    status = response.get("status_code")
    body = json.dumps(response.get("body")).encode()
    return read_batched(reader, HttpResponse(status if isinstance(status, int) else 502, headers, body))
