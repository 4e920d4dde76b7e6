"""Runs outlive what a hub does to servers: a stop, a respawn with a new token, its own restart, a proxy that is gone, a
gateway that is killed. They end done, and nothing is paid twice.

python -m pytest tests/hub/real/test_lifecycle.py -m slow -s        # 50 of these in mid-run, with the figures
"""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator

import psutil
import pytest

from po_jupyter.testing.model_server import ModelServer
from tests.hub.real.conftest import await_state, rows, submit
from tests.support.jupyterhub import RealHub, await_true, real_hub

pytestmark = pytest.mark.acceptance
CULL = 35  # s; a server says every 30 s that its runs live


@pytest.fixture
def alice(hub: RealHub) -> Iterator[RealHub]:
    """The hub, with alice's server running."""
    if not hub.server(hub.alice):
        hub.start_server(hub.alice)
    return hub


def asked(vendor: ModelServer, name: str) -> Counter[str]:
    """How often each row of a run was asked of the vendor."""
    return Counter(request.prompt for request in vendor.requests if f"{name} " in request.prompt)


def token_of(hub: RealHub, user: str) -> str:
    return psutil.Process(hub.server_pid(user)).environ()["JUPYTERHUB_API_TOKEN"]


def respawn(hub: RealHub) -> None:
    """The hub stops the server in order and starts it again: its token is another one then."""
    hub.stop_server(hub.alice)
    hub.start_server(hub.alice)


def kill_server(hub: RealHub) -> None:
    """The server dies at once; the hub sees it and starts it again."""
    psutil.Process(hub.server_pid(hub.alice)).kill()
    if hub.server(hub.alice):
        hub.stop_server(hub.alice)
    hub.start_server(hub.alice)


def restart_hub(hub: RealHub) -> None:
    """The hub and its services end, servers and proxy go on."""
    hub.end("hub")
    hub.start_hub()


def lose_proxy(hub: RealHub) -> None:
    """The proxy is gone for a second, and has forgotten all routes."""
    hub.end("proxy", signal.SIGKILL)
    time.sleep(1)
    hub.start_proxy()
    hub.await_routes(hub.alice)


def kill_gateway(hub: RealHub) -> None:
    """The gateway is killed; the hub starts it again."""
    hub.kill_gateway()
    hub.await_gateway()


BLOWS: tuple[Callable[[RealHub], None], ...] = (respawn, kill_server, restart_hub, lose_proxy, kill_gateway)


def check_run(hub: RealHub, vendor: ModelServer, run: str, name: str, count: int, lost: int) -> None:
    """The run is done with all rows; of calls that were sent again, no answer had been recorded."""
    await_state(lambda: hub.po(hub.alice), run, "done", "failed", "dead", seconds=240)
    with hub.po(hub.alice) as client:
        view = client.get(f"runs/{run}").json()["run"]
        assert view["state"] == "done", view["error"]
        calls, page = [], {"next": 0}
        while page["next"] is not None:
            page = client.get(f"runs/{run}/model-calls", params={"start": page["next"], "limit": 500}).json()
            calls += page["calls"]
    assert view["tasks"][0]["items"]["done"] == count
    answered = [call for call in calls if call["state"] == "done"]
    assert len(answered) == count  # one recorded answer a row: none was paid twice
    sent = asked(vendor, name)
    assert len(sent) == count
    again = sum(sent.values()) - count
    # What was in flight when something died may have been answered to nobody: at most that was sent again.
    assert again <= lost, sent


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_live_runs_are_activity_and_the_culler_stays_away_until_they_end(vendor: ModelServer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("culled")
    with real_hub(folder, upstream=vendor.root_url, cull=CULL) as hub:
        hub.start_server(hub.alice)
        with hub.po(hub.alice) as client:
            run = submit(client, rows(600, "busy"))  # 0.3 s each, four at a time: 45 s
        started = time.monotonic()
        while len(asked(vendor, "busy")) < 600:
            assert hub.server(hub.alice), "a server with a live run was culled"
            assert time.monotonic() - started < 600
            time.sleep(0.5)
        assert time.monotonic() - started > CULL
        await_true(
            lambda: not hub.server(hub.alice), 200, "the culler", hub.log
        )  # nobody is there, nothing to do
        hub.start_server(hub.alice)
        check_run(hub, vendor, run, "busy", 600, lost=0)


def test_a_stopped_servers_runs_go_on_at_the_next_spawn_by_themselves(alice: RealHub, vendor: ModelServer):
    with alice.po(alice.alice) as client:
        meta = client.get("meta").json()
        assert meta["hub"] == {"gateway": alice.gateway_url, "stops_servers": True, "shared_runs": True}
        run = submit(client, rows(40, "stopped"))
        await_true(lambda: len(asked(vendor, "stopped")) >= 6, 60, "six rows")
    before = token_of(alice, alice.alice)
    alice.stop_server(alice.alice)
    seen = len(asked(vendor, "stopped"))
    time.sleep(1.5)
    assert len(asked(vendor, "stopped")) == seen  # nobody works on
    alice.start_server(alice.alice)
    assert token_of(alice, alice.alice) != before
    check_run(alice, vendor, run, "stopped", 40, lost=0)  # a stop in order loses nothing


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("blow", BLOWS, ids=lambda blow: blow.__name__)
def test_a_run_ends_done_and_pays_once(alice: RealHub, vendor: ModelServer, blow: Callable[[RealHub], None]):
    name = blow.__name__.replace("_", "-")
    with alice.po(alice.alice) as client:
        run = submit(client, rows(40, name))
    await_true(lambda: len(asked(vendor, name)) >= 6, 60, "six rows")
    blow(alice)
    check_run(alice, vendor, run, name, 40, lost=4)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_fifty_blows_in_mid_run(alice: RealHub, vendor: ModelServer):
    choose = random.Random(12)
    blows = [blow for blow in BLOWS for _ in range(10)]
    choose.shuffle(blows)
    for n, blow in enumerate(blows):
        name = f"blow{n:02d}"
        with alice.po(alice.alice) as client:
            run = submit(client, rows(30, name))
        await_true(lambda name=name: len(asked(vendor, name)) >= choose.randrange(1, 12), 60, "some rows")
        blow(alice)
        check_run(alice, vendor, run, name, 30, lost=4)
        print(n, blow.__name__, sum(asked(vendor, name).values()) - 30, "sent again", flush=True)
