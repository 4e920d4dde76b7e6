"""Tokens in headers, and what is remembered of them."""

from __future__ import annotations

import asyncio

import pytest

from po_jupyter.hub.identity import HubUser, RememberedTokens, TokenTable, token_in, user_of
from po_jupyter.hub.problems import GatewayProblem


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer abc"},
        {"Authorization": "token abc"},
        {"Authorization": "bearer  abc "},
        {"x-api-key": "abc"},
        {"x-goog-api-key": "abc"},
        {"x-api-key": "abc", "Authorization": "Bearer abc"},
    ],
)
def test_a_token_stands_where_a_key_would(headers: dict[str, str]) -> None:
    assert token_in(headers) == "abc"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Basic abc"},
        {"Authorization": "abc"},
        {"Authorization": "Bearer "},
        {"Cookie": "token=abc"},
        {"x-api-key": "a", "x-goog-api-key": "b"},
        {"x-api-key": "ä"},
        {"x-api-key": "a\x7f"},
    ],
)
def test_what_is_no_token_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises(GatewayProblem) as refused:
        token_in(headers)
    assert (refused.value.status, refused.value.code) == (401, "unauthorized")


async def test_many_requests_with_a_token_make_one_question() -> None:
    asked = 0

    class Slow:
        async def user_for_token(self, token: str, session: str = "") -> HubUser | None:
            nonlocal asked
            asked += 1
            await asyncio.sleep(0)
            return HubUser("alice")

    remembered = RememberedTokens(Slow())
    users = await asyncio.gather(*(remembered.user_for_token("t") for _ in range(50)))
    assert asked == 1 and set(users) == {HubUser("alice")}
    await remembered.user_for_token("t", "another session")
    assert asked == 2


async def test_a_hub_that_is_away_is_not_remembered() -> None:
    class Away(TokenTable):
        away = True

        async def user_for_token(self, token: str, session: str = "") -> HubUser | None:
            if self.away:
                raise GatewayProblem(503, "gateway_unavailable", "away")
            return await super().user_for_token(token)

    table = Away({"t": HubUser("alice")})
    remembered = RememberedTokens(table)
    for _ in range(2):
        with pytest.raises(GatewayProblem):
            await remembered.user_for_token("t")
    table.away = False
    assert await remembered.user_for_token("t") == HubUser("alice")


async def test_without_the_scope_there_is_no_access() -> None:
    with pytest.raises(GatewayProblem) as refused:
        await user_of({"x-api-key": "t"}, TokenTable({"t": HubUser("guest", may_use=False)}))
    assert refused.value.code == "no_access" and "guest" in refused.value.message


class Counting:
    """Knows `good` tokens, and answers when it is let."""

    def __init__(self) -> None:
        self.asked, self.most, self.now = 0, 0, 0
        self.answers = asyncio.Event()

    async def user_for_token(self, token: str, session: str = "") -> HubUser | None:
        self.asked += 1
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await self.answers.wait()
        finally:
            self.now -= 1
        return HubUser("alice") if token.startswith("good") else None


async def test_a_flood_of_unknown_tokens_asks_the_hub_a_few_at_a_time_and_is_turned_away() -> None:
    now, hub = 0.0, Counting()
    remembered = RememberedTokens(hub, clock=lambda: now)
    hub.answers.set()
    assert await remembered.user_for_token("good") is not None
    now = 100.0  # it is to be asked again
    hub.answers.clear()
    flood = [asyncio.ensure_future(remembered.user_for_token(f"bad-{n}")) for n in range(3000)]
    await asyncio.sleep(0)
    known = asyncio.ensure_future(remembered.user_for_token("good"))
    for _ in range(5):
        await asyncio.sleep(0)
    assert hub.now <= 21 and len([task for task in flood if task.done()]) >= 2000
    assert hub.asked >= 2  # who was known is asked about at once
    hub.answers.set()
    assert await known == HubUser("alice")
    answers = await asyncio.gather(*flood, return_exceptions=True)
    refused = [answer for answer in answers if isinstance(answer, GatewayProblem)]
    assert {(problem.status, problem.code) for problem in refused} == {(429, "rate_limited")}
    assert hub.most <= 21


async def test_refused_tokens_do_not_push_out_those_of_users() -> None:
    table = Counting()
    table.answers.set()
    remembered = RememberedTokens(table)
    await remembered.user_for_token("good")
    for n in range(12_000):
        await remembered.user_for_token(f"bad-{n}")
    asked = table.asked
    await remembered.user_for_token("good")
    assert table.asked == asked
