"""`po review`: people look at a sample of rows, one at a time, and say what is right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from po_jupyter.cli import base
from po_jupyter.errors import Conflict, InvalidInput, NotFound
from po_jupyter.model.values.whole_numbers import whole_number

if TYPE_CHECKING:
    from po_jupyter.client.http.reviews import ReviewJson
    from po_jupyter.client.reviews.session import ReviewSession, RowToReview
    from po_jupyter.client.run import Run

_SHOWN = 4000  # characters of an input or an answer


@click.command()
@base.RUN
@click.option("--task", metavar="TASK", help="The map; may be left out where there is one.")
@click.option(
    "--sample", type=click.IntRange(1), default=50, show_default=True, help="Rows to look at, at most."
)
@click.option("--where", type=base.TEXT, metavar="EXPR", help='Only these rows: "not ok or confidence < 0.7".')
@click.option("--seed", type=int, default=0, show_default=True, help="Another one is another sample.")
@click.option(
    "--row", type=click.IntRange(0), metavar="N", help="One row, with --agree or --output, and no questions."
)
@click.option("--agree", is_flag=True, help="With --row: its answer is right.")
@click.option("--output", type=base.TEXT, metavar="JSON", help="With --row: what its answer should be.")
@click.option("--note", type=base.TEXT, default="", metavar="TEXT", help="With --row: why.")
@click.option(
    "--list", "listed", is_flag=True, help="List what people said, and how far they and the model agree."
)
@base.JSON
@base.on_shared
def review(
    run_id: str,
    task: str | None,
    sample: int,
    where: str | None,
    seed: int,
    row: int | None,
    agree: bool,
    output: str | None,
    note: str,
    listed: bool,
    as_json: bool,
) -> int:
    """Look at rows one at a time, and say what is right.

    What you say is kept beside the answers at once; come back and go on where you stopped.

    \b
    po review 7f3a9c --where "not ok or confidence < 0.7"
    po review 7f3a9c --row 17 --output '{"label": "question"}' --note "it asks"
    po review 7f3a9c --list
    """
    if row is None and (agree or output is not None or note):
        raise click.UsageError("--agree, --output and --note are about one row: which --row?")
    if row is not None and agree == (output is not None):
        raise click.UsageError("--row needs --agree or --output: what is right?")
    run = base.find_run(run_id)
    if listed:
        return _list(run, task, as_json)
    if row is not None:
        return _review_one(run, task, row, output, note, as_json)
    if as_json:
        raise click.UsageError("--json is for --list and --row; without them you are asked")
    from po_jupyter.client.reviews.session import open_session

    opened = open_session(run.client.aio, run.view, task, where=where, sample=sample, seed=seed)
    return _ask(run, run.client.call(opened))


def _list(run: Run, task: str | None, as_json: bool) -> int:
    reviews = run.reviews(task)
    summary = run.reviews.summary(task)
    if as_json:
        pairs = [
            {"first": a, "second": b, "rows": rows, "same": same, "kappa": kappa}
            for a, b, (rows, same, kappa) in summary.pairs
        ]
        base.print_json({"reviews": reviews, "summary": summary._asdict() | {"pairs": pairs}})
        return 0
    if reviews:
        base.print_table(
            ["row", "who", "when", "says", "the model", ""],
            [
                [
                    str(r["index"]), r["by"], r["at"][:16].replace("T", " "),
                    "right" if r["decision"] == "agree" else base.one_line(r["output"], 60),
                    base.one_line(r["recorded"], 60) if r["ok"] else "failed", _flags(r),
                ]
                for r in reviews
            ],
        )  # fmt: skip
    base.print_line(base.plain(str(summary)))
    return 0


def _flags(review: ReviewJson) -> str:
    flags = [name for name in ("disputed", "outdated") if review[name]]
    return " ".join(f"[{flag}]" for flag in flags) + (
        f"  {base.one_line(review['note'], 80)}" if review["note"] else ""
    )


def _review_one(run: Run, task: str | None, row: int, output: str | None, note: str, as_json: bool) -> int:
    from po_jupyter.client.evals.comparison import map_of
    from po_jupyter.client.reviews.choices import read_answer
    from po_jupyter.client.reviews.session import answer_schema

    name = map_of(run.view, task)
    if output is None:
        recorded = run.review(name, row, note=note)
    else:
        schema = run.client.call(answer_schema(run.client.aio, run.id, name))
        try:
            answer = read_answer(output, schema)
        except ValueError as error:
            raise InvalidInput(f"--output: {error}") from None
        recorded = run.review(name, row, answer, note=note)
    if as_json:
        base.print_json(recorded)
    else:
        base.print_line(f"row {row} of {name}: {_verdict(recorded)}")
    return 0


def _verdict(review: ReviewJson) -> str:
    return (
        "right as it is" if review["decision"] == "agree" else f"corrected to {base.one_line(review['output'])}"
    )


# -- one row after the other ------------------------------------------------------------------------------


def _ask(run: Run, session: ReviewSession) -> int:
    note = ""
    while (shown := run.client.call(session.current())) is not None:
        _print_row(session, shown)
        while True:
            key = _prompt("> ")
            if key is None or key == "q":
                base.print_line(f"{session.progress}; the rest is there when you come back")
                return 0
            if key == "n" or key.startswith("n "):
                note = key[2:].strip() or _prompt("note> ") or ""
                continue
            try:
                if _act(run, session, shown, key, note):
                    note = ""
                    break
            except (InvalidInput, Conflict, NotFound) as error:
                base.print_error(error)
                if isinstance(error, Conflict):
                    break  # shown anew
    base.print_line(session.progress)
    base.print_line(base.plain(str(run.reviews.summary(session.task))))
    return 0


def _act(run: Run, session: ReviewSession, shown: RowToReview, key: str, note: str) -> bool:
    """Do what a key says; whether another row is shown then."""
    call = run.client.call
    if key == "s":
        session.skip()
    elif key == "b":
        session.back()
    elif key == "y":
        base.print_line(_verdict(call(session.agree(shown, note))))
    elif key == "e":
        text = _prompt("answer> ")
        if not text:
            return False
        base.print_line(_verdict(call(session.correct(shown, _read(session, text), note))))
    elif (number := whole_number(key)) is not None:
        base.print_line(_verdict(call(session.choose(shown, number, note))))
    else:
        base.print_line(_keys(session, shown))
        return False
    return True


def _read(session: ReviewSession, text: str) -> Any:
    from po_jupyter.client.reviews.choices import read_answer

    try:
        return read_answer(text, session.schema)
    except ValueError as error:
        raise InvalidInput(str(error)) from None


def _prompt(sign: str) -> str | None:
    """A line from the person; None at the end of the input."""
    try:
        answer: str = click.prompt("", default="", show_default=False, prompt_suffix=sign, type=base.TEXT)
    except click.Abort:
        base.print_line()
        return None
    return answer.strip()


def _print_row(session: ReviewSession, shown: RowToReview) -> None:
    row = shown.row
    base.print_line()
    base.print_line(f"row {row['index']} · {session.progress}", bold=True)
    _print_value("input", row["input"])
    if shown.ok:
        _print_value("answer", row["output"])
    else:
        base.print_line(f"  failed   {base.one_line(shown.error, 400)}")
    for review in (*((shown.mine,) if shown.mine is not None else ()), *shown.others):
        person = "you" if review["mine"] else base.plain(review["by"])
        when = review["at"][:16].replace("T", " ")
        outdated = " (of an earlier answer)" if review["outdated"] else ""
        note = f": {base.one_line(review['note'])}" if review["note"] else ""
        base.print_line(f"  {person}, {when}{outdated}: {_verdict(review)}{note}")
    base.print_line(f"  {_keys(session, shown)}")


def _print_value(name: str, value: Any) -> None:
    from po_jupyter.client.reviews.choices import written_answer

    text = base.plain(written_answer(value, None))
    text = text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
    lines = text.splitlines() or [""]
    base.print_line(f"  {name:<8} {lines[0]}")
    for line in lines[1:]:
        base.print_line(f"           {line}")


def _keys(session: ReviewSession, shown: RowToReview) -> str:
    from po_jupyter.client.reviews import choices

    values = session.choices.values if session.choices is not None else ()
    keys = [f"{number} {base.plain(choices.shown(value))}" for number, value in enumerate(values, 1)]
    keys += ["y right as it is"] if shown.ok else []
    return "   ".join([*keys, "e edit", "n note", "s skip", "b back", "q quit"])
