"""A team's models in a user's server on a real hub: nothing but PO_HUB_URL, and the key is the gateway's."""

from __future__ import annotations

import os
import subprocess
import sys

import psutil
import pytest

from po_jupyter.testing.model_server import ModelServer
from tests.hub.real.conftest import await_state, rows, submit
from tests.hub.real.test_guide import guide_limits
from tests.support.jupyterhub import RealHub
from tests.support.paths import ROOT

pytestmark = pytest.mark.acceptance
LIMITS = {name: value for name, value in guide_limits().items() if name in ("models", "limits")}


@pytest.fixture(scope="module")
def alice(hub: RealHub):
    hub.start_server(hub.alice)
    with hub.po(hub.alice) as client:
        yield client


def po(hub: RealHub, user: str, *arguments: str) -> str:
    """What `po` prints in a terminal of the user's server."""
    environ = psutil.Process(hub.server_pid(user)).environ()
    environ |= {"HOME": str(hub.home(user)), "PATH": os.environ["PATH"], "NO_COLOR": "1", "COLUMNS": "200"}
    result = subprocess.run(
        [sys.executable, "-m", "po_jupyter", *arguments],
        env=environ, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_a_run_asks_through_the_gateway_without_a_key_of_its_own(hub, alice, vendor: ModelServer):
    run = submit(alice, rows(3))
    await_state(lambda: hub.po(hub.alice), run, "done")
    calls = [request for request in vendor.requests if "tickets" in str(request.body)]
    assert len(calls) == 3
    assert {call.headers["authorization"] for call in calls} == {f"Bearer {hub.key_file.read_text().strip()}"}
    view = alice.get(f"runs/{run}").json()["run"]
    assert view["usage"]["cost"] > 0


def test_the_users_models_are_the_teams(hub, alice):
    usable = {model["ref"]: model for model in alice.get("models").json()["models"] if model["usable"]}
    assert {"openai:gpt-5-mini", "openai:gpt-4o-mini"} <= set(usable)
    assert "openai:gpt-4.1" not in usable
    assert usable["openai:gpt-5-mini"]["price"] == {"input": 0.25, "output": 2.0}
    assert "openai:gpt-5-mini" in po(hub, hub.alice, "models", "--usable")


def test_a_model_that_is_not_the_teams_is_refused_before_the_start_with_the_list(alice):
    body = rows(1)
    body["pipeline"]["llm"]["model"] = "openai:gpt-4.1"
    response = alice.post("runs", json=body)
    assert response.status_code == 400
    assert "openai:gpt-4.1 is not among your team's models" in response.text
    assert "openai:gpt-5-mini" in response.text


def test_usage_and_doctor_and_config_say_what_the_hub_says(hub, alice):
    report = alice.get("usage").json()
    assert report["today"]["usd"]["limit"] == 2.0
    assert report["hub"]["user"] == hub.alice
    printed = po(hub, hub.alice, "usage")
    assert "of $2.00 today" in printed
    findings = {finding["what"]: finding for finding in alice.get("doctor").json()["findings"]}
    assert findings["hub"]["verdict"] == "ok"
    assert "openai:gpt-5-mini" in findings["hub"]["found"]
    assert "asked through the hub" in findings["openai"]["found"]
    printed = po(hub, hub.alice, "config")
    assert "Enforced by the hub's gateway" in printed
    assert "Not enforced" in printed
    printed = po(hub, hub.alice, "status")
    assert "go on by themselves when your server starts again" in printed


def test_the_token_of_the_hub_is_no_variable_of_a_worker(hub, alice):
    body = rows(1, "environment")
    body["pipeline"]["tasks"] = [
        {
            "name": "look",
            "source": "import os\ndef inference(ctx):\n    return dict(os.environ)\n",
        }
    ]
    run = submit(alice, body)
    await_state(lambda: hub.po(hub.alice), run, "done")
    found = alice.get(f"runs/{run}/outputs").text
    assert "PO_HUB_URL" in found
    token = psutil.Process(hub.server_pid(hub.alice)).environ()["JUPYTERHUB_API_TOKEN"]
    assert token not in found
    assert "JUPYTERHUB_API_TOKEN" not in found


def test_two_users_are_two(hub, alice):
    hub.start_server(hub.bob)
    with hub.po(hub.bob) as bob:
        assert bob.get("usage").json()["hub"]["user"] == hub.bob
        assert bob.get("runs").json()["runs"] == []
    token = hub.new_token(hub.bob, [f"access:servers!user={hub.bob}"])
    with hub.po(hub.alice, token) as stranger:
        assert stranger.get("runs").status_code in (401, 403)
