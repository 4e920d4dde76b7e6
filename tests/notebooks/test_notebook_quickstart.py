"""The quickstart notebook, executed top to bottom by a kernel of a real server; it shows the pipeline of the demo."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import nbformat
import pytest
from jupyter_client.blocking.client import BlockingKernelClient

from po_jupyter.cli.verbs.demo import PIPELINE, WELL_KNOWN, packages
from po_jupyter.model.pipeline.parsing import parse_pipeline
from po_jupyter.model.pipeline.pipeline import Pipeline
from po_jupyter.testing.model_server import ModelServer
from tests.support.jupyter_process import JupyterProcess
from tests.support.paths import TESTS

NOTEBOOK = TESTS.parent / "notebooks" / "01-quickstart.ipynb"


def notebook() -> Any:
    return nbformat.read(NOTEBOOK, as_version=4)


def cells() -> list[str]:
    return [cell.source for cell in notebook().cells if cell.cell_type == "code"]


def body_of(magic: str) -> str:
    found = [source for source in cells() if source.startswith(magic)]
    assert len(found) == 1
    return found[0].partition("\n")[2]


def test_the_notebook_and_the_demo_are_the_same_pipeline() -> None:
    """The definition lives once: the notebook shows the one that `po demo` runs."""
    demo = parse_pipeline(PIPELINE.read_text("utf-8"))
    shown = parse_pipeline(body_of("%%po_pipeline package-labels"), name="package-labels")
    tasks = []
    for task in shown.tasks:
        if task.kind == "python":
            task = task.model_copy(update={"source": body_of(f"%%po_task {task.name}").rstrip("\n") + "\n"})
        tasks.append(task)
    shown = Pipeline.model_validate({**shown.to_json(), "tasks": [t.model_dump() for t in tasks]})
    assert shown.to_json() == demo.to_json()
    assert shown.revision == demo.revision


def test_the_notebook_has_rows_of_its_own() -> None:
    """After `po demo` the notebook took over all its rows: nothing was live, and nothing to be seen."""
    (cell,) = [source for source in cells() if source.startswith("from importlib.metadata")]
    names = ast.literal_eval(cell.partition("names = ")[2].partition("\n")[0])
    assert len(names) == 5
    assert not {*names} & {*WELL_KNOWN, *(row["name"] for row in packages(5))}


def test_the_notebook_is_kept_without_outputs() -> None:
    assert [c.get("outputs") for c in notebook().cells if c.get("outputs")] == []
    assert [c.execution_count for c in notebook().cells if c.get("execution_count")] == []


class Kernel:
    """A kernel that a Jupyter server started, spoken to over its own connection file."""

    def __init__(self, server: JupyterProcess) -> None:
        self.server = server
        api = server.http()
        api.base_url = server.url + "api/"
        answer = api.post("kernels", json={"name": "python3"})
        assert answer.status_code == 201, answer.text
        self.id = answer.json()["id"]
        self._api = api
        self.client = BlockingKernelClient(connection_file=str(server.runtime / f"kernel-{self.id}.json"))
        self.client.load_connection_file()
        self.client.start_channels(hb=False)  # a slow machine is no dead kernel
        self.client.wait_for_ready(timeout=60)

    def run(self, source: str, timeout: float = 120) -> list[dict[str, Any]]:
        """The outputs of a cell. A cell that raises fails the test."""
        messages: list[dict[str, Any]] = []
        reply = self.client.execute_interactive(
            source, timeout=timeout, store_history=True, output_hook=messages.append
        )
        shown = [
            m["content"] for m in messages if m["msg_type"] in ("stream", "display_data", "execute_result")
        ]
        content = reply["content"]
        assert content["status"] == "ok", f"{source}\n{content.get('ename')}: {content.get('evalue')}"
        return shown

    def restart(self) -> None:
        assert self._api.post(f"kernels/{self.id}/restart").status_code == 200
        self.client.wait_for_ready(timeout=60)

    def close(self) -> None:
        self.client.stop_channels()
        self._api.delete(f"kernels/{self.id}")
        self._api.close()


def text_of(outputs: list[dict[str, Any]]) -> str:
    return "\n".join(str(o.get("text") or o.get("data", {}).get("text/plain", "")) for o in outputs)


def execute(server: JupyterProcess, model: str | None = None) -> dict[str, str]:
    kernel = Kernel(server)
    try:
        said: dict[str, str] = {}
        for source in cells():
            if model is not None:
                source = source.replace("local:smollm2-135m", model)
            said[source.partition("\n")[0]] = text_of(kernel.run(source, timeout=300))
            if source.startswith("run.usage"):
                kernel.restart()  # what the text above the next cell invites to
        return said
    finally:
        kernel.close()


def test_the_notebook_executes_top_to_bottom(tmp_path: Path) -> None:
    """Done-when 2 of the main path: a real server, its kernel, and a restart in the middle; C5, G8."""
    good = json.dumps({"purpose": "Checking that it works", "topic": "data"})

    def answer(body: dict[str, Any], _: int) -> str:
        return good if "response_format" in body else "Hello, readers."

    with ModelServer(answer) as model:
        server = JupyterProcess(
            tmp_path,
            orchestrator=None,
            env={"OPENAI_BASE_URL": model.base_url, "OPENAI_API_KEY": model.key},
        )
        try:
            said = execute(server, "openai:any-model")
        finally:
            server.stop()
    assert "traitlets" in said["from importlib.metadata import metadata"]
    assert "done" in said["%%po_pipeline package-labels --run --wait --seed rows --out run"]
    assert "'labelled': 5" in said['run.outputs["report"]']
    assert "Checking that it works" in said['run.frame("label")']
    assert "package-labels" in said["%load_ext po_jupyter"], "after the restart the runs are still there"
    assert "package-labels" in said["%po show"]
    assert "Hello, readers." in said["import po_jupyter as po"]


@pytest.mark.slow
def test_the_notebook_executes_with_the_local_model(tmp_path: Path) -> None:
    """Done-when 2, as a newcomer has it: no key, the embedded model."""
    pytest.importorskip("xllamacpp", reason="the extra `local` is not installed")
    server = JupyterProcess(tmp_path, orchestrator=None)
    try:
        said = execute(server)
    finally:
        server.stop()
    assert "'labelled'" in said['run.outputs["report"]']
    assert "done" in said["%%po_pipeline package-labels --run --wait --seed rows --out run"]
