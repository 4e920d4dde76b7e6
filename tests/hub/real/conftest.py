"""A real hub with the gateway before a model server: one for the tests of a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from po_jupyter.testing.model_server import ModelServer
from tests.support.jupyterhub import RealHub, await_true, real_hub


@pytest.fixture(scope="module")
def vendor() -> Iterator[ModelServer]:
    """The vendor, slow enough that calls are in flight."""
    with ModelServer(latency=0.3) as server:
        yield server


@pytest.fixture(scope="module")
def hub(
    vendor: ModelServer, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[RealHub]:
    """The hub, with what a module's `LIMITS` say in `limits.yaml`."""
    folder = tmp_path_factory.mktemp("hub")
    with real_hub(folder, upstream=vendor.root_url, limits=getattr(request.module, "LIMITS", {})) as hub:
        yield hub


def rows(count: int, name: str = "tickets", **more: Any) -> dict[str, Any]:
    """A run of so many rows over a model of the team."""
    return {
        "pipeline": {
            "name": name,
            "llm": {"model": "openai:gpt-5-mini", "max_tokens": 50},
            "tasks": [
                {
                    "name": "label",
                    "for_each": "{{ seed.rows }}",
                    "prompt": f"{name} {{{{ item }}}}",
                    "max_concurrency": 4,
                }
            ],
        },
        "seed": {"name": name, "data": {"rows": list(range(count))}},
        **more,
    }


def submit(client: httpx.Client, body: dict[str, Any]) -> str:
    """The id of a new run."""
    response = client.post("runs", json=body)
    assert response.status_code in (200, 201), response.text
    return str(response.json()["run"]["id"])


def state_of(client: httpx.Client, run: str) -> str:
    """The state of a run."""
    response = client.get(f"runs/{run}")
    return str(response.json()["run"]["state"]) if response.status_code == 200 else ""


def await_state(client: Callable[[], httpx.Client], run: str, *states: str, seconds: float = 120) -> None:
    """Wait for one of the states, whatever happens to the server meanwhile."""

    def is_there() -> bool:
        with client() as http:
            return state_of(http, run) in states

    await_true(is_there, seconds, f"the run to be {' or '.join(states)}")
