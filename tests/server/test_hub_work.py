"""What a user's server says of its live runs to the gateway of a hub, and when."""

from __future__ import annotations

import asyncio

import pytest

from po_jupyter.errors import Unavailable
from po_jupyter.server import hub_work
from po_jupyter.server.hub_work import tell, token_of_server

HUB = "https://hub.example/services/po"


async def said_of(
    monkeypatch: pytest.MonkeyPatch, looks: list[int | None], answer: bool | None = True
) -> list[int]:
    """What is said over some looks; None: the orchestrator is not there yet."""
    said: list[int] = []
    rest = iter(looks)
    done = asyncio.Event()
    now: int | None = None

    async def put(url: str, token: str, runs: int) -> bool | None:
        said.append(runs)
        return answer

    async def ready() -> None:
        nonlocal now
        try:
            now = next(rest)
        except StopIteration:
            done.set()
            await asyncio.Event().wait()
        if now is None:
            raise Unavailable("starting")

    monkeypatch.setattr(hub_work, "EVERY", 0.0)
    monkeypatch.setattr(hub_work, "_put", put)
    telling = asyncio.create_task(tell(HUB, "t", ready, lambda: now or 0))
    await done.wait()
    telling.cancel()
    return said


@pytest.mark.parametrize(
    ("looks", "said"),
    [
        ([None, None, 2, 2, 3], [2]),  # at once, and then each minute
        ([1, 0, 1, 0, 0, 0], [1, 0]),  # the end of the last one only, once
        ([0, 0, 0], [0]),  # what was left is done
        ([0, 0, 1, 1], [0, 1]),
        ([None, 0, None], []),
    ],
)
async def test_it_is_said_when_it_matters(
    monkeypatch: pytest.MonkeyPatch, looks: list[int | None], said: list[int]
) -> None:
    assert await said_of(monkeypatch, looks) == said


async def test_a_gateway_that_starts_nobodys_server_is_left_alone_and_one_that_is_away_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert await said_of(monkeypatch, [1, 1, 1], answer=False) == [1]
    assert await said_of(monkeypatch, [1, 1, 1], answer=None) == [1, 1, 1]


def test_the_token_goes_to_the_hub_that_the_environment_names_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "token")
    monkeypatch.setenv("JUPYTERHUB_USER", "alice")
    monkeypatch.setenv("PO_HUB_URL", f"{HUB}/")
    assert token_of_server(HUB) == "token"
    assert token_of_server("https://evil.example/services/po") == token_of_server(None) == ""
    monkeypatch.delenv("JUPYTERHUB_USER")
    assert token_of_server(HUB) == ""
