"""The length of a sound: counted by its own bytes, whatever its header claims, and in bounded time."""

from __future__ import annotations

import struct
import time

import pytest

from po_jupyter.engine.files.audio_length import seconds_of
from po_jupyter.errors import InvalidInput
from tests.support.sound import mp3, wav

FRAME = 1152 / 44_100


@pytest.mark.parametrize("seconds", [0.5, 2.0, 61.25])
def test_a_wav_is_as_long_as_its_samples(seconds: float) -> None:
    assert seconds_of(wav(seconds)) == pytest.approx(seconds, abs=0.002)


def test_an_mp3_is_as_long_as_its_frames() -> None:
    assert seconds_of(mp3(100)) == pytest.approx(100 * FRAME, abs=0.002)
    tag = b"ID3\x04\x00\x00" + bytes([0, 0, 2, 0]) + mp3(1)[:256].ljust(256, b"\0")
    assert seconds_of(tag + mp3(100)) == pytest.approx(100 * FRAME, abs=0.002), "a picture in a tag is no sound"


@pytest.mark.parametrize(
    ("version", "rate", "samples"), [(0xFB, 44_100, 1152), (0xF3, 22_050, 576), (0xE3, 11_025, 576)]
)
def test_each_version_of_mpeg_has_its_rate(version: int, rate: int, samples: int) -> None:
    size = samples // 8 * (128_000 if version == 0xFB else 80_000) // rate
    frame = bytes([0xFF, version, 0x90, 0]).ljust(size, b"\0")
    assert seconds_of(frame * 50) == pytest.approx(50 * samples / rate, abs=0.002)


def test_a_wav_that_was_written_as_it_came_is_read_to_its_end() -> None:
    data = bytearray(wav(1.0))
    data[40:44] = b"\xff\xff\xff\xff"
    assert seconds_of(bytes(data)) == pytest.approx(1.0, abs=0.002)
    data[40:44] = struct.pack("<I", 10**9)
    assert seconds_of(bytes(data)) == pytest.approx(1.0, abs=0.002), "no longer than the file"


def header(kind: int = 1, rate: int = 8000, block: int = 2) -> bytes:
    form = struct.pack("<HHIIHH", kind, 1, rate, rate * block, block, 16)
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", 4) + b"\0" * 4
    return b"RIFF" + struct.pack("<I", len(body)) + body


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (header(kind=0x55), "compressed"),
        (header(rate=1), "what no sound has"),
        (header(block=0), "what no sound has"),
        (b"RIFF\0\0\0\0WAVE", "sample rate"),
        (wav(0), "no sound in it"),
        (b"ID3\x04\x00\x00\x00\x00\x00\x00 nothing", "no sound in it"),
        (b"RIFF\0\0\0\0WAVEfmt \x04\0\0\0\1\0\1\0", "breaks off"),
    ],
)
def test_what_cannot_be_counted_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        seconds_of(data)


def test_a_hostile_mp3_takes_little_time() -> None:
    smallest = b"\xff\xf3\x14\x00".ljust(24, b"\0")
    for data in (smallest * 300_000, b"\xff\xf3\x14\x00" + b"\xff" * 7_000_000):
        began = time.process_time()
        assert seconds_of(data) > 0
        assert time.process_time() - began < 10  # 0.4 s on an idle machine
