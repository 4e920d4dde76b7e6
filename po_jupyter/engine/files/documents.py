"""Files of a model call, PDFs and sounds: loaded from where they are, with their pages or seconds counted."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Sequence

from po_jupyter.engine.files.audio_length import seconds_of
from po_jupyter.engine.files.named_files import TotalBytes, read_file
from po_jupyter.engine.files.pdf_pages import measure
from po_jupyter.engine.ports import ArtifactReader
from po_jupyter.errors import InvalidInput
from po_jupyter.llm.audio import Audio, File, audio_format
from po_jupyter.llm.documents import MAX_DOCUMENT_BYTES, Document, decoded, is_pdf, too_large


async def load_documents(sources: Sequence[object], files: ArtifactReader) -> tuple[File, ...]:
    """The files, in their order. Raises InvalidInput that names the one that cannot be used."""
    total = TotalBytes("this file")
    return tuple([await _load(source, n, files, total) for n, source in enumerate(sources)])


async def _load(source: object, n: int, files: ArtifactReader, total: TotalBytes) -> File:
    try:
        if isinstance(source, Document | Audio):
            total.add(len(source.data) * 3 // 4)
            return source
        found = await read_file(source, files, kind="a file", most=MAX_DOCUMENT_BYTES)
        data = bytes_of(found) if isinstance(found, str) else found
        total.add(len(data))
        return await asyncio.to_thread(_file, data)
    except InvalidInput as error:
        raise InvalidInput(f"file {n}: {error.message}", hint=error.hint) from None


def bytes_of(url: str) -> bytes:
    """The bytes of a data URL. Raises InvalidInput."""
    head, comma, data = url.partition(",")
    if not comma or "base64" not in head.split(";"):
        raise InvalidInput("a data URL of a file is data:application/pdf;base64,DATA")
    if len(data) > MAX_DOCUMENT_BYTES * 4 // 3 + 4:
        raise InvalidInput(too_large(len(data) * 3 // 4))
    return decoded(data)


def _file(data: bytes) -> File:
    if len(data) > MAX_DOCUMENT_BYTES:
        raise InvalidInput(too_large(len(data)))
    if audio_format(data) is not None:
        return Audio(base64.b64encode(data).decode(), seconds_of(data))
    if not is_pdf(data):
        raise InvalidInput(
            "the file is no PDF and no sound: it begins neither with %PDF- nor as WAV or MP3 does",
            hint="`files` takes PDF, WAV and MP3; `images` takes pictures.",
        )
    return Document(base64.b64encode(data).decode(), *measure(data))
