"""One row of a map for people: what was sent, what came back, and where it is from."""

from __future__ import annotations

import html
import json
from collections.abc import Iterator, Mapping
from typing import Any

from po_jupyter.model.run.names import short_id
from po_jupyter.presentation import format as fmt
from po_jupyter.presentation.terminal_text import plain


def row_text(row: Mapping[str, Any]) -> str:
    """All of it as text, safe for a terminal."""
    lines = [_title(row), *(f"  {name:<12}{text}" for name, text in _facts(row))]
    for call in row["calls"]:
        lines += ["", " · ".join(_call_facts(call))]
        lines += [f"\n{name}:\n{text}" for name, text in _texts(call)]
    return plain("\n".join(lines))


def row_html(row: Mapping[str, Any]) -> str:
    """All of it as HTML that needs no style sheet."""
    facts = "".join(
        f'<tr><th align="left">{html.escape(name)}</th><td align="left">{html.escape(plain(text))}</td></tr>'
        for name, text in _facts(row)
    )
    parts = [f"<p><b>{html.escape(plain(_title(row)))}</b></p><table>{facts}</table>"]
    for call in row["calls"]:
        parts.append(f"<p><b>{html.escape(plain(' · '.join(_call_facts(call))))}</b></p>")
        parts += [
            f"<p>{html.escape(plain(name))}</p><pre>{html.escape(plain(text))}</pre>"
            for name, text in _texts(call)
        ]
    return "".join(parts)


def _title(row: Mapping[str, Any]) -> str:
    variant = f", variant {row['variant']}" if "variant" in row else ""
    return f"{row['task']} row {row['index']}{variant} of run {short_id(row['run'])}: {row['state']}"


def _facts(row: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if row["input"] is not None:
        yield "input", _value(row["input"])
    if row["error"]:
        error = row["error"]
        yield "error", str(error.get("message") if isinstance(error, Mapping) else error)
    if row["state"] == "done":
        yield "output", _value(row["output"])
    source = row["provenance"]
    for name in ("model", "asked_at", "attempt", "prompt_hash") if source else ():
        if source[name] is not None:
            yield name.replace("_", " "), str(source[name])
    if source and source["reused_from"]:
        yield "reused from", str(source["reused_from"])
    spent = [
        fmt.money(row["cost_usd"]) if row["cost_usd"] is not None else "cost unknown",
        f"{fmt.tokens(row['tokens'])} tokens", fmt.elapsed(row["seconds"]), *row["flags"],
    ]  # fmt: skip
    yield "spent here", " · ".join(filter(None, spent))
    for one in row.get("expected", ()):
        value = one["problem"] or _value(one["value"])
        yield "expected", f"{value} ({', '.join(one['scores'])})" if len(row["expected"]) > 1 else value
    for name, value in row.get("scores", {}).get("values", {}).items():
        note = row["scores"].get("notes", {}).get(name)
        yield "score", f"{name} {'–' if value is None else f'{value:g}'}" + (f" ({note})" if note else "")
    if "votes" in row:
        yield "votes", f"{row['agreement']:.0%} of {row['votes']} agree"
    if (correction := row["correction"]) is not None:
        by = ", ".join(correction["by"]) + (", who disagree" if correction["disputed"] else "")
        yield (
            ("correction", f"{_value(correction['output'])} ({by})")
            if correction["corrected"]
            else ("agreed by", by)
        )
    for note in row["notes"]:
        yield "note", note


def _call_facts(call: Mapping[str, Any]) -> list[str]:
    facts = [
        f"call {call['n']}", "cached" if call["cached"] else str(call["state"]).replace("_", " "), str(call["kind"]),
        f"attempt {call['attempt']}" if call["attempt"] else "", f"round {call['round']}" if call["round"] else "",
        str(call["model"] or ""), str(call["started_at"]),
        f"{fmt.tokens(call['input_tokens'])} in" if call["input_tokens"] is not None else "",
        f"{fmt.tokens(call['output_tokens'])} out" if call["output_tokens"] is not None else "",
        fmt.money(call["cost_usd"]) if call["cost_usd"] is not None else "",
        "in a batch" if call["batch"] else "",
    ]  # fmt: skip
    return [fact for fact in facts if fact]


def _texts(call: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    messages = call.get("messages")
    if messages is None:
        yield "what was sent is not known", str(call.get("why") or "it was not recorded")
    elif not call.get("exact"):
        yield "note", "these messages were made again, and their hash is not that of what was sent"
    for message in messages or ():
        yield str(message.get("role", "")), _value(message.get("content"))
    if call.get("answer") is not None:
        yield "answer", str(call["answer"])
    for tool_call in call.get("tool_calls") or ():
        yield "tool call", _value(tool_call)
    if error := call.get("error"):
        yield "error", str(error.get("message") if isinstance(error, Mapping) else error)


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
