"""People review rows: over HTTP, in Python, in the terminal, and a server that is killed in between."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas
import polars
import pytest

from po_jupyter.client.client import Client, Run
from po_jupyter.client.reviews.session import ReviewSession, open_session
from po_jupyter.errors import Conflict, InvalidInput, NotFound
from tests.support.jupyter_process import JupyterProcess

pytestmark = pytest.mark.integration
LABEL = {
    "type": "object", "required": ["label", "confidence"],
    "properties": {"label": {"enum": ["bug", "question"]}, "confidence": {"type": "number"}},
}  # fmt: skip
SOURCE = """
def ingestion(ctx):
    if ctx.item["text"] == "fail":
        raise ValueError("no label \\x1b[2J <b>")
    return {"label": "bug", "confidence": ctx.item["confidence"]}
"""
TASK = {
    "name": "label",
    "source": SOURCE,
    "for_each": "{{ seed.rows }}",
    "output": LABEL,
    "retry": {"max_attempts": 1},
}
ROWS = [{"text": f"<script>{i}</script>\x1b[31m", "confidence": i / 10} for i in range(10)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterProcess]:
    process = JupyterProcess(tmp_path_factory.mktemp("reviewed"), orchestrator=None)
    yield process
    process.stop()


@pytest.fixture
def client(server: JupyterProcess) -> Iterator[Client]:
    from po_jupyter.client.async_client import Endpoint

    client = Client(Endpoint(server.url, server.token))
    yield client
    client.close()


@pytest.fixture
def run(client: Client) -> Run:
    rows = [*ROWS, {"text": "fail", "confidence": 1}]
    return client.submit({"name": "labels", "tasks": [TASK]}, rows).wait(60)


def opened(run: Run, **options: Any) -> ReviewSession:
    return run.client.call(open_session(run.client.aio, run.view, **options))


def test_a_session_goes_on_where_it_stopped(run: Run) -> None:
    """Five labels, then another session: they are there, and it shows the sixth row."""
    session = opened(run, where="not ok or confidence < 0.7", sample=50)
    assert (session.total, session.progress) == (8, "1 of 8 · 0 reviewed")
    call = run.client.call
    for number in (1, 2, 1, 2):
        row = call(session.current())
        assert row is not None
        call(session.choose(row, number))
    session.skip()
    session.back()
    row = call(session.current())
    assert row is not None
    call(session.correct(row, {"label": "question", "confidence": 1}, "it asks"))
    again = opened(run, where="not ok or confidence < 0.7", sample=50)
    assert again.progress == "6 of 8 · 5 reviewed"
    reviews = run.reviews()
    assert [(r["index"], r["decision"]) for r in reviews] == [
        (0, "agree"), (1, "correct"), (2, "agree"), (3, "correct"), (4, "correct"),
    ]  # fmt: skip
    assert reviews[1]["output"] == {"label": "question", "confidence": 0.1}, "the rest of the answer stays"
    assert reviews[4]["note"] == "it asks"
    assert len({r["by"] for r in reviews}) == 1


def test_frames_and_files_have_what_people_said(run: Run, tmp_path: Path) -> None:
    run.review("label", 1, {"label": "question", "confidence": 0.5})
    run.review("label", 2)
    run.review("label", 10, {"label": "question", "confidence": 0})
    plain, frame = run.frame("label"), run.frame("label", corrected=True)
    assert list(plain["label"][:2]) == ["bug", "bug"]
    assert list(frame["label"][:3]) == ["bug", "question", "bug"]
    assert list(frame.index[frame["corrected"]]) == [1, 10]
    assert frame["label"][10] == "question" and not frame["ok"][10]
    assert frame["reviewed_by"].notna().sum() == 3
    assert "corrected" not in plain.columns
    assert run.frame("label", "polars", corrected=True)["corrected"].sum() == 2
    run.save_rows("label", tmp_path / "rows.csv", corrected=True)
    with (tmp_path / "rows.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(r["output.label"], r["corrected"]) for r in rows[:3]] == [
        ("bug", "false"), ("question", "true"), ("bug", "false"),
    ]  # fmt: skip
    run.save_rows("label", tmp_path / "rows.parquet", corrected=True)
    assert polars.read_parquet(tmp_path / "rows.parquet")["corrected"].sum() == 2
    assert pandas.isna(frame["reviewed_by"][0])


def test_what_is_refused_names_the_reason(run: Run) -> None:
    with pytest.raises(InvalidInput, match="does not fit the schema"):
        run.review("label", 0, {"label": "bugg", "confidence": 1})
    with pytest.raises(InvalidInput, match="no answer to agree with"):
        run.review("label", 10)
    with pytest.raises(NotFound, match="no row for which"):
        opened(run, where="confidence > 5")
    with pytest.raises(InvalidInput, match="did you mean"):
        opened(run, where="confidense > 5")
    with pytest.raises(InvalidInput, match="no map"):
        opened(run, task="labl")
    session = opened(run, sample=1)
    row = run.client.call(session.current())
    assert row is not None
    with pytest.raises(InvalidInput, match="no choice 3"):
        run.client.call(session.choose(row, 3))
    stale = row._replace(row={**row.row, "output": {"label": "question"}})
    with pytest.raises(Conflict, match="another answer since you saw it"):
        run.client.call(session.agree(stale))
    assert run.reviews() == []


def po(server: JupyterProcess, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    env = {**server.env, "PO_JUPYTER_URL": server.url, "PO_JUPYTER_TOKEN": server.token, "PYTHONUTF8": "1"}
    return subprocess.run(
        [sys.executable, "-m", "po_jupyter", *arguments],
        input=given, env=env, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_in_the_terminal_by_keys(server: JupyterProcess, run: Run) -> None:
    keys = "2\nx\nb\ns\ny\nn it asks\ne\n" + '{"label": "question", "confidence": 1}' + "\nq\n"
    done = po(server, "review", run.id, "--where", "ok", "--sample", "5", given=keys)
    assert done.returncode == 0, done.stderr + done.stdout
    assert "\x1b[31m" not in done.stdout, "an input does not paint the terminal"
    assert "1 bug   2 question   y right as it is" in done.stdout
    assert "3 of 5" in done.stdout
    sample = run.reviews.sample(where="ok", size=5)
    reviews = {r["index"]: r for r in run.reviews()}
    assert [reviews[i]["decision"] for i in sample[:3]] == ["correct", "agree", "correct"]
    assert reviews[sample[2]]["note"] == "it asks"
    listed = po(server, "review", run.id, "--list")
    assert "3 rows reviewed, 2 corrected" in listed.stdout
    as_json = json.loads(po(server, "review", run.id, "--list", "--json").stdout)
    assert as_json["summary"]["corrected"] == 2
    one = po(server, "review", run.id, "--row", "9", "--output", '{"label": "x"}')
    assert one.returncode == 2 and "does not fit the schema" in one.stderr
    one = po(server, "review", run.id, "--row", "9", "--agree", "--json")
    assert json.loads(one.stdout)["decision"] == "agree"
    for wrong in (["--agree"], ["--row", "9"], ["--row", "9", "--agree", "--output", "1"], ["--json"]):
        assert po(server, "review", run.id, *wrong).returncode == 2
