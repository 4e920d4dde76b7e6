"""`po rows`, `po calls` and `po compare`: the rows of a map and the calls to models of a run, a page at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from po_jupyter.cli import base
from po_jupyter.client.evals.comparison import compare_runs, map_of, summary_lines
from po_jupyter.client.evals.variants import compare_variants
from po_jupyter.client.row_export import check_target
from po_jupyter.presentation import format as fmt

if TYPE_CHECKING:
    from po_jupyter.client.http.inspection_payloads import ComparedRowJson, ModelCallJson, TableRowJson
    from po_jupyter.client.run import Run

_SORTS = ("index", "state", "attempts", "tokens", "cost", "seconds", "output")
_ROW_COLUMNS = ("state", "tries", "tokens", "cost", "took", "answer")
_LIMIT = click.option(
    "--limit",
    type=click.IntRange(1, 500),
    default=50,
    show_default=True,
    metavar="N",
    help="How many at most.",
)
_START = click.option(
    "--start", type=click.IntRange(0), default=0, metavar="N", help="Leave out the first N of the list."
)


@click.command()
@base.RUN
@click.option("--task", metavar="TASK", help="The map; needed where the run has several.")
@click.option("--failed", is_flag=True, help="Only rows that failed.")
@click.option("--variant", metavar="NAME", help="Only rows that this variant of the map answers.")
@click.option(
    "--search", type=base.TEXT, metavar="TEXT", help="Only rows with this text in input, answer or error."
)
@click.option("--sort", type=click.Choice(_SORTS), default="index", help="By what; the default is their order.")
@click.option("--desc", is_flag=True, help="The largest first.")
@_START
@_LIMIT
@click.option(
    "-o",
    "--out",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Write all rows that match, whole: .csv, .jsonl or .parquet.",
)
@click.option("--corrected", is_flag=True, help="With -o: what people said in reviews in the place of answers.")
@base.JSON
@base.on_shared
def rows(
    run_id: str,
    task: str | None,
    failed: bool,
    variant: str | None,
    search: str | None,
    sort: str,
    desc: bool,
    start: int,
    limit: int,
    out: str | None,
    corrected: bool,
    as_json: bool,
) -> int:
    """List the rows of a map, sorted and filtered.

    \b
    po rows 7f3a9c --failed
    po rows 7f3a9c --sort cost --desc --limit 10
    po rows 7f3a9c -o labels.parquet
    """
    if out is not None:
        check_target(out)
    elif corrected:
        raise click.UsageError("--corrected needs --out: which file?")
    run = base.find_run(run_id)
    name = map_of(run.view, task)
    state, by = "failed" if failed else None, {"cost": "cost_usd"}.get(sort, sort)
    if out is not None:
        count = run.save_rows(
            name, out, state=state, sort=by, desc=desc, q=search or "", corrected=corrected, variant=variant
        )
        if as_json:
            base.print_json({"task": name, "rows": count, "path": out})
        else:
            base.print_line(f"{count:,} {'row' if count == 1 else 'rows'} of {name} written to {out}")
        return 0
    if any(t.name == name and t.kind == "operator" for t in run.view.tasks):
        return _operator_rows(run, name, start, limit, as_json=as_json)
    page = run.client.call(
        run.client.aio.inspection.rows(
            run.id, name, start=start, limit=limit, state=state, sort=by, desc=desc, q=search or "",
            variant=variant,
        )
    )  # fmt: skip
    if as_json:
        base.print_json({"task": name, **page})
    elif not page["rows"]:
        base.print_line(
            f"no rows{' like that' if failed or variant or search or start else ''} in {name} of run {run.short}"
        )
    else:
        base.print_table(
            ["row", *(["variant"] if "variant" in page["rows"][0] else []), *_ROW_COLUMNS],
            [_row_cells(row) for row in page["rows"]],
            [row["state"] for row in page["rows"]],
        )
        _print_more(start + len(page["rows"]), page["matching"], "rows", page["next"])
    return 0


def _operator_rows(run: Run, task: str, start: int, limit: int, *, as_json: bool) -> int:
    """Print what an operator that asks no model made of its list."""
    made, following = run.client.call(
        run.client.aio.items(run.id, task, cursor=str(start), limit=limit, result="true")
    )
    if as_json:
        base.print_json({"task": task, "rows": made, "next": following})
    elif not made:
        base.print_line(f"no {'more ' if start else ''}rows in {task} of run {run.short}")
    else:
        further = list(made[0].get("columns") or ())  # a score, how many were the same, the key of a group
        base.print_table(
            ["", "of row", *further, "row"],
            [
                [
                    str(row["index"]), str(row.get("row", "")),
                    *(base.one_line(row["columns"][name], 30) for name in further), base.one_line(row["output"], 90),
                ]
                for row in made
            ],
        )  # fmt: skip
        if following is not None:
            base.print_line(f"there are more; the next ones: --start {following}")
    return 0


def _row_cells(row: TableRowJson) -> list[str]:
    error = row["error"] or {}
    shown = row["output"] if row["state"] == "done" else error.get("message") or ""
    flags = "".join(f"  [{flag}]" for flag in row["flags"])
    return [
        str(row["index"]),
        *([row["variant"]] if "variant" in row else []),
        row["state"],
        str(row["attempts"] or ""),
        fmt.tokens(row["tokens"]) if row["tokens"] else "",
        fmt.money(row["cost_usd"]) if row["cost_usd"] is not None else "",
        fmt.elapsed(row["seconds"]) if row["seconds"] else "",
        base.one_line(shown, 90) + flags,
    ]


@click.command()
@base.RUN
@click.argument("number", metavar="[N]", type=click.IntRange(0), required=False)
@click.option("--task", metavar="TASK", help="Only calls of this task.")
@click.option("--row", type=click.IntRange(0), metavar="N", help="Only calls of this row.")
@click.option("--failed", is_flag=True, help="Only calls that failed.")
@_START
@_LIMIT
@base.JSON
@base.on_shared
def calls(
    run_id: str,
    number: int | None,
    task: str | None,
    row: int | None,
    failed: bool,
    start: int,
    limit: int,
    as_json: bool,
) -> int:
    """List the calls to models of a run, or show one.

    With a number of the list: what was sent, and what came back.
    """
    run = base.find_run(run_id)
    inspection = run.client.aio.inspection
    if number is not None:
        call = run.client.call(inspection.call(run.id, number))
        if as_json:
            base.print_json(call)
        else:
            _print_call(call)
        return 0
    page, following = run.client.call(
        inspection.calls(
            run.id, task=task, row=row, state="failed" if failed else None, start=start, limit=limit
        )
    )
    if as_json:
        base.print_json({"calls": page, "next": following})
    elif not page:
        filtered = task or row is not None or failed or start
        base.print_line(f"no calls{' like that' if filtered else ''} in run {run.short}")
    else:
        base.print_table(
            ["call", "state", "task", "row", "kind", "model", "in", "out", "cost", "took", "at"],
            [_call_cells(call) for call in page],
            [_colour(call) for call in page],
        )
        if following is not None:
            base.print_line(f"there are more; the next ones: --start {following}")
    return 0


def _call_cells(call: ModelCallJson) -> list[str]:
    def count(tokens: int | None) -> str:
        return "" if tokens is None else fmt.tokens(tokens)

    return [
        str(call["n"]),
        "cached" if call["cached"] else call["state"].replace("_", " "),
        call["task"],
        "" if call["row"] is None else str(call["row"]),
        call["kind"],
        call["model"] or "",
        count(call["input_tokens"]),
        count(call["output_tokens"]),
        "" if call["cost_usd"] is None else fmt.money(call["cost_usd"]),
        "" if call["seconds"] is None else fmt.elapsed(call["seconds"]),
        call["started_at"][11:19],
    ]


def _colour(call: ModelCallJson) -> str:
    return {"in_flight": "running", "unknown": "waiting"}.get(call["state"], call["state"])


def _print_call(call: ModelCallJson) -> None:
    cells = dict(zip(("call", "state", "task", "row", "kind", "model"), _call_cells(call), strict=False))
    base.print_line(" · ".join(f"{name} {value}" for name, value in cells.items() if value))
    facts = [
        fmt.money(call["cost_usd"]) if call["cost_usd"] is not None else "",
        f"{fmt.tokens(call['input_tokens'])} tokens in" if call["input_tokens"] is not None else "",
        f"{fmt.tokens(call['output_tokens'])} out" if call["output_tokens"] is not None else "",
        fmt.elapsed(call["seconds"]) if call["seconds"] is not None else "",
        call["started_at"],
    ]
    base.print_line(" · ".join(filter(None, facts)))
    messages = call.get("messages")
    if messages is None:
        base.print_line(f"what was sent is not known: {base.plain(call.get('why') or 'it was not recorded')}")
    for message in messages or ():
        base.print_line(f"\n{base.plain(message.get('role', ''))}:", bold=True)
        content = message.get("content")
        base.print_line(base.plain(content if isinstance(content, str) else base.one_line(content, 10_000)))
    answer = call.get("answer")
    if answer is not None:
        base.print_line("\nanswer:", bold=True)
        base.print_line(base.plain(answer))
    error = call.get("error")
    if error:
        text = error.get("message") if isinstance(error, dict) else error
        base.print_line("\n" + base.coloured(base.plain(f"error: {text}"), "failed"))


def _print_more(shown: int, total: int, what: str, following: int | None) -> None:
    if following is not None:
        base.print_line(f"{shown:,} of {total:,} {what}; the next ones: --start {following}")


@click.command()
@click.argument("run_id", metavar="A")
@click.argument("other", metavar="[B]", required=False)
@click.option("--task", metavar="TASK", help="The map; needed where the run has several.")
@click.option("--all", "everything", is_flag=True, help="Rows that are the same too, after those that changed.")
@click.option(
    "--gold",
    type=base.TEXT,
    metavar="FIELD",
    help="A field of the rows that says what is right; or `corrections`: what people said in reviews.",
)
@_LIMIT
@base.JSON
@base.on_shared
def compare(
    run_id: str,
    other: str | None,
    task: str | None,
    everything: bool,
    gold: str | None,
    limit: int,
    as_json: bool,
) -> int:
    """Compare the rows of a map in two runs: what changed, what each paid, and whether one is right more often.

    Rows are joined by their input. Without B: the variants of a map of A. Nothing is asked of a model.

    \b
    po compare 7f3a9c 81bd02 --task label --gold topic
    po compare 7f3a9c --task label
    """
    run = base.find_run(run_id)
    if other is None:
        return _print_variants(run, task, gold, as_json=as_json)
    comparison = run.client.call(
        compare_runs(run.client.aio, run.view, other, task, everything=everything, gold=gold)
    )
    if as_json:
        base.print_json({"task": comparison.task, "summary": comparison.summary, "rows": comparison.rows})
        return 0
    for line in summary_lines(comparison.task, comparison.summary):
        base.print_line(base.plain(line))
    shown = comparison.rows[:limit]
    if shown:
        base.print_table(
            ["row", "change", "input", "A", "B"],
            [_pair_cells(pair) for pair in shown],
            [_CHANGES.get(pair["change"], "done") for pair in shown],
        )
    if len(comparison.rows) > len(shown):
        base.print_line(f"{len(shown)} of {len(comparison.rows):,} rows; more: --limit, or --json for all")
    return 0


def _print_variants(run: Run, task: str | None, gold: str | None, *, as_json: bool) -> int:
    if gold is not None:
        raise click.UsageError("--gold is for two runs; variants are compared by the `score` of their task")
    found = run.client.call(compare_variants(run.client.aio, run.view, task))
    if as_json:
        base.print_json(found.summary)
    else:
        base.print_line(str(found))
    return 0


_CHANGES = {"changed": "waiting", "failed": "failed", "open": "running"}


def _pair_cells(pair: ComparedRowJson) -> list[str]:
    a, b = pair["a"], pair["b"]
    numbers = [str(side["index"]) for side in (a, b) if side is not None]
    row = a or b
    return [
        numbers[0] if len(set(numbers)) == 1 else " → ".join(numbers),
        pair["change"].replace("_", " "),
        base.one_line(row["input"] if row is not None else "", 40),
        _answer(a),
        _answer(b),
    ]


def _answer(row: TableRowJson | None) -> str:
    if row is None:
        return "-"
    error = row["error"] or {}
    shown = row["output"] if row["state"] == "done" else error.get("message") or row["state"]
    return base.one_line(shown, 50)
