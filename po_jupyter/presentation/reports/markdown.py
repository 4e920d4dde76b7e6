"""The report as Markdown. What is of the run stands in code, where nothing is a link, an image or HTML."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from po_jupyter.presentation.reports.content import (
    ReportContent,
    as_json,
    clipped,
    left_out_text,
    row_cells,
)
from po_jupyter.presentation.terminal_text import plain

# What GitHub and others make links of without mark-up: an address, a mention or a mail, an issue. A backslash does not
# stop them, as they look at the text that it leaves; a sign without width does.
_LINKED_BARE = re.compile(r":(?=//)|\bwww(?=\.)|@(?=\w)|#(?=\d)|\bGH-(?=\d)", re.I)
_BREAK = "\N{ZERO WIDTH SPACE}"


def text(content: ReportContent) -> str:
    """The whole file."""
    return "\n\n".join(_sections(content)) + "\n"


def _sections(content: ReportContent) -> Iterator[str]:
    yield f"# {inline(content.title)}"
    yield table(("", ""), content.facts())
    problems = content.problems()
    if problems:
        yield "## What went wrong"
        yield from (fenced(problem) for problem in problems)
    yield "## Tasks"
    yield table(("task", "state", "model", "rows", "took", "calls", "tokens", "cost"), content.tasks())
    for task, failed in content.failures.items():
        if failed:
            yield f"## Failed rows of {inline(task)}"
            yield table(("row", "state", "answer", "cost"), map(row_cells, failed))
    for task, rows in content.rows.items():
        yield f"## Rows of {inline(task)}"
        yield table(("row", "state", "answer", "cost"), map(row_cells, rows.rows))
        if note := left_out_text(rows):
            yield note
    for task, output in content.outputs.items():
        yield f"## Output of {inline(task)}"
        yield fenced(clipped(output if isinstance(output, str) else as_json(output)))
    yield "## Prompts"
    for task, kind, prompt in content.prompts():
        yield f"### {inline(task)}: {kind}"
        yield fenced(prompt)
    yield "## Pipeline"
    yield fenced(as_json(content.definition), "json")


def fenced(code: str, language: str = "") -> str:
    """A block of code, whatever is in it."""
    code = plain(code)
    longest = max((len(run) for run in re.findall(r"`+", code)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{code}\n{fence}"


def inline(value: object) -> str:
    """A piece of text in a line, as what it is: no mark-up in it counts, and no address or name becomes a link."""
    one_line = _LINKED_BARE.sub(lambda found: found[0] + _BREAK, " ".join(plain(value).split()))
    return re.sub(r"([\\`*_{}\[\]()<>#+!|~&$-])", r"\\\1", one_line)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of GitHub's kind."""
    lines = [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    lines += [f"| {' | '.join(inline(cell) for cell in row)} |" for row in rows]
    return "\n".join(lines)
