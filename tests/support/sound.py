"""Sounds for tests."""

from __future__ import annotations

import io
import wave
from base64 import b64encode


def wav(seconds: float = 1.0, rate: int = 8000) -> bytes:
    """Silence as a WAV, written by Python's own module."""
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(rate)
        sound.writeframes(b"\0\0" * int(seconds * rate))
    return file.getvalue()


def mp3(frames: int = 100) -> bytes:
    """Frames of MPEG 1 layer III at 128 kbit/s and 44.1 kHz, of 26.12 ms each."""
    return b"\xff\xfb\x90\x00" + b"\0" * 413 + (b"\xff\xfb\x90\x00" + b"\0" * 413) * (frames - 1)


def sound_url(data: bytes) -> str:
    """A sound as a data URL that says nothing of its type."""
    return "data:;base64," + b64encode(data).decode()
