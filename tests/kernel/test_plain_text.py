"""What a terminal would obey reaches none from a kernel: IPython prints `text/plain` as it is (P6)."""

from __future__ import annotations

from po_jupyter.errors import StageFailed
from po_jupyter.kernel.errors import CellError, cell_error
from po_jupyter.model.run.view import RunView
from po_jupyter.presentation import format as fmt
from po_jupyter.presentation.live_texts import ShownText
from po_jupyter.presentation.run_view import Picture, table_text, to_text
from tests.support.runs import run_view

COMMANDS = "\x1b]0;gone\x07\x1b[2J\x9b1A\r\u202eevil"


def view(state: str = "running") -> RunView:
    return run_view(state=state, tasks=[{"name": "t", "state": "running", "waiting": COMMANDS}])


def harmless(text: str) -> bool:
    return not set(text) & set("\x1b\x07\x9b\r\u202e")


def test_a_view_as_text_commands_nothing() -> None:
    spoken = Picture(
        view(), fmt.timestamp("2026-11-22T12:00:41Z"), ShownText("t", None, f"one\n{COMMANDS}\ntwo")
    )
    results = Picture(view("done"), fmt.timestamp("2026-11-22T12:00:41Z"), results=[("t", COMMANDS)])
    for picture in (spoken, results):
        text = to_text(picture)
        assert "evil" in text
        assert harmless(text)
    assert "one\n" in to_text(spoken), "lines stay lines"


def test_a_table_and_an_error_command_nothing() -> None:
    assert harmless(table_text(["a", "b"], [["x", COMMANDS]], COMMANDS))
    error = StageFailed(f"ingestion raised ValueError: {COMMANDS}\nsecond line")
    assert all(harmless(line) for line in cell_error(error)._render_traceback_())
    assert len(cell_error(error)._render_traceback_()) == 2
    assert harmless("".join(CellError(COMMANDS)._render_traceback_()))
