"""The review of rows in a cell: one row at a time, by keys or buttons, in standard widgets.

The box "Key" takes the keys, so that nobody needs a mouse: 1 to 9 say which value is right, `y` that the answer is, `e`
goes to the edit box, `s` skips, `b` goes back. A key that comes while the one before it is still at work is not
used: it would be about a row that nobody has seen.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from html import escape
from typing import Any

from po_jupyter.client import background_loop as loop
from po_jupyter.client.http.reviews import ReviewJson
from po_jupyter.client.reviews.choices import read_answer, shown, written_answer
from po_jupyter.client.reviews.session import ReviewSession, RowToReview
from po_jupyter.errors import PoError
from po_jupyter.model.values.json import JsonObject
from po_jupyter.model.values.whole_numbers import whole_number
from po_jupyter.presentation.terminal_text import plain

_WIDGET = "application/vnd.jupyter.widget-view+json"
_SHOWN = 20_000  # characters of a value
_BLOCK = "white-space:pre-wrap;overflow-wrap:anywhere;max-height:20em;overflow:auto;margin:2px 0 8px"
_DONE = "All rows of the sample were shown. What you said is kept: %po review shows the rows that you skipped."


class ReviewWidget:
    """A review session drawn in a cell. `finish` gives the lines that stand at its end."""

    def __init__(self, session: ReviewSession, finish: Callable[[], Awaitable[str]]) -> None:
        """Opens the widgets' comms, so it belongs into the cell's thread; the first row is shown."""
        import ipywidgets as widgets  # as in `widget`: not at start-up

        self.session = session
        self._finish = finish
        self._row: RowToReview | None = None
        self._busy = False
        self.picture, self.notice = widgets.HTML(), widgets.HTML()
        keys = _key_help(session)
        self.key = widgets.Text(
            description="Key", placeholder=keys, tooltip=f"Keys: {keys}", layout=widgets.Layout(width="36em")
        )
        self.note = widgets.Text(
            description="Note", placeholder="why (optional)", tooltip="A note for the next decision",
            layout=widgets.Layout(width="36em"),
        )  # fmt: skip
        self.edit = widgets.Textarea(
            description="Edit", placeholder="what the answer should be", rows=5,
            tooltip="What the answer should be, as the task's schema has it", layout=widgets.Layout(width="36em"),
        )  # fmt: skip
        values = session.choices.values if session.choices is not None else ()
        self.choices = [
            self._button(widgets, f"{number} {plain(shown(value))[:60]}", str(number), "Say that this is right")
            for number, value in enumerate(values, 1)
        ]
        self.agree = self._button(widgets, "Right as it is (y)", "y", "Say that the model's answer is right")
        self.record = self._button(
            widgets, "Record the edited answer", "record", "Say that the answer should be this"
        )
        self.skip = self._button(widgets, "Skip (s)", "s", "Go on, and say nothing of this row")
        self.back = self._button(widgets, "Back (b)", "b", "Show the row before")
        self.key.observe(self._typed, names="value")
        self._controls = widgets.VBox([
            self.key, widgets.Box([*self.choices, self.agree], layout=widgets.Layout(flex_flow="row wrap")),
            self.note, self.edit, widgets.HBox([self.record, self.skip, self.back]),
        ])  # fmt: skip
        self.box = widgets.VBox([self.picture, self._controls, self.notice])
        loop.run(self._show())

    def _button(self, widgets: Any, text: str, action: str, tooltip: str) -> Any:
        button = widgets.Button(
            description=text, tooltip=tooltip, layout=widgets.Layout(width="auto", height="28px")
        )
        button.on_click(lambda _: self._act(action))
        return button

    def bundle(self) -> JsonObject:
        """The widget, and for readers without a kernel the text of where the review stands."""
        text = f"review of {self.session.task}, run {self.session.run[-6:]}: {self.session.progress}"
        return {"text/plain": text, _WIDGET: self.box._repr_mimebundle_()[_WIDGET]}

    # -- in the kernel's main thread ----------------------------------------------------------------
    def _typed(self, change: Any) -> None:
        keys = str(change["new"]).strip()
        if not change["new"]:
            return
        self.key.value = ""
        if len(keys) > 1:
            self._say(f"{keys!r:.20} came at once, and one key is one decision: nothing was recorded.")
        elif keys:
            self._act(keys.lower())

    def _act(self, action: str) -> None:
        if self._busy:
            self._say("The decision before is still being recorded: this key was not used.")
            return
        self._busy = True
        loop.spawn(self._perform(action, self._row, self.note.value.strip(), self.edit.value))

    # -- on the background loop ---------------------------------------------------------------------
    async def _perform(self, action: str, row: RowToReview | None, note: str, edited: str) -> None:
        try:
            message = await self._do(action, row, note, edited)
        except (PoError, ValueError) as error:
            self._say(str(error))
        else:
            if message is not None:
                await self._show(message)
        finally:
            self._busy = False

    async def _do(self, action: str, row: RowToReview | None, note: str, edited: str) -> str | None:
        """What was done, or None where the same row stays."""
        session = self.session
        if action == "b":
            session.back()
            return ""
        if row is None:
            return None
        if action == "s":
            session.skip()
            return f"row {row.row['index']} skipped"
        if action == "e":
            self.edit.focus()
            return None
        if action == "y":
            return _sentence(await session.agree(row, note))
        if action == "record":
            return _sentence(await session.correct(row, read_answer(edited, session.schema), note))
        if (number := whole_number(action)) is not None:
            return _sentence(await session.choose(row, number, note))
        self._say(f"{action!r:.20} is no key here: {_key_help(session)}")
        return None

    async def _show(self, message: str = "") -> None:
        """Show the row of now, or the end."""
        self._row = row = await self.session.current()
        self._say(message)
        self.note.value = ""
        if row is None:
            self.picture.value = _end(self.session, await self._finish())
            self.edit.value = ""
        else:
            self.picture.value = _picture(self.session, row)
            self.edit.value = written_answer(row.row["output"], self.session.schema)
        self.agree.disabled = row is None or not row.ok
        for button in (*self.choices, self.record, self.skip):
            button.disabled = row is None
        self.key.focus()

    def _say(self, message: str) -> None:
        self.notice.value = f'<div role="status" aria-live="polite">{escape(plain(message))}</div>'


def _key_help(session: ReviewSession) -> str:
    values = session.choices.values if session.choices is not None else ()
    choose = f"1-{len(values)} choose, " if values else ""
    return f"{choose}y right as it is, e edit, s skip, b back"


def _sentence(review: ReviewJson) -> str:
    verdict = (
        "right as it is" if review["decision"] == "agree" else f"corrected to {_text(review['output'])[:200]}"
    )
    return f"row {review['index']}: {verdict} ({review['by']}, {review['at'][:16].replace('T', ' ')})"


def _picture(session: ReviewSession, row: RowToReview) -> str:
    """The row as HTML. All of it is escaped: inputs and answers are other people's texts."""
    parts = [f"<b>row {row.row['index']}</b> · {escape(session.progress)}"]
    parts.append(_block("input", _text(row.row["input"])))
    parts.append(_block("answer", _text(row.row["output"])) if row.ok else _block("failed", row.error))
    reviews = (*((row.mine,) if row.mine is not None else ()), *row.others)
    lines = [
        f"<li>{escape(plain(_sentence(review)))}{' · of an earlier answer' if review['outdated'] else ''}"
        f"{' · ' if review['note'] else ''}{escape(plain(review['note']))}</li>"
        for review in reviews
    ]
    return "".join(parts) + (f"<ul>{''.join(lines)}</ul>" if lines else "")


def _block(name: str, text: str) -> str:
    return f'<div>{name}</div><div style="{_BLOCK}">{escape(plain(text[:_SHOWN]))}</div>'


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=1)


def _end(session: ReviewSession, summary: str) -> str:
    return f'<b>{escape(session.progress)}</b><div>{_DONE}</div><div style="{_BLOCK}">{escape(plain(summary))}</div>'
