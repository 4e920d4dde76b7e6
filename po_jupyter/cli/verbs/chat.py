"""`po chat`: one question to a model."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from po_jupyter.cli import base
from po_jupyter.errors import InvalidInput

if TYPE_CHECKING:
    from po_jupyter.model.run.view import RunView

_EVERY = 10.0  # seconds between two lines about a wait


@click.command()
@click.argument("prompt", type=base.TEXT)
@click.option("--model", metavar="REF", help="The model, as provider:model.")
@click.option("--system", type=base.TEXT, metavar="TEXT", help="The system message.")
@click.option("--schema", metavar="JSON|@FILE", help="A JSON Schema: the answer is JSON that fits it.")
@click.option(
    "--image", "images", multiple=True, metavar="FILE|URL", help="Shown with the prompt (repeatable)."
)
@click.option("--file", "files", multiple=True, metavar="FILE|URL", help="A PDF, WAV or MP3 (repeatable).")
@click.option("--tool", "tools", multiple=True, metavar="SERVER.TOOL", help="Of the setting mcp_servers.")
@click.option("--temperature", type=click.FloatRange(0, 2), metavar="N", help="How much is left to chance.")
@click.option("--max-tokens", type=click.IntRange(1), metavar="N", help="Bound of the answer.")
@click.option("--budget", type=base.MONEY, metavar="USD", help="Refuse to spend more.")
@click.option("--fresh", is_flag=True, help="Ask anew; use no cached answer.")
@click.option(
    "--skip-validation", is_flag=True, help="Ask although a key or the like that it needs is missing."
)
@base.JSON
def chat(
    prompt: str,
    model: str | None,
    system: str | None,
    schema: str | None,
    images: tuple[str, ...],
    files: tuple[str, ...],
    tools: tuple[str, ...],
    temperature: float | None,
    max_tokens: int | None,
    budget: tuple[str, float] | None,
    fresh: bool,
    skip_validation: bool,
    as_json: bool,
) -> int:
    """Ask a model one question, without a pipeline.

    PROMPT is text, or - for what comes from stdin. It is a run of its own: keys, limits, budgets and the journal
    apply, `po runs` lists it, and an interrupt leaves it to its end.
    """
    from po_jupyter.client.default import chat as ask
    from po_jupyter.presentation import format as fmt

    text = base.read_stdin() if prompt == "-" else prompt
    if not text.strip():
        raise InvalidInput("the prompt is empty")
    if budget is not None and budget[0]:
        raise InvalidInput("a chat has one task: --budget USD")
    answer = ask(
        text,
        model=model,
        system=system,
        schema=_parse_schema(schema),
        images=images,
        files=files,
        tools=tools,
        temperature=temperature,
        max_tokens=max_tokens,
        budget=None if budget is None else budget[1],
        fresh=fresh,
        skip_validation=skip_validation,
        watch=None if as_json else _WaitLines(),
        client=base.connect(start=True),
    )
    if as_json:
        base.print_json({
            "text": answer.text, "value": answer.value, "model": answer.model, "usage": answer.usage.to_json(),
            "run": answer.run.id,
        })  # fmt: skip
        return 0
    base.print_line(base.plain(answer.text))
    usage = " · ".join([answer.model, *fmt.usage_parts(answer.usage), f"run {answer.run.short}"])
    base.print_line(click.style(usage, dim=True), err=True)
    return 0


class _WaitLines:
    """Prints to stderr what the run waits for: an answer may be a minute away, and silence looks like a fault."""

    def __init__(self) -> None:
        self._printed, self._printed_at = "", float("-inf")

    def __call__(self, view: RunView) -> None:
        from po_jupyter.model.run.view import ENDED

        task = view.tasks[0] if view.tasks else None
        wait = view.waiting or (task.waiting if task else None) or ""
        soon = time.monotonic() - self._printed_at < _EVERY
        if view.state in ENDED or not wait or wait == self._printed or soon:
            return
        self._printed, self._printed_at = wait, time.monotonic()
        base.print_line(click.style(base.plain(wait), dim=True), err=True)


def _parse_schema(text: str | None) -> object:
    if text is None:
        return None
    if text.startswith("@"):
        from pathlib import Path

        from po_jupyter.cli.inputs import read_text

        return base.parse_json(read_text(Path(text[1:])), text[1:], "--schema")
    return base.parse_json(text, "the schema", "--schema")
