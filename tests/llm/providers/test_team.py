"""A provider behind the gateway of a hub: what each answer means."""

from __future__ import annotations

import pytest

from po_jupyter.errors import (
    BudgetExceeded,
    ModelError,
    ModelKeyError,
    ModelRefused,
    ModelUnavailable,
)
from po_jupyter.llm.chat import ChatRequest, ChatResponse, Message
from po_jupyter.llm.money.team_prices import PENDING, TeamPrices
from po_jupyter.llm.providers.registry import Providers
from po_jupyter.llm.providers.team import TeamProvider
from po_jupyter.testing.model_server import ModelServer
from tests.support.fake_gateway import FakeGateway, Fault, GatewayThread

pytestmark = pytest.mark.integration

REQUEST = ChatRequest(model="openai:gpt-5-mini", messages=(Message("user", "hello"),), timeout=5)
PAGE = "<!DOCTYPE html><html>JupyterHub</html>"


@pytest.fixture
def model():
    with ModelServer("fine") as server:
        yield server


@pytest.fixture
def gateway(model):
    gateway = FakeGateway(model.root_url)
    gateway.tokens = {"token-of-ada-1"}
    thread = GatewayThread(gateway)
    thread.start()
    gateway.thread = thread
    yield gateway
    thread.stop()


class Keys:
    """The orchestrator, as far as a worker asks it for keys."""

    def __init__(self, gateway: FakeGateway) -> None:
        self.gateway, self.token, self.asked = gateway, "token-of-ada-1", 0

    async def get(self, provider: str) -> dict[str, str]:
        self.asked += 1
        return {"OPENAI_BASE_URL": f"{self.gateway.url}/openai/v1", "OPENAI_API_KEY": self.token}


async def ask(gateway: FakeGateway, keys: Keys | None = None, on_text=None) -> ChatResponse:
    keys = keys or Keys(gateway)
    providers = Providers({}, get_key=keys.get, hub_url=gateway.url)
    try:
        await providers.prepare(REQUEST.model)
        provider = providers.get(REQUEST.model)
        assert isinstance(provider, TeamProvider)
        return await provider.chat(REQUEST, on_text=on_text)
    finally:
        await providers.aclose()


async def test_the_teams_key_is_put_in_by_the_gateway_alone(gateway, model):
    assert (await ask(gateway)).text == "fine"
    assert gateway.requests == [("openai/v1/responses", "token-of-ada-1")]
    assert model.requests[-1].headers["authorization"] == f"Bearer {gateway.key}"


async def test_an_answer_is_priced_only_when_the_gateway_has_said_its_price(gateway, model):
    """It answers, and its list was not there when the key came."""
    prices = TeamPrices({"openai": PENDING})
    providers = Providers({}, get_key=Keys(gateway).get, hub_url=gateway.url, team_prices=prices)
    try:
        for _ in range(2):
            if (preparing := providers.prepare(REQUEST.model)) is not None:
                await preparing
            await providers.get(REQUEST.model).chat(REQUEST)
            assert not prices.is_pending(REQUEST.model) and prices.find(REQUEST.model) is not None
    finally:
        await providers.aclose()
    assert [path for path, _ in gateway.requests].count("api/models") == 1


@pytest.mark.parametrize(
    ("fault", "waits_for", "billed"),
    [
        (Fault(429, "rate_limited", headers={"Retry-After": "2"}), "limit", False),
        (Fault(401, "unauthorized"), "token", False),
        (Fault(503, "gateway_unavailable", headers={"Retry-After": "2"}), "hub", False),
        (Fault(403, body=PAGE), "hub", False),
        (Fault(302, body="", headers={"Location": "/hub/login"}), "hub", False),
        (Fault(200, body=PAGE), "hub", False),
        (Fault(404, body=PAGE), "hub", False),
    ],
)
async def test_what_is_waited_for(gateway, fault, waits_for, billed):
    gateway.faults.append(fault)
    with pytest.raises(ModelError) as raised:
        await ask(gateway)
    assert (raised.value.transient, raised.value.waits_for) == (True, waits_for)
    assert raised.value.may_be_billed is billed
    if waits_for == "limit":
        assert raised.value.retry_after == 2


@pytest.mark.parametrize("status", [500, 502, 503, 504])
async def test_a_page_of_a_proxy_is_waited_out_while_the_gateway_is_away_and_counts_as_an_attempt_else(
    gateway, status
):
    gateway.faults.append(Fault(status, body=PAGE))
    with pytest.raises(ModelUnavailable) as raised:
        await ask(gateway)
    assert raised.value.waits_for is None
    assert raised.value.may_be_billed
    gateway.standing = Fault(status, body=PAGE)
    with pytest.raises(ModelUnavailable) as raised:
        await ask(gateway)
    assert raised.value.waits_for == "hub"
    assert raised.value.may_be_billed


async def test_no_connection_is_waited_out(gateway):
    gateway.thread.stop()
    with pytest.raises(ModelUnavailable) as raised:
        await ask(gateway)
    assert (raised.value.waits_for, raised.value.may_be_billed) == ("hub", False)


async def test_a_page_of_the_hub_does_not_change_the_api_of_a_model(gateway):
    keys = Keys(gateway)
    providers = Providers({}, get_key=keys.get, hub_url=gateway.url)
    await providers.prepare(REQUEST.model)
    gateway.faults.append(Fault(404, body=PAGE))
    with pytest.raises(ModelUnavailable):
        await providers.get(REQUEST.model).chat(REQUEST)
    await providers.get(REQUEST.model).chat(REQUEST)
    assert gateway.requests[-1][0] == "openai/v1/responses"
    await providers.aclose()


async def test_a_budget_that_is_spent_says_when_it_is_reset(gateway):
    headers = {"X-Po-Resets-At": "2026-11-28T00:00:00Z"}
    gateway.faults.append(Fault(429, "budget_exceeded", "2.00 of 2.00 USD of today are used", headers))
    with pytest.raises(BudgetExceeded) as raised:
        await ask(gateway)
    assert raised.value.details["resets_at"] == "2026-11-28T00:00:00Z"
    assert "2026-11-28T00:00:00Z" in raised.value.message
    assert "2.00 of 2.00 USD" in raised.value.message


@pytest.mark.parametrize(("code", "status"), [("model_not_allowed", 403), ("no_access", 403)])
async def test_what_is_not_allowed_is_permanent_and_says_what_is(gateway, code, status):
    gateway.faults.append(Fault(status, code, "not on the list: openai:gpt-5-mini"))
    with pytest.raises(ModelKeyError, match="openai:gpt-5-mini") as raised:
        await ask(gateway)
    assert not raised.value.transient


@pytest.mark.parametrize(
    ("status", "code", "cls"),
    [(400, "", ModelRefused), (413, "", ModelRefused), (401, "", ModelKeyError),
     (503, "vendor_unavailable", ModelUnavailable), (403, "vendor_unavailable", ModelUnavailable)],
)  # fmt: skip
async def test_the_vendors_own_errors_mean_what_they_mean_without_a_gateway(gateway, status, code, cls):
    gateway.faults.append(Fault(status, code, "no such parameter"))
    with pytest.raises(cls) as raised:
        await ask(gateway)
    assert raised.value.waits_for is None


async def test_an_answer_that_the_gateway_lost_may_be_paid_for_and_one_that_never_came_to_be_is_not(gateway):
    for code, outcome in (("answer_lost", "unknown"), ("vendor_unavailable", None)):
        gateway.faults.append(Fault(503, code, "the vendor closed the connection"))
        with pytest.raises(ModelUnavailable) as raised:
            await ask(gateway)
        assert (raised.value.outcome, raised.value.waits_for) == (outcome, None), code


async def test_a_new_token_is_got_from_the_orchestrator(gateway):
    keys = Keys(gateway)
    providers = Providers({}, get_key=keys.get, hub_url=gateway.url)
    await providers.prepare(REQUEST.model)
    provider = providers.get(REQUEST.model)
    gateway.tokens = {"token-of-ada-2"}  # the server was started anew
    with pytest.raises(ModelUnavailable):
        await provider.chat(REQUEST)
    assert await provider.ready() is False
    keys.token = "token-of-ada-2"
    assert await provider.ready() is True
    assert (await provider.chat(REQUEST)).text == "fine"
    await providers.aclose()


async def test_no_error_has_the_token_in_it(gateway):
    gateway.faults.append(Fault(400, "", "your token token-of-ada-1 is wrong"))
    with pytest.raises(ModelRefused) as raised:
        await ask(gateway)
    assert "token-of-ada-1" not in str(raised.value.to_json())


async def test_a_batch_goes_on_with_a_new_token_and_a_hub_that_is_away_is_no_reason_to_give_up(gateway):
    keys = Keys(gateway)
    providers = Providers({}, get_key=keys.get, hub_url=gateway.url)
    await providers.prepare(REQUEST.model)
    api = providers.get(REQUEST.model).batches
    gateway.tokens, keys.token = {"token-of-ada-2"}, "token-of-ada-2"
    with pytest.raises(ModelRefused):  # the model server knows no such batch: it was asked, with the new token
        await api.status("batch_1")
    assert gateway.requests[-1] == ("openai/v1/batches/batch_1", "token-of-ada-2")
    gateway.standing = Fault(403, body=PAGE)
    with pytest.raises(ModelUnavailable):
        await api.status("batch_1")
    gateway.standing = Fault(429, "budget_exceeded", "spent")
    with pytest.raises(BudgetExceeded):
        await api.create("t", "g", "file-1")
    await providers.aclose()


async def test_a_key_of_ones_own_is_never_sent_to_the_gateway(gateway, model):
    """The admin allows own keys, and the gateway was away when the run began: the next key is the user's."""
    keys = Keys(gateway)
    providers = Providers({}, get_key=keys.get, hub_url=gateway.url)
    await providers.prepare(REQUEST.model)
    provider = providers.get(REQUEST.model)

    async def own(name: str) -> dict[str, str]:
        return {"OPENAI_BASE_URL": f"{model.root_url}/v1", "OPENAI_API_KEY": "sk-own-0123456789"}

    providers._get_key = own
    assert await provider.ready() is True
    assert (await provider.chat(REQUEST)).text == "fine"
    assert gateway.requests == []
    assert model.requests[-1].headers["authorization"] == "Bearer sk-own-0123456789"
    model.stop()
    with pytest.raises(ModelUnavailable) as raised:  # the vendor is away: an attempt like any other
        await provider.chat(REQUEST)
    assert raised.value.waits_for is None
    await providers.aclose()


@pytest.mark.parametrize(
    ("fault", "ready"),
    [
        (Fault(403, "no_access"), True),
        (Fault(429, "rate_limited"), True),
        (Fault(401, "unauthorized"), False),
        (Fault(503, "gateway_unavailable"), False),
        (Fault(403, body=PAGE), False),
    ],
)
async def test_a_wait_ends_when_the_gateway_answers_whatever_it_says_but_that_it_cannot_know_who_asks(
    gateway, fault, ready
):
    providers = Providers({}, get_key=Keys(gateway).get, hub_url=gateway.url)
    await providers.prepare(REQUEST.model)
    gateway.standing = fault
    assert await providers.get(REQUEST.model).ready() is ready
    await providers.aclose()


async def test_a_run_that_begins_without_a_token_waits_for_one(gateway):
    """Its server is being started again: the orchestrator has no token for a moment."""

    class Late(Keys):
        token_is_there = False

        async def get(self, provider: str) -> dict[str, str]:
            if not self.token_is_there:
                raise ModelKeyError("there is no token of the hub here", details={"waits_for": "token"})
            return await super().get(provider)

    keys = Late(gateway)
    providers = Providers({}, get_key=keys.get, hub_url=gateway.url)
    await providers.prepare(REQUEST.model)
    provider = providers.get(REQUEST.model)
    with pytest.raises(ModelUnavailable) as raised:
        await provider.chat(REQUEST)
    assert raised.value.waits_for == "token" and await provider.ready() is False
    keys.token_is_there = True
    assert await provider.ready() is True
    assert (await provider.chat(REQUEST)).text == "fine"
    await providers.aclose()


async def test_a_key_that_is_missing_for_good_is_said_at_once(gateway):
    async def none(provider: str) -> dict[str, str]:
        raise ModelKeyError("openai needs a key")

    providers = Providers({}, get_key=none, hub_url=gateway.url)
    with pytest.raises(ModelKeyError):
        await providers.prepare(REQUEST.model)
    await providers.aclose()
