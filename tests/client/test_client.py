"""The client that people hold, against a real server."""

from __future__ import annotations

import pandas as pd
import pytest

from po_jupyter.client.async_client import Endpoint
from po_jupyter.client.client import Client, Run
from po_jupyter.errors import (
    Conflict,
    Forbidden,
    InvalidInput,
    InvalidPipeline,
    InvalidSeed,
    NotFound,
    Unauthenticated,
    Unavailable,
)
from po_jupyter.model.pipeline.pipeline import Pipeline, Task
from tests.support.jupyter_process import JupyterProcess, definition

pytestmark = pytest.mark.acceptance


@pytest.mark.parametrize(
    "pipeline",
    [
        Pipeline(name="tickets", tasks=(Task(name="label", prompt="x"),)),
        definition(),
        "name: tickets\ntasks:\n  - {name: label, prompt: x}\n",
    ],
)
def test_a_pipeline_may_be_a_value_a_dict_or_yaml(client: Client, pipeline: object) -> None:
    """ARCH: `Pipeline | str | dict`."""
    run = client.submit(pipeline, seed=pd.DataFrame({"a": [1]}))
    assert (run.view.pipeline, run.view.name) == ("tickets", "tickets")
    run.cancel()


def test_a_registered_name_is_a_pipeline(client: Client) -> None:
    """DESIGN HTTP: `pipeline: definition|name`."""
    client.register(definition(name="by-name"))
    assert "by-name" in [one["name"] for one in client.pipelines()]
    assert client.submit("by-name").view.pipeline == "by-name"


def test_mistakes_are_told_before_anything_is_sent_or_by_the_server(client: Client) -> None:
    """P11: the same exceptions, wherever the mistake was seen."""
    with pytest.raises(InvalidSeed, match="DataFrame"):
        client.submit(definition(), seed="text")
    with pytest.raises(InvalidPipeline) as yaml:
        client.submit("name: t\ntasks:\n  - {name: a, promt: x}\n")
    assert yaml.value.violations[0].line == 3
    with pytest.raises(InvalidPipeline) as remote:
        client.submit({"name": "t", "tasks": []})
    assert remote.value.violations
    with pytest.raises(InvalidPipeline, match="not int"):
        client.submit(3)
    with pytest.raises(InvalidSeed, match="refused"):
        client.submit(definition(), seed={"refuse": True})
    with pytest.raises(NotFound):
        client.run("ffffff")
    with pytest.raises(InvalidInput):
        client.run("..")
    with pytest.raises(InvalidInput, match="did you mean `done`"):
        client.runs(state="dnoe")


def test_the_same_key_is_the_same_run(client: Client) -> None:
    """DESIGN Identity."""
    first = client.submit(definition(), seed={"a": 1}, idempotency_key="one")
    assert client.submit(definition(), seed={"a": 1}, idempotency_key="one").id == first.id
    with pytest.raises(Conflict):
        client.submit(definition(), seed={"a": 2}, idempotency_key="one")
    assert client.submit(definition(), seed={"a": 1}).id != client.submit(definition(), seed={"a": 1}).id


def test_runs_are_listed_found_and_decided(client: Client) -> None:
    """Lists go over pages; a suffix finds a run; cancel and resume answer with the run."""
    made = [client.submit(definition(name="listed")) for _ in range(3)]
    assert [run.id for run in client.runs(pipeline="listed", limit=2)] == [made[2].id, made[1].id]
    found = client.run(made[0].short)
    assert isinstance(found, Run)
    assert found.cancel().state == "cancelled"
    assert found.resume(budget=2.0).state == "pending"
    with pytest.raises(Conflict):
        found.resume()
    with pytest.raises(Conflict, match="no gate"):
        found.approve("fine")
    found.cancel()
    found.delete()
    with pytest.raises(NotFound):
        found.refresh()


def test_wrong_tokens_and_other_servers_are_told_apart(jupyter: JupyterProcess) -> None:
    """P11: what is wrong and what to do, for each way of not being the orchestrator."""
    with pytest.raises(Forbidden, match="token"):
        Client(Endpoint(jupyter.url, "wrong")).health()
    with pytest.raises(Unauthenticated):
        Client(Endpoint(jupyter.url)).health()
    with pytest.raises(NotFound, match="no po_jupyter"):
        Client(Endpoint(jupyter.url + "elsewhere", jupyter.token)).health()
    with pytest.raises(Unavailable, match="no orchestrator answers") as lost:
        Client(Endpoint("http://127.0.0.1:9/", "t")).health()
    assert "po start" in str(lost.value)
    assert "secret" not in repr(Endpoint("http://x", "secret"))


def test_a_server_without_token_is_used_with_its_xsrf_cookie(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Some hosts switch Jupyter's authentication off behind a proxy of theirs."""
    process = JupyterProcess(tmp_path_factory.mktemp("open"), token="")
    try:
        client = Client(Endpoint(process.url))
        assert client.submit(definition()).cancel().state == "cancelled"
        client.close()
    finally:
        process.stop()
