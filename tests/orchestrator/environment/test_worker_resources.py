"""Requests of workers: each is answered by the part that has it."""

from __future__ import annotations

from typing import Any, cast

import pytest

from po_jupyter.errors import ModelRefused, Unavailable
from po_jupyter.ipc.messages import ResourceRequest
from po_jupyter.llm.specs import ProviderEndpoint
from po_jupyter.orchestrator.environment.run_credentials import PROVIDER
from po_jupyter.orchestrator.environment.worker_resources import WorkerResources


class Models:
    async def endpoint(self, model: str, progress: Any) -> ProviderEndpoint:
        progress("loading")
        return ProviderEndpoint(f"http://{model}", "key")


class Credentials:
    def provider_key(self, run: str, provider: str) -> dict[str, str]:
        return {"OPENAI_API_KEY": f"{run} {provider}"}

    def team_prices(self, run: str, provider: str, variables: dict[str, str]) -> dict[str, Any] | None:
        return {"models": {f"{provider}:m": "list"}} if provider in variables["OPENAI_API_KEY"] else None

    def check_local_model(self, run: str, model: str) -> None:
        if "/" in model:
            raise ModelRefused("a file")

    def mcp_variables(self, run: str, server: str) -> dict[str, str]:
        return {}


async def here(work: Any, *args: Any) -> Any:
    return work(*args)


@pytest.fixture
def resources() -> WorkerResources:
    return WorkerResources(cast(Any, Models()), cast(Any, Credentials()), here)


async def test_a_local_model_and_a_key_come_from_where_they_are(resources: WorkerResources) -> None:
    heard: list[str] = []
    model = await resources.get("r", ResourceRequest(1, "local_model", "m"), heard.append)
    assert (model.base_url, model.key, heard) == ("http://m", "key", ["loading"])
    key = await resources.get("r", ResourceRequest(2, PROVIDER, "openai"), heard.append)
    assert (key.id, key.variables) == (2, {"OPENAI_API_KEY": "r openai"})
    assert key.prices == {"models": {"openai:m": "list"}}


async def test_a_file_as_a_model_is_refused_before_it_is_looked_at(resources: WorkerResources) -> None:
    with pytest.raises(ModelRefused):
        await resources.get("r", ResourceRequest(1, "local_model", "/etc/passwd"), print)


@pytest.mark.parametrize(("what", "model"), [("a telescope", "m"), ("local_model", None), (PROVIDER, None)])
async def test_what_the_orchestrator_does_not_have_is_refused(
    resources: WorkerResources, what: str, model: str | None
) -> None:
    """Also of a newer worker."""
    with pytest.raises(Unavailable, match="cannot give"):
        await resources.get("r", ResourceRequest(1, what, model), print)
