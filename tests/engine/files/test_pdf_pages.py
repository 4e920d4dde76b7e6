"""Pages of PDFs: counted in a process of its own, and a hostile file costs its time and memory alone."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from po_jupyter.engine.files import pdf_pages
from po_jupyter.engine.files.pdf_pages import measure, measure_here, missing_reader, pages_of
from po_jupyter.errors import InvalidInput
from tests.support.pdf import pdf, text_pdf


@pytest.mark.integration
def test_pages_are_counted_once_for_the_same_file(monkeypatch: pytest.MonkeyPatch) -> None:
    assert measure(pdf(7)) == (7, 0)

    def run(*args: Any, **more: Any) -> None:
        raise AssertionError("counted again")

    monkeypatch.setattr(subprocess, "run", run)
    assert measure(pdf(7)) == (7, 0)


@pytest.mark.integration
def test_what_is_no_pdf_is_said_from_the_other_process() -> None:
    with pytest.raises(InvalidInput, match="cannot be read"):
        measure(b"%PDF-1.4\nnothing behind it")


def test_pages_that_the_count_of_the_tree_hides_are_counted() -> None:
    assert pages_of(pdf(3).replace(b"/Count 3", b"/Count 1")) == 3


def test_encrypted_files_and_too_many_pages_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidInput, match="encrypted"):
        pages_of(pdf(1, password="x"))
    monkeypatch.setattr(pdf_pages, "MOST_PAGES", 2)
    with pytest.raises(InvalidInput, match="3 pages"):
        pages_of(pdf(3))
    with pytest.raises(InvalidInput, match="0 pages"):
        pages_of(pdf(0))


def test_a_file_that_takes_all_time_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: list[str], **more: Any) -> None:
        raise subprocess.TimeoutExpired(command, more["timeout"])

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(InvalidInput, match="within 120 seconds"):
        measure(pdf(11))


def test_a_process_that_was_killed_counted_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: list[str], **more: Any) -> subprocess.CompletedProcess[bytes]:
        return subprocess.CompletedProcess(command, -9, b"", b"")

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(InvalidInput, match="512 MB"):
        measure(pdf(12))


def test_without_the_extra_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pdf_pages, "_has_reader", lambda: False)
    assert "po_jupyter[pdf]" in (missing_reader() or "")
    with pytest.raises(InvalidInput, match="pip install"):
        pages_of(pdf())


def test_the_process_that_reads_it_has_no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, str]] = []

    def run(command: list[str], **more: Any) -> subprocess.CompletedProcess[bytes]:
        seen.append(more["env"])
        return subprocess.CompletedProcess(command, 0, b"2 0", b"")

    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    monkeypatch.setattr(subprocess, "run", run)
    assert measure(pdf(13)) == (2, 0)
    assert "sk-secret" not in seen[0].values() and "PATH" in seen[0]


@pytest.mark.parametrize("error", [AssertionError("x"), NotImplementedError("x"), MemoryError()])
def test_whatever_a_file_makes_the_reader_raise_is_one_refusal(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def broken(*_: Any) -> None:
        raise error

    monkeypatch.setattr("pypdf.PdfReader", broken)
    with pytest.raises(InvalidInput, match=f"cannot be read: {type(error).__name__}"):
        pages_of(pdf())


@pytest.mark.integration
def test_the_text_of_dense_pages_is_counted() -> None:
    """A page of digits takes a token for each of them, far more than pages have for the most part."""
    found = measure(text_pdf(["0123456789 " * 2000, "short"]))
    assert found.pages == 2 and 20_000 < found.text_tokens < 30_000
    assert measure_here(text_pdf(["words " * 300] * 2)) == (2, 0), "as its pages are billed"
