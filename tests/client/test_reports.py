"""G13: the report of a real run, and the notebook of it that does the run again."""

from __future__ import annotations

from pathlib import Path

import nbclient
import nbformat
import pytest

from po_jupyter.client.client import Client
from po_jupyter.client.http.transport import Endpoint
from po_jupyter.errors import InvalidInput, PoError
from tests.support.jupyter_process import JupyterProcess

pytestmark = pytest.mark.acceptance

PIPELINE = {
    "name": "tickets", "llm": {"model": "fake:echo"},
    "tasks": [
        {"name": "label", "for_each": "{{ seed.rows }}", "prompt": "Label {{ item.text }}"},
        {"name": "count", "source": "def ingestion(ctx):\n    return {'n': len(ctx.tasks['label'])}\n"},
    ],
}  # fmt: skip
SEED = {"rows": [{"text": f"<i>{n}</i>"} for n in range(7)]}


def test_each_kind_is_written_and_the_notebook_does_the_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = JupyterProcess(tmp_path / "server", orchestrator=None)
    client = Client(Endpoint(server.url, server.token))
    try:
        run = client.submit(PIPELINE, seed=SEED).wait()
        report = run.report(tmp_path / "x.html", rows=2)
        page = (tmp_path / "x.html").read_text("utf-8")
        assert page == report.html
        assert "5 of 7 rows are left out" in page and "<i>0" not in page and "echo: Label &lt;i&gt;0" in page
        assert report._repr_html_().startswith("<iframe sandbox")
        assert "Label {{ item.text }}" in page
        assert "5 of 7 rows are left out" in report.markdown
        report.save(tmp_path / "x.md")
        report.save(str(tmp_path / "x.ipynb"))
        for wrong in ("x.pdf", "x"):
            with pytest.raises(InvalidInput, match="cannot be written as"):
                report.save(tmp_path / wrong)
        with pytest.raises(PoError, match="cannot be written"):
            report.save(tmp_path / "nowhere" / "x.html")
        monkeypatch.setenv("PO_JUPYTER_URL", server.url)
        monkeypatch.setenv("PO_JUPYTER_TOKEN", server.token)
        document = nbformat.read(tmp_path / "x.ipynb", as_version=4)
        nbclient.NotebookClient(document, timeout=60, kernel_name="python3").execute()
        newest = next(iter(client.runs(limit=1)))
        assert newest.id != run.id
        assert newest.outputs["count"] == run.outputs["count"] == {"n": 7}
        elsewhere = {**PIPELINE, "llm": {"model": "openai:not-here"}}
        first = client.submit(elsewhere, seed=SEED, limit=2, model="fake:echo", budget={"tokens": 9000}).wait()
        first.report(tmp_path / "y.ipynb")
        document = nbformat.read(tmp_path / "y.ipynb", as_version=4)
        nbclient.NotebookClient(document, timeout=60, kernel_name="python3").execute()
        again = next(iter(client.runs(limit=1)))
        assert again.id != first.id
        assert again.outputs["count"] == first.outputs["count"] == {"n": 2}
        assert again.view.budget == first.view.budget
        table = again.report().markdown.partition("## Pipeline")[0]
        assert "fake:echo" in table and "not\\-here" not in table
    finally:
        client.close()
        server.stop()
