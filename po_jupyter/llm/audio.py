"""Sound in messages: WAV and MP3 files, as base64 with their length."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, TypedDict

from po_jupyter.errors import InvalidInput, ModelRefused
from po_jupyter.llm.documents import MAX_DOCUMENT_BYTES, Document, decoded, too_large

AudioFormat: TypeAlias = Literal["wav", "mp3"]
File: TypeAlias = "Document | Audio"
FileKind: TypeAlias = Literal["pdf", "audio"]

# Both are what OpenAI takes (`input_audio.format`, API reference of Chat Completions); Gemini has more ("Audio
# understanding", ai.google.dev), whose length only a decoder knows.
MIMES: dict[AudioFormat, str] = {"wav": "audio/wav", "mp3": "audio/mp3"}
MOST_SECONDS = 9.5 * 3600
"""The longest sound of a prompt that Gemini takes ("Audio understanding"); others take less."""
MP3_FRAME = re.compile(
    rb"\xff[\xe2\xe3\xf2\xf3\xfa\xfb][%s]"
    % b"".join(b"\\x%02x" % byte for byte in range(0x10, 0xF0) if byte >> 2 & 3 != 3)
)
"""The beginning of a frame of MPEG layer III, of a bit rate and a sample rate that exist (ISO/IEC 11172-3, 2.4.2.3)."""


class AudioJson(TypedDict):
    """An `Audio` as JSON."""

    mime: str
    data: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Audio:
    """A sound: base64 (`data`), at most 14 MB decoded, and its length in `seconds`, by which it is billed."""

    data: str = field(repr=False)
    seconds: float

    def __post_init__(self) -> None:
        """Raise InvalidInput for what is neither WAV nor MP3, and for one that is too large or too long."""
        if len(self.data) > MAX_DOCUMENT_BYTES * 4 // 3 + 4:
            raise InvalidInput(too_large(len(self.data) * 3 // 4))
        if audio_format(decoded(self.data[:64])) is None:
            raise InvalidInput("the file is no sound: neither WAV nor MP3")
        decoded(self.data)
        if not 0 < self.seconds <= MOST_SECONDS:
            raise InvalidInput(
                f"a sound has more than 0 seconds and at most {MOST_SECONDS:,.0f}, not {self.seconds}"
            )

    @property
    def format(self) -> AudioFormat:
        """`wav` or `mp3`, by its content."""
        return audio_format(decoded(self.data[:64])) or "wav"

    @property
    def mime(self) -> str:
        """The type of the sound, as Gemini calls it."""
        return MIMES[self.format]

    def to_json(self) -> AudioJson:
        """As JSON: `{mime, data, seconds}`."""
        return {"mime": self.mime, "data": self.data, "seconds": self.seconds}


def audio_format(data: bytes) -> AudioFormat | None:
    """The format of a sound by its first bytes, whatever a file is called; None: it is none that is taken."""
    if data[:4] == b"RIFF" and data[8:12] == b"WAVE":
        return "wav"
    if data[:3] == b"ID3" or MP3_FRAME.match(data):
        return "mp3"
    return None


def kind_of(file: File) -> FileKind:
    """The kind of a file, by which models differ."""
    return "audio" if isinstance(file, Audio) else "pdf"


def file_from_json(body: dict[str, object]) -> File:
    """The file that `to_json()` described. Raises KeyError and TypeError for another shape, InvalidInput for another
    content."""
    data = str(body["data"])
    if str(body.get("mime")).startswith("audio/"):
        return Audio(data, float(body["seconds"]))  # type: ignore[arg-type]  # raises TypeError
    return Document(data, int(body["pages"]), int(body.get("text_tokens") or 0))  # type: ignore[call-overload]  # raises TypeError


def documents_in(files: Iterable[File], provider: str) -> list[Document]:
    """The files of a turn for a wire that has no part for sound. Raises ModelRefused where one is."""
    documents = []
    for file in files:
        if isinstance(file, Audio):
            raise ModelRefused(
                f"{provider} takes no sound in this API",
                hint="Use a model that hears, for example gemini:gemini-2.5-flash.",
            )
        documents.append(file)
    return documents
