"""`po score`: how good the answers of a run are, as it recorded it or by what is expected now."""

from __future__ import annotations

import re
from pathlib import Path

import click

from po_jupyter.cli import base
from po_jupyter.cli.inputs import read_text
from po_jupyter.client.evals.scores import recorded_scores, score_answers, score_body


@click.command()
@base.RUN
@click.option("--task", metavar="TASK", help="The task; needed where the run has several maps.")
@click.option("--expect", type=base.TEXT, metavar="EXPR", help='What is right, such as "{{ item.gold }}".')
@click.option("--metrics", metavar="LIST", help="What is measured: exact,f1 (the default is exact).")
@click.option("--field", "on", metavar="NAME", help="The field of the answers that is scored.")
@click.option("--tolerance", type=click.FloatRange(0), metavar="X", help="How far a `number` may be off.")
@click.option("--relative", type=click.FloatRange(0, 1), metavar="X", help="The same as a part of the number.")
@click.option("--pattern", type=base.TEXT, metavar="REGEX", help="The pattern of `regex`.")
@click.option("--judge", type=base.TEXT, metavar="TEXT|@FILE", help="What a model is asked about each answer.")
@click.option("--model", metavar="REF", help="The judge's model, as provider:model.")
@click.option("--scale", metavar="N-N", help="The judge's lowest and highest number (the default is 0-1).")
@click.option(
    "--budget", type=click.FloatRange(0, min_open=True), metavar="USD", help="What the judge may cost."
)
@base.JSON
@base.on_shared
def score(
    run_id: str,
    task: str | None,
    expect: str | None,
    metrics: str | None,
    on: str | None,
    tolerance: float | None,
    relative: float | None,
    pattern: str | None,
    judge: str | None,
    model: str | None,
    scale: str | None,
    budget: float | None,
    as_json: bool,
) -> int:
    """Score the answers of a run: means with their intervals, confusion, the worst rows.

    Recorded answers are scored, no model is asked; a judge is, within its budget. Without what is expected: the scores
    that the run recorded itself.

    \b
    po score 7f3a9c
    po score 7f3a9c --task label --expect "{{ item.gold }}" --metrics exact,f1
    po score 7f3a9c --judge "Is it polite?" --scale 1-5 --budget 0.50
    """
    run = base.find_run(run_id)
    aio = run.client.aio
    if expect is None and metrics is None and judge is None and pattern is None:
        scores = run.client.call(recorded_scores(aio, run.view, task))
    else:
        asked = score_body(
            expect, metric_names(metrics), None if judge is None else _text(judge), model=model,
            scale=numbers_of(scale), on=on, tolerance=tolerance, relative=relative, pattern=pattern,
        )  # fmt: skip
        scores = run.client.call(score_answers(aio, run.view, task, asked, budget))
    if as_json:
        base.print_json({**scores.summary, "judge_run": scores.judge_run})
        return 0
    for line in str(scores).split("\n"):
        base.print_line(line)
    if scores.judge_run is not None:
        base.print_line(f"judged by run {scores.judge_run[-6:]}")
    return 0


def _text(judge: str) -> str:
    """What the judge is asked: the text, or that of `@FILE`."""
    return read_text(Path(judge[1:])) if judge.startswith("@") else judge


def metric_names(text: str | None) -> list[str] | None:
    """The metrics of a list with commas."""
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


def numbers_of(scale: str | None) -> list[int] | None:
    """The two ends of a scale, `1-5`. Raises BadParameter."""
    if scale is None:
        return None
    found = re.fullmatch(r"\s*(-?\d+)\s*(?:-|to|,|\.\.)\s*(-?\d+)\s*", scale)
    if found is None:
        raise click.BadParameter(f"{scale!r:.40} is no scale such as 1-5", param_hint="--scale")
    return [int(found[1]), int(found[2])]
