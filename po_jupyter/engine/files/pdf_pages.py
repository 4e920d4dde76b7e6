"""The pages of a PDF, and the tokens of its text, counted by pypdf in a process of its own: a hostile file takes its
time and memory, not ours.

python -m po_jupyter.engine.files.pdf_pages   a PDF on stdin; its pages and tokens on stdout, or what is wrong on stderr
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
from functools import lru_cache
from importlib.util import find_spec
from threading import BoundedSemaphore, Lock
from typing import NamedTuple

from po_jupyter.errors import InvalidInput
from po_jupyter.llm.documents import PAGE_TEXT
from po_jupyter.llm.money.tokens import text_bound
from po_jupyter.model.values.digests import short_digest

MOST_PAGES = 1000  # what Gemini takes ("Document understanding", ai.google.dev); others take fewer
_SECONDS = 60  # the text of 1,000 dense pages takes pypdf about half of that
_MEMORY = 512 * 1024 * 1024
_REFUSED = 3  # exit code: what is wrong is on stderr
_MOST_KEPT = 1000
_keeping = Lock()
_counting = BoundedSemaphore(2)  # processes at a time: each may take `_MEMORY`
_NEEDED = ("PATH", "PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "TMPDIR", "SYSTEMROOT")


class Measure(NamedTuple):
    """The `pages` of a PDF, and the `text_tokens` of a `Document`."""

    pages: int
    text_tokens: int


_measured: dict[str, Measure] = {}  # by content: rows, votes and retries show the same file again


def missing_reader() -> str | None:
    """What is missing to count pages, with what to do; None: nothing."""
    if _has_reader():
        return None
    return "`files` needs pypdf, which counts the pages that a budget sets aside for: pip install 'po_jupyter[pdf]'"


@lru_cache(maxsize=1)
def _has_reader() -> bool:
    return find_spec("pypdf") is not None


def measure(data: bytes) -> Measure:
    """The size of a PDF; call it in a thread. Raises InvalidInput: it is none, it is encrypted, it has no pages or too
    many, its text takes too long to count, or what counts is missing."""
    key = short_digest(data)
    found = _measured.get(key)
    if found is None:
        found = _counted(data)
        with _keeping:
            while len(_measured) >= _MOST_KEPT:
                _measured.pop(next(iter(_measured)))
            _measured[key] = found
    return found


def _counted(data: bytes) -> Measure:
    if (missing := missing_reader()) is not None:
        raise InvalidInput(missing)
    command = [sys.executable, "-P", "-m", __name__]
    try:
        with _counting:
            done = subprocess.run(
                command, input=data, capture_output=True, timeout=2 * _SECONDS, check=False, env=_environment()
            )
    except subprocess.TimeoutExpired:
        raise InvalidInput(f"the PDF's pages cannot be counted within {2 * _SECONDS} seconds") from None
    if done.returncode == _REFUSED:
        raise InvalidInput(done.stderr.decode("utf-8", "replace").strip()[:300])
    numbers = done.stdout.split()
    if done.returncode or len(numbers) != 2 or not all(number.isdigit() for number in numbers):
        raise InvalidInput(
            f"the PDF's pages cannot be counted with {_SECONDS} seconds and {_MEMORY // 1024**2} MB of memory",
            hint="Show it in parts, of fewer pages each.",
        )
    return Measure(*map(int, numbers))


def _environment() -> dict[str, str]:
    """What Python needs to start; no key of anybody for who reads a hostile file."""
    return {name: os.environ[name] for name in _NEEDED if name in os.environ}


def pages_of(data: bytes) -> int:
    """The pages alone, in this process, which somebody else bounds. Raises as `measure`."""
    return measure_here(data, with_text=False).pages


def measure_here(data: bytes, *, with_text: bool = True) -> Measure:
    """As `measure`, in this process, which somebody else bounds."""
    if (missing := missing_reader()) is not None:
        raise InvalidInput(missing)
    from pypdf import PdfReader  # 1 s, and rare

    try:
        reader = PdfReader(io.BytesIO(data))
        if reader.is_encrypted:
            raise InvalidInput("the PDF is encrypted", hint="Save it without a password first.")
        pages = len(reader.pages)
        text = 0
        if with_text and pages <= MOST_PAGES:
            text = sum(text_bound(page.extract_text()) for page in reader.pages)
    except InvalidInput:
        raise
    except Exception as error:  # whatever a hostile file makes pypdf, or a codec that it uses, raise
        raise InvalidInput(f"the PDF cannot be read: {type(error).__name__}: {error}"[:300]) from None
    if not 1 <= pages <= MOST_PAGES:
        raise InvalidInput(f"the PDF has {pages:,} pages; 1 to {MOST_PAGES:,} are allowed")
    return Measure(pages, text if text > pages * PAGE_TEXT else 0)


def _main() -> int:
    import logging

    from po_jupyter.platform.limits import limit_process

    logging.disable()  # pypdf says much of what it mends
    limit_process(cpu=_SECONDS, wall=_SECONDS, memory=_MEMORY)
    try:
        sys.stdout.write("{} {}".format(*measure_here(sys.stdin.buffer.read())))
    except InvalidInput as error:
        sys.stderr.write(error.message)
        return _REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(_main())
