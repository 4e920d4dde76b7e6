"""Rendering of a run as HTML and as plain text. Pure: values come in, text comes out.

The HTML holds no script, only inline styles over `currentColor` and Lab's own variables, so that it looks right in
Lab (light and dark), VS Code and nbconvert; where styles are stripped (GitHub) the table still reads. Everything
that was not written here is escaped, and what would move a cursor or reorder text is shown instead (P6). Dollars and
backslashes stand alone in an element, where MathJax finds no formula: GitHub strips the classes that say so too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import zip_longest
from typing import TYPE_CHECKING

from po_jupyter.model.run.view import ENDED, RunView, TaskView
from po_jupyter.presentation import format as fmt
from po_jupyter.presentation.live_texts import ShownText
from po_jupyter.presentation.terminal_text import padded, plain, text_width

if TYPE_CHECKING:
    from jinja2 import Environment, Template

_MANY = 30  # tasks that are drawn one by one; a thousand of them eight times a second would choke a browser
_NEAR = 4  # of more tasks: how many finished and pending ones next to the running ones
_PROBLEMS = 8
_MESSAGE = 600  # characters of one error
_TRACEBACK = 16  # lines of one


@dataclass(frozen=True, slots=True)
class Picture:
    """Everything a view shows. `now` is in seconds since 1970; `notice` is one line about the view itself.

    `results` are (label, text) pairs: the beginnings of the outputs of a finished run. A view that is `kept` in a
    file, where nothing follows the run, says of when it is.
    """

    run: RunView
    now: float
    live_text: ShownText | None = None
    notice: str = ""
    results: Sequence[tuple[str, str]] = ()
    kept: bool = False

    @property
    def as_of(self) -> str:
        """Of when the view is, where it is kept, else ""."""
        return f"as of {fmt.moment(self.now)}" if self.kept else ""


def to_text(picture: Picture) -> str:
    """The view as plain text, columns aligned."""
    run, now = picture.run, picture.now
    lines = _lines(run, now)
    name_width = max((len(line.name) for line in lines), default=0)
    doing_width = max((len(line.doing) for line in lines), default=0)
    out = [" · ".join(fmt.headline(run, now))]
    indent = " " * (3 + name_width + 2)
    for line in lines:
        text = (
            f" {line.icon} {line.name:<{name_width}}  {line.doing:<{doing_width}}  {' · '.join(line.details)}"
        )
        if line.progress is not None:
            text = f"{text.rstrip()}   {fmt.bar(line.progress)} {fmt.percent(line.progress)}"
        out.append(text.rstrip())
        out += [indent + text for text in (line.note, line.learned) if text]
    if run.state == "waiting" and run.gate:
        out.append(f" {_gate(run)}")
    live_text = _shown_text(picture)
    if live_text is not None:
        first, *rest = live_text.tail.splitlines()
        out.append(f" {live_text.label} │ {first}")
        out += [f" {'':<{len(live_text.label)}} │ {line}" for line in rest]
    out += [f" {label} → {text}" for label, text in picture.results]
    for problem in _problems(run):
        out.append(problem.text)
        if problem.hint:
            out += [f"  {line}" for line in problem.hint.splitlines()]
        out += [f"  │ {line}" for line in problem.traceback.splitlines()]
    steps = fmt.next_steps(run)
    if steps:
        out.append("  " + "   ".join(steps))
    out += filter(None, (picture.notice, picture.as_of))
    return plain("\n".join(out))  # a terminal prints it as it is


def to_html(picture: Picture) -> str:
    """The view as one `<div>`."""
    run, now = picture.run, picture.now
    head, *parts = fmt.headline(run, now)
    identity, state, *facts = parts
    return _template("run").render(
        run=run,
        head=head,
        identity=identity,
        state=state,
        facts=facts,
        colour=_COLOURS.get(fmt.shown_run_state(run), _QUIET),
        icon=fmt.state_icon(fmt.shown_run_state(run)),
        lines=[(line, _TONES.get(line.icon, _QUIET)) for line in _lines(run, now)],
        gate=_gate(run) if run.state == "waiting" and run.gate else "",
        live_text=_shown_text(picture),
        results=picture.results,
        problems=_problems(run),
        steps=fmt.next_steps(run),
        notice=picture.notice,
        as_of=picture.as_of,
    )


def table_html(columns: Sequence[str], rows: Sequence[Sequence[str]], caption: str = "") -> str:
    """A plain table in the same style; every cell is escaped."""
    return _template("table").render(columns=columns, rows=rows, caption=caption)


def table_text(columns: Sequence[str], rows: Sequence[Sequence[str]], caption: str = "") -> str:
    """The same table as aligned text; a cell may have several lines."""
    cells = [[plain(text).split("\n") for text in row] for row in (columns, *rows)]
    widths = [max(text_width(line) for row in cells for line in row[i]) for i in range(len(columns))]
    lines = [
        "  ".join(map(padded, parts, widths)).rstrip()
        for row in cells
        for parts in zip_longest(*row, fillvalue="")
    ]
    return plain("\n".join(filter(None, [caption, *lines])))


def _shown_text(picture: Picture) -> ShownText | None:
    """The live text, unless it is empty or the run has ended."""
    text = picture.live_text
    return text if text is not None and text.tail and picture.run.state not in ENDED else None


def shown_tasks(tasks: Sequence[TaskView]) -> list[int]:
    """The indexes of the tasks that are drawn one by one: of very many, those that matter now."""
    if len(tasks) <= _MANY:
        return list(range(len(tasks)))
    done = [i for i, t in enumerate(tasks) if t.state in ("done", "skipped", "cancelled")]
    pending = [i for i, t in enumerate(tasks) if t.state == "pending" and not t.error]
    active = [i for i, t in enumerate(tasks) if i not in {*done, *pending}]
    return sorted({*done[-_NEAR:], *active[: _MANY - 2 * _NEAR], *pending[:_NEAR]})


def _lines(run: RunView, now: float) -> list[fmt.TaskLine]:
    """The rows of the tasks that are drawn, and counts of those between them."""
    lines: list[fmt.TaskLine] = []
    last = -1
    for i in [*shown_tasks(run.tasks), len(run.tasks)]:
        hidden = Counter(t.state for t in run.tasks[last + 1 : i])
        if hidden:
            counts = " · ".join(f"{count} more {state}" for state, count in hidden.items())
            lines.append(fmt.TaskLine("⋮", "", "", [counts], None, "", ""))
        if i < len(run.tasks):
            lines.append(fmt.task_line(run.tasks[i], now))
        last = i
    return lines


def _problems(run: RunView) -> list[fmt.RunProblem]:
    problems = list(fmt.problems(run))
    visible = [fmt.RunProblem(_cut(p.text), _cut(p.hint), _end(p.traceback)) for p in problems[:_PROBLEMS]]
    if len(problems) > _PROBLEMS:
        visible.append(fmt.RunProblem(f"and {len(problems) - _PROBLEMS} more"))
    return visible


def _cut(text: str) -> str:
    return text if len(text) <= _MESSAGE else text[:_MESSAGE] + "…"


def _end(text: str) -> str:
    """The last lines of a traceback: the innermost ones, and what was raised."""
    lines = text.splitlines()
    return _tail("\n".join(["…", *lines[-_TRACEBACK:]] if len(lines) > _TRACEBACK else lines))


def _tail(text: str) -> str:
    return text if len(text) <= 3 * _MESSAGE else "…" + text[-3 * _MESSAGE :]


def _gate(run: RunView) -> str:
    gate = run.gate or {}
    text = f"{gate.get('task', 'a task')} is done and waits for a decision"
    if gate.get("message"):
        text += f": {gate['message']}"
    if gate.get("artifacts"):
        text += f" ({', '.join(map(str, gate['artifacts']))})"
    return text


# -- templates -----------------------------------------------------------------------------------------

# Middle tones that keep a contrast of at least 4.5 on white, and stay readable on Lab's dark ground.
_QUIET = "var(--jp-ui-font-color2, #7a7a7a)"
_COLOURS = {
    "running": "var(--jp-brand-color1, #1976d2)",
    "waiting": "var(--jp-warn-color1, #b45309)",
    "done": "var(--jp-success-color1, #388e3c)",
    "failed": "var(--jp-error-color1, #d32f2f)",
    "dead": "var(--jp-error-color1, #d32f2f)",
}
_TONES = {fmt.state_icon(state): colour for state, colour in _COLOURS.items()}

# `$0.04 of $2.00` is no formula: the class of MathJax 3 (Lab), and of MathJax 2 (classic notebooks, exported HTML).
_NO_MATH = "mathjax_ignore tex2jax_ignore"

_MACROS = """
{%- set cell = "text-align:start;vertical-align:top;padding-block:1px;padding-inline:0 14px;border:0;" ~
"background:none;" -%}
{%- set mono = "font-family:var(--jp-code-font-family, ui-monospace, monospace);" -%}
{%- set quiet = "color:" ~ QUIET ~ ";" -%}
{%- set plain_table = "border-collapse:collapse;border:0;margin:0;width:auto;font-size:inherit;"
 ~ "table-layout:auto;color:inherit;font-variant-numeric:tabular-nums;" -%}
{%- set root = "font-family:var(--jp-ui-font-family, system-ui, sans-serif);font-size:13px;line-height:1.55;"
 ~ "color:var(--jp-ui-font-color1, inherit);max-width:980px;white-space:normal;" -%}
"""

_RUN = (
    _MACROS
    + """
<div class="{{ NO_MATH }}" style="{{ root }}border-inline-start:3px solid {{ colour }};padding-block:2px;
padding-inline:12px 0;margin:4px 0">
<div><b>{{ head }}</b> <span style="{{ quiet }}">· {{ identity }} ·</span>
<b style="color:{{ colour }}">{{ icon }} {{ state }}</b>
{%- if facts %} <span style="{{ quiet }}">· {{ facts | join(" · ") }}</span>{% endif %}</div>
<table style="{{ plain_table }}margin:3px 0"><tbody>
{%- for line, tone in lines %}
<tr style="background:none">
<td style="{{ cell }}color:{{ tone }};padding-inline-end:8px">{{ line.icon }}</td>
<td style="{{ cell }}">{{ line.name }}</td>
<td style="{{ cell }}color:{{ tone }}">{{ line.doing }}</td>
<td style="{{ cell }}{{ quiet }}">{{ line.details | join(" · ") }}
{%- if line.progress is not none %}
<span style="display:inline-block;vertical-align:middle;width:120px;height:6px;border-radius:3px;
margin:0 6px 0 8px;overflow:hidden;background:rgba(128,128,128,0.28)">
<span style="display:block;height:6px;background:{{ tone }};
width:{{ "%.1f" | format(100 * line.progress) }}%"></span></span> {{ percent(line.progress) }}
{%- endif %}
{%- if line.note %}<div style="color:{{ WAIT }}">{{ line.note }}</div>{% endif %}
{%- if line.learned %}<div>{{ line.learned }}</div>{% endif %}</td>
</tr>
{%- endfor %}
</tbody></table>
{%- if gate %}<div style="color:{{ WAIT }}">{{ gate }}</div>{% endif %}
{%- if live_text %}
<table style="{{ plain_table }}margin:2px 0 4px"><tbody><tr style="background:none">
<td style="{{ cell }}{{ quiet }}white-space:nowrap;padding-inline-end:10px">{{ live_text.label }}</td>
<td style="{{ cell }}{{ mono }}font-size:12px;white-space:pre-wrap;word-break:break-word;
border-inline-start:1px solid rgba(128,128,128,0.4);padding-inline-start:10px">{{ live_text.tail }}</td>
</tr></tbody></table>
{%- endif %}
{%- if results %}
<table style="{{ plain_table }}margin:2px 0 4px"><tbody>
{%- for label, text in results %}<tr style="background:none">
<td style="{{ cell }}{{ quiet }}white-space:nowrap;padding-inline-end:10px">{{ label }}</td>
<td style="{{ cell }}{{ mono }}font-size:12px;white-space:pre-wrap;word-break:break-word;
border-inline-start:1px solid rgba(128,128,128,0.4);padding-inline-start:10px">{{ text }}</td></tr>
{%- endfor %}</tbody></table>
{%- endif %}
{%- for problem in problems %}
<div style="margin-top:2px"><span style="color:{{ BAD }};white-space:pre-wrap">{{ problem.text }}</span>
{%- if problem.hint %}<div style="{{ quiet }}white-space:pre-wrap">{{ problem.hint }}</div>{% endif %}
{%- if problem.traceback %}<div style="{{ mono }}font-size:12px;line-height:1.4;white-space:pre-wrap;
overflow-wrap:anywhere;border-inline-start:2px solid {{ BAD }};margin:3px 0;padding-inline-start:10px">
{{- problem.traceback }}</div>
{%- endif %}</div>
{%- endfor %}
{%- if steps %}<div style="margin-top:2px">
{%- for step in steps %}<code style="{{ mono }}font-size:12px;background:rgba(128,128,128,0.16);
border-radius:3px;padding:1px 6px;margin-inline-end:8px;color:inherit">{{ step }}</code>
{% endfor %}</div>
{%- endif %}
{%- if notice %}<div style="color:{{ WAIT }}">{{ notice }}</div>{% endif %}
{%- if as_of %}<div style="{{ quiet }}font-size:12px">{{ as_of }}</div>{% endif %}
</div>
"""
)

_TABLE = (
    _MACROS
    + """
<div class="{{ NO_MATH }}" style="{{ root }}margin:4px 0">
{%- if caption %}<div style="margin-bottom:2px">{{ caption }}</div>{% endif %}
<table style="{{ plain_table }}"><thead><tr style="background:none;border:0">
{%- for column in columns %}<th style="{{ cell }}{{ quiet }}font-weight:normal;
border-bottom:1px solid rgba(128,128,128,0.4)">{{ column }}</th>{% endfor %}</tr></thead><tbody>
{%- for row in rows %}<tr style="background:none">
{%- for text in row %}<td style="{{ cell }}white-space:pre-wrap">{{ text }}</td>{% endfor %}</tr>
{%- endfor %}</tbody></table></div>
"""
)


@cache
def _environment() -> Environment:
    from jinja2 import DictLoader, Environment, StrictUndefined

    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_only_text,
        loader=DictLoader({"run": _RUN, "table": _TABLE}),
    )
    environment.globals.update(
        QUIET=_QUIET,
        WAIT=_COLOURS["waiting"],
        BAD=_COLOURS["failed"],
        NO_MATH=_NO_MATH,
        percent=fmt.percent,
    )
    return environment


def _only_text(value: object) -> object:
    """What an expression of a template gives, as text of a page that obeys nothing in it and reads no formula in it."""
    from markupsafe import Markup, escape

    text = str(escape(plain(value)))
    for mark in ("$", "\\"):
        text = text.replace(mark, f"<span>{mark}</span>")
    return Markup(text)  # noqa: S704  # escaped above


def _template(name: str) -> Template:
    return _environment().get_template(name)
