"""Comparisons for people: scores of two sides with McNemar's test, and the variants of a map, as text and as HTML."""

from __future__ import annotations

from collections.abc import Sequence

from po_jupyter.model.run.comparing import PairedScore, VariantsOfTask, VariantSummary
from po_jupyter.model.run.scores import MeanScore
from po_jupyter.presentation import format as fmt
from po_jupyter.presentation.run_view import table_text
from po_jupyter.presentation.scores import html_table, interval_text, score_number
from po_jupyter.presentation.terminal_text import plain

_FACTS = ("variant", "done", "cost", "tokens", "time", "model")
_PAIRS = ("A", "B", "alike", "score", "A only", "B only", "McNemar's p")


def p_text(p: float | None) -> str:
    """`0.012`, `< 0.001`, or `–` for none."""
    return "–" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


def mean_text(score: MeanScore) -> str:
    """`0.80 (0.67 to 0.89)`."""
    interval = "" if score["interval"] is None else f" ({interval_text(score)})"
    return score_number(score["mean"]) + interval


def paired_line(score: PairedScore, a: str = "A", b: str = "B") -> str:
    """The means of both sides with their intervals, how many rows only one has right, and McNemar's p."""
    text = f"{score['name']}: {a} {mean_text(score['a'])}, {b} {mean_text(score['b'])}"
    if score["p"] is None:
        return text
    return (
        f"{text}; of {score['rows']:,} rows {score['a_only']:,} right in {a} only, {score['b_only']:,} in {b} only, "
        f"McNemar's p {p_text(score['p'])} ({score['method']})"
    )


def variants_text(found: VariantsOfTask) -> str:
    """The variants of a map as text."""
    parts = [plain(table_text(_columns(found), _rows(found), _title(found))), pairs_text(found)]
    return "\n\n".join(filter(None, parts))


def pairs_text(found: VariantsOfTask | None) -> str:
    """Variants in pairs, nothing without any."""
    return plain(table_text(_PAIRS, _pairs(found), "in pairs")) if found is not None else ""


def pairs_html(found: VariantsOfTask | None) -> str:
    """The same as HTML."""
    return html_table("in pairs", _PAIRS, _pairs(found), numbers=(2, 4, 5, 6)) if found is not None else ""


def variants_html(found: VariantsOfTask) -> str:
    """The same as HTML."""
    columns = _columns(found)
    scores = len(columns) - len(_FACTS)
    numbers = (1, *range(2 + scores, 5 + scores))
    return html_table(_title(found), columns, _rows(found), numbers=numbers) + pairs_html(found)


def _title(found: VariantsOfTask) -> str:
    rows = found["rows"]
    return f"{found['task']}: {len(found['variants'])} variants of {rows:,} {'row' if rows == 1 else 'rows'}"


def _score_names(found: VariantsOfTask) -> list[str]:
    return list(dict.fromkeys(score["name"] for variant in found["variants"] for score in variant["scores"]))


def _columns(found: VariantsOfTask) -> tuple[str, ...]:
    return (*_FACTS[:2], *_score_names(found), *_FACTS[2:])


def _rows(found: VariantsOfTask) -> list[list[str]]:
    return [_row(variant, _score_names(found)) for variant in found["variants"]]


def _row(variant: VariantSummary, names: Sequence[str]) -> list[str]:
    means = {score["name"]: mean_text(score) for score in variant["scores"]}
    failed = f", {variant['failed']:,} failed" if variant["failed"] else ""
    cost = variant["cost_usd"]
    return [
        variant["name"], f"{variant['done']:,} of {variant['rows']:,}{failed}",
        *(means.get(name, "–") for name in names),
        "unknown" if cost is None else fmt.money(cost), fmt.tokens(variant["tokens"]), fmt.elapsed(variant["seconds"]),
        ", ".join(variant["models"]),
    ]  # fmt: skip


def _pairs(found: VariantsOfTask) -> list[list[str]]:
    rows: list[list[str]] = []
    for pair in found["pairs"]:
        alike = "–" if pair["agreement"] is None else f"{int(pair['agreement'] * 100)} %"
        tested = [score for score in pair["scores"] if score["p"] is not None]
        for score in tested:
            counts = [f"{score['a_only']:,}", f"{score['b_only']:,}"]
            rows.append([pair["a"], pair["b"], alike, score["name"], *counts, p_text(score["p"])])
        if not tested:
            rows.append([pair["a"], pair["b"], alike, "", "", "", "–"])
    return rows
