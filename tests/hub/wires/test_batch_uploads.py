"""Uploads are in `tests.hub.test_batches` and `test_batches_of_jobs`, through the gateway; here is what goes out."""

from __future__ import annotations

from email import message_from_bytes

from po_jupyter.hub.wires.batch_uploads import upload_of


def test_an_upload_of_geminis_has_two_parts_the_second_of_which_is_the_file() -> None:
    data = b'{"key":"a"}\n{"key":"b"}'
    body, kind, headers = upload_of("gemini", data)
    assert isinstance(body, bytes) and headers == {"X-Goog-Upload-Protocol": "multipart"}
    form = message_from_bytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + body)
    assert [part.get_content_type() for part in form.get_payload()] == ["application/json", "application/jsonl"]
    assert form.get_payload()[1].get_payload(decode=True) == data
