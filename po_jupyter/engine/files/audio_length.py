"""The length of a sound in seconds, counted in its own bytes: what a header only claims is not believed.

WAV: Microsoft's "Multimedia Programming Interface and Data Specifications" 1.0. MP3: ISO/IEC 11172-3 and 13818-3, whose
frames are counted one by one (14 MB have at most 600,000; 0.4 s), so that a wrong "Xing" header changes nothing.
"""

from __future__ import annotations

import struct

from po_jupyter.errors import InvalidInput
from po_jupyter.llm.audio import MOST_SECONDS, MP3_FRAME, audio_format

_PCM, _FLOAT, _A_LAW, _MU_LAW, _EXTENSIBLE = 1, 3, 6, 7, 0xFFFE
_RATES = range(1000, 768_001)  # Hz
# kbit/s and Hz by their indexes in a frame's header. The Hz are those of MPEG 1: MPEG 2 has half, 2.5 a quarter.
_BITRATES_1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_BITRATES_2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_SAMPLE_RATES = (44_100, 48_000, 32_000)


def seconds_of(data: bytes) -> float:
    """The seconds of a WAV or an MP3. Raises InvalidInput for one that cannot be counted, is empty, or too long."""
    seconds = _wav(data) if audio_format(data) == "wav" else _mp3(data)
    if not seconds:
        raise InvalidInput("the file has no sound in it")
    if seconds > MOST_SECONDS:
        raise InvalidInput(
            f"the sound has {seconds / 3600:.1f} hours, at most {MOST_SECONDS / 3600} are allowed",
            hint="Show it in parts.",
        )
    return round(seconds + 0.0005, 3)


def _wav(data: bytes) -> float:
    at, length, per_second = 12, 0, 0
    while at + 8 <= len(data):
        name, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if name == b"fmt ":
            per_second = _bytes_per_second(data[at + 8 : at + 8 + min(size, 40)])
        elif name == b"data":
            rest = len(data) - at - 8
            length += rest if size in (0, 0xFFFFFFFF) else min(size, rest)  # written as it came: without a size
            if size in (0, 0xFFFFFFFF):
                break
        at += 8 + size + size % 2
    if not per_second:
        raise InvalidInput("the WAV file does not say its sample rate")
    return length / per_second


def _bytes_per_second(form: bytes) -> int:
    if len(form) < 16:
        raise InvalidInput("the WAV file breaks off in its header")
    kind, channels, rate, _, block, _ = struct.unpack("<HHIIHH", form[:16])
    if kind == _EXTENSIBLE and len(form) >= 26:
        kind = int.from_bytes(form[24:26], "little")
    if kind not in (_PCM, _FLOAT, _A_LAW, _MU_LAW) or rate not in _RATES or not channels or block < channels:
        raise InvalidInput(
            "the WAV file is compressed, or says what no sound has, so its length cannot be counted",
            hint="Save it as PCM, or as MP3.",
        )
    return int(rate * block)


def _mp3(data: bytes) -> float:
    at, seconds = _after_tags(data), 0.0
    while (found := MP3_FRAME.search(data, at)) is not None:
        at = found.start()
        if at + 4 > len(data):
            break
        version, code = data[at + 1] >> 3 & 3, data[at + 2]
        first = version == 3
        rate = _SAMPLE_RATES[code >> 2 & 3] // (1 if first else 2 if version == 2 else 4)
        bits = (_BITRATES_1 if first else _BITRATES_2)[code >> 4] * 1000
        samples = 1152 if first else 576
        seconds += samples / rate
        at += samples // 8 * bits // rate + (code >> 1 & 1)
    return seconds


def _after_tags(data: bytes) -> int:
    """Where the sound begins: behind ID3v2 tags, whose pictures may look like frames (id3.org, ID3v2.4, 3.1)."""
    at = 0
    while data[at : at + 3] == b"ID3" and at + 10 <= len(data):
        size = 0
        for byte in data[at + 6 : at + 10]:
            size = size << 7 | byte & 0x7F
        at += 10 + size
    return at
