"""`po help`: the documentation, offline."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from po_jupyter.cli.verbs import help as help_verb
from po_jupyter.cli.verbs.help import DocPage, page_text, pages


def page_of(topic: str) -> DocPage:
    return next(page for page in pages() if page.topic == topic)


def test_without_a_topic_it_lists_every_page_with_its_first_sentence(po: Any) -> None:
    code, out, err = po("help")
    assert (code, err) == (0, "")
    for page in pages():
        assert f"  {page.topic} " in out and page.summary in out


def test_a_section_lists_its_own_pages(po: Any) -> None:
    code, out, _ = po("help", "reference")
    assert code == 0
    assert "  yaml " in out and "  gates " not in out


@pytest.mark.parametrize("topic", ["gates", "guide/gates", "Gates", "guide/gates.md"])
def test_a_topic_is_shown_as_markdown_in_a_pipe(topic: str, po: Any) -> None:
    code, out, err = po("help", topic)
    assert (code, err) == (0, "")
    assert out.startswith("# Gates\n")
    assert "<!--" not in out and "\x1b" not in out
    assert "(`po help control`)" in out, "a link to another page is a command"


def test_a_terminal_gets_a_rendered_page(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    help_verb.show_page(page_text(page_of("gates")))
    out = capsys.readouterr().out
    assert "Gates" in out and "# Gates" not in out and "```" not in out
    assert max(len(re.sub(r"\x1b\[[0-9;]*m", "", line)) for line in out.splitlines()) <= 80


def test_a_notebook_gets_markdown(po: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """`%po help gates` is this verb in a kernel: the page is the cell's output."""
    import IPython
    import IPython.display

    shown: list[Any] = []
    monkeypatch.setattr(IPython, "get_ipython", lambda: SimpleNamespace(kernel=object()))
    monkeypatch.setattr(IPython.display, "display", shown.append)
    code, out, _ = po("help", "gates")
    assert (code, out) == (0, "")
    assert shown[0].data.startswith("# Gates")


def test_a_verb_is_a_topic_too(po: Any) -> None:
    code, out, _ = po("help", "resume")
    assert code == 0
    assert out.startswith("Usage: po resume")


def test_a_typo_gets_a_suggestion(po: Any) -> None:
    code, out, err = po("help", "gtaes")
    assert (code, out) == (1, "")
    assert "there is no help on 'gtaes'; did you mean `gates`?" in err
    assert "`po help` lists the topics." in err


def test_json_for_scripts(po: Any) -> None:
    topics = json.loads(po("help", "--json")[1])["topics"]
    assert {"topic", "section", "title", "summary"} == set(topics[0])
    page = json.loads(po("help", "gates", "--json")[1])
    assert page["title"] == "Gates" and page["text"].startswith("# Gates")
    assert json.loads(po("help", "resume", "--json")[1])["section"] == "verb"


@pytest.mark.integration
def test_it_starts_nothing_and_asks_nothing(po: Any, client: Any) -> None:
    po("help", "gates")
    assert client.started == []
    code = (
        "import sys; from po_jupyter.cli.main import run; run(['help', 'gates']);"
        "print([m for m in ('pydantic', 'httpx', 'jupyter_server', 'rich') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.endswith("[]\n")


def test_the_magic_reads_the_same_pages() -> None:
    """`%po help gates`, in a shell without a kernel: the Markdown is printed."""
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance()
    try:
        with capture_output() as captured:
            shell.run_line_magic("load_ext", "po_jupyter")
            shell.run_line_magic("po", "help gates")
            shell.run_line_magic("unload_ext", "po_jupyter")
        assert captured.stdout.startswith("# Gates\n")
    finally:
        InteractiveShell.clear_instance()
