"""The scores of a task for people: a line for each score, as text, as HTML that needs no style sheet, and in a cell.

HTML is made of tables with borders of their own and bars of letters, which readers of notebooks keep that take
all styles out (GitHub).
"""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence

from po_jupyter.model.run.scores import ConfusionTable, MeanScore, ScoresOfTask, WorstRow
from po_jupyter.model.values.json import JsonValue
from po_jupyter.presentation.run_view import table_text
from po_jupyter.presentation.terminal_text import plain

_BAR = 20  # letters of a whole bar
_VALUE = 60  # characters of a value in the table of worst rows
_CLASSES = 12  # of a confusion matrix that are drawn
_WORST = 10
_ALIGNED, _LEFT = ' align="right"', ' align="left"'
COLUMNS = ("score", "mean", "95 % interval", "", "rows")
WORST_COLUMNS = ("row", "input", "answer", "scores", "why")


def score_number(value: float | None) -> str:
    """A mean or an end of an interval: two decimals, `–` for none."""
    return "–" if value is None else f"{value:.2f}"


def interval_text(score: MeanScore) -> str:
    """`0.67 to 0.89`, or nothing."""
    interval = score["interval"]
    return "–" if interval is None else f"{score_number(interval[0])} to {score_number(interval[1])}"


def counted(score: MeanScore, rows: int) -> str:
    """`40 of 50 right`, and how many rows have no score."""
    n = score["scored"]
    text = f"{score['right']:,} of {n:,} right" if "right" in score else f"{n:,} scored"
    return text + (f", {rows - n:,} without" if rows > n else "")


def score_bar(score: MeanScore) -> str:
    """The mean between its bounds as a bar of letters, with the ends of the interval."""
    mean, low, high = score["mean"], score["low"], score["high"]
    if mean is None or low is None or high is None:
        return ""
    interval = score["interval"] or [mean, mean]
    place, first, last = (
        min(_BAR - 1, max(0, int((value - low) / (high - low) * _BAR))) for value in (mean, *interval)
    )
    letters = ["█" if i <= place and mean > low else "·" for i in range(_BAR)]
    for i in range(first, last + 1):
        letters[i] = "▓" if letters[i] == "█" else "▒"
    return "".join(letters)


def score_result(score: MeanScore, rows: int) -> tuple[str, str]:
    """One score as a line of a run in its cell: (label, text)."""
    interval = "" if score["interval"] is None else f" ({interval_text(score)})"
    return score["name"], f"{score_number(score['mean'])}{interval} · {counted(score, rows)}"


def title(scores: ScoresOfTask) -> str:
    """`label: 50 rows scored, 2 failed`."""
    text = f"{scores['task']}: {scores['rows']:,} {'row' if scores['rows'] == 1 else 'rows'}"
    return text + (f", {scores['failed']:,} failed" if scores["failed"] else "")


def missing_lines(scores: ScoresOfTask) -> list[str]:
    """Why rows have no score, a line for each reason with the scores that it is one for."""
    names: dict[tuple[str, int], list[str]] = {}
    for score in scores["scores"]:
        for reason, count in score["missing"].items():
            names.setdefault((reason, count), []).append(score["name"])
    return [f"{count:,} without {', '.join(missing)}: {reason}" for (reason, count), missing in names.items()]


def score_rows(scores: ScoresOfTask) -> list[list[str]]:
    """A row for each score."""
    return [
        [s["name"], score_number(s["mean"]), interval_text(s), score_bar(s), counted(s, scores["rows"])]
        for s in scores["scores"]
    ]


def scores_text(scores: ScoresOfTask) -> str:
    """All of it as text."""
    if not scores["scores"] and not scores["confusion"]:
        return plain(f"{scores['task']}: nothing scores its answers")
    parts = [table_text(COLUMNS, score_rows(scores), title(scores)), *missing_lines(scores)]
    for table in scores["confusion"]:
        columns, rows = confusion_cells(table)
        parts.append("\n" + table_text(columns, rows, _confusion_title(table)))
    if scores["worst"]:
        parts.append("\n" + table_text(*_worst_table(scores), "the lowest"))
    return plain("\n".join(parts))


def scores_html(scores: ScoresOfTask) -> str:
    """All of it as HTML."""
    if not scores["scores"] and not scores["confusion"]:
        return f"<p>{html.escape(scores['task'])}: nothing scores its answers</p>"
    parts = [html_table(title(scores), COLUMNS, score_rows(scores), numbers=(1,))]
    parts += [f"<p><small>{html.escape(line)}</small></p>" for line in missing_lines(scores)]
    for table in scores["confusion"]:
        columns, rows = confusion_cells(table)
        numbers = range(1, len(columns))
        parts.append(html_table(_confusion_title(table), columns, rows, numbers=numbers, bold=_diagonal))
    if scores["worst"]:
        parts.append(html_table("the lowest", *_worst_table(scores), numbers=(0,)))
    return "\n".join(parts)


def confusion_cells(table: ConfusionTable) -> tuple[list[str], list[list[str]]]:
    """The columns and rows of a confusion matrix, with recall and precision at its edges."""
    labels = table["labels"][:_CLASSES]
    columns = ["expected ↓ answered →", *labels, "recall"]
    rows = [
        [label, *(f"{count:,}" if count else "·" for count in counts[: len(labels)]), _part(classes["recall"])]
        for label, counts, classes in zip(labels, table["counts"], table["classes"], strict=False)
    ]
    rows.append(["precision", *(_part(c["precision"]) for c in table["classes"][: len(labels)]), ""])
    return columns, rows


def _part(value: JsonValue) -> str:
    return score_number(value) if isinstance(value, float | int) else ""


def _confusion_title(table: ConfusionTable) -> str:
    more = len(table["labels"]) - _CLASSES
    return table["name"] + (f" (the {_CLASSES} most frequent, {more} more)" if more > 0 else "")


def _diagonal(row: int, column: int) -> bool:
    return column == row + 1


def _worst_table(scores: ScoresOfTask) -> tuple[Sequence[str], list[list[str]]]:
    """Columns and rows of the lowest rows, without the column of reasons where there are none."""
    rows = [worst_cells(row) for row in scores["worst"][:_WORST]]
    if any(row[-1] for row in rows):
        return WORST_COLUMNS, rows
    return WORST_COLUMNS[:-1], [row[:-1] for row in rows]


def worst_cells(row: WorstRow) -> list[str]:
    """A row with low scores as cells."""
    values = ", ".join(f"{name} {score_number(value)}" for name, value in row["values"].items())
    notes = "; ".join(
        note if len(row["values"]) == 1 else f"{name}: {note}" for name, note in row["notes"].items()
    )
    return [
        f"{row['index']} ({row['variant']})" if "variant" in row else str(row["index"]),
        short_value(row.get("input")),
        short_value(row.get("output")),
        values,
        short_value(notes),
    ]


def short_value(value: JsonValue) -> str:
    """A value as the words of a cell, cut."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else _as_words(value)
    text = " ".join(text.split())
    return text if len(text) <= _VALUE else text[: _VALUE - 1] + "…"


def _as_words(value: JsonValue) -> str:
    """An object as its fields, which reads better than JSON."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {_as_words(part)}" for name, part in value.items())
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def html_table(
    caption: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    numbers: Sequence[int] = (),
    bold: object = None,
) -> str:
    """A table that is one without any style; every cell is escaped."""

    def cell(tag: str, text: str, i: int, strong: bool = False) -> str:
        inner = html.escape(text)
        return f"<{tag}{_ALIGNED if i in numbers else _LEFT}>{f'<b>{inner}</b>' if strong else inner}</{tag}>"

    head = "".join(cell("th", name, i) for i, name in enumerate(columns))
    body = "".join(
        "<tr>"
        + "".join(cell("td", text, i, callable(bold) and bool(bold(r, i))) for i, text in enumerate(row))
        + "</tr>"
        for r, row in enumerate(rows)
    )
    return (
        f"<p><b>{html.escape(caption)}</b></p>"
        f'<table border="1"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    )
