"""The admin's guide is what the tests of a real hub use: its configuration, its limits."""

from __future__ import annotations

import io
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from traitlets.config import Config

from po_jupyter.hub.config import GatewayConfig
from tests.support.jupyterhub import GUIDE, RUNS_GUIDE, STARTS_GUIDE
from tests.support.paths import ROOT

PAGE = ROOT / "po_jupyter/docs/guide/hub-admin.md"


def blocks(language: str) -> list[str]:
    """The fenced blocks of the page."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text("utf-8"), re.M | re.S)


def read(text: str, config: Config | None = None) -> Any:
    """The configuration that a text of Python makes, below one that there is."""
    config = config if config is not None else Config()
    exec(text, {"c": config, "get_config": lambda: config})
    return config


def documents(text: str) -> list[Any]:
    """The documents of a block of YAML."""
    return list(YAML(typ="safe", pure=True).load_all(io.StringIO(text)))


def guide_limits() -> dict[str, Any]:
    """The `limits.yaml` of the page."""
    return dict(documents(blocks("yaml")[0])[0])


def test_the_page_shows_the_file_that_the_tests_use():
    file = GUIDE.read_text("utf-8").split("\n", 1)[1]  # without the line for our type checker
    assert file in blocks("python")
    for more in (RUNS_GUIDE, STARTS_GUIDE):
        assert more.read_text("utf-8").split("\n", 1)[1] in blocks("python")


def test_the_limits_of_the_page_are_limits():
    config = GatewayConfig.model_validate(guide_limits())
    assert config.limits.each_user.usd_per_day == 2
    assert config.limits.groups["chemists"].models == ("openai:gpt-4o-mini",)


def test_the_groups_of_the_page_are_those_that_have_limits():
    """A new admin has nobody in a group else, and nobody who may log in."""
    text = next(block for block in blocks("python") if "allow_all" in block)
    groups = read(text).JupyterHub.load_groups.get_value({})
    assert set(groups) == {"po-admins", *guide_limits()["limits"]["groups"]}


@pytest.mark.integration
def test_the_command_of_the_page_finds_the_file():
    command = next(block for block in blocks("bash") if "docs/guide/jupyterhub_config.py" in block)
    found = subprocess.run(
        [sys.executable, *shlex.split(command)[1:]], capture_output=True, text=True, check=True
    )
    assert Path(found.stdout.strip()) == GUIDE


def test_users_servers_have_what_lab_needs():
    """`[hub]` alone has neither JupyterLab nor a kernel."""
    assert 'pip install "po_jupyter[hub,lab]"' in blocks("bash")[0]


def test_the_values_for_kubernetes_say_the_same_as_the_file_for_one_machine():
    values, objects = (documents(text) for text in blocks("yaml")[1:3])
    spawner, text = read(values[0]["hub"]["extraConfig"]["po"]).Spawner, GUIDE.read_text("utf-8")
    scopes = spawner.server_token_scopes.get_value([])
    assert len(scopes) == 3
    for scope in scopes:
        assert f'"{scope}"' in text
    kinds = [entry["kind"] for entry in objects]
    assert kinds == ["Deployment", "Service", "NetworkPolicy"]
    container = objects[0]["spec"]["template"]["spec"]["containers"][0]
    secrets = [e["valueFrom"]["secretKeyRef"]["name"] for e in container["env"] if "valueFrom" in e]
    assert secrets == ["hub", "po-team-keys"]
    assert "po-team-keys" not in str(values)  # users' pods never have it


def test_the_hub_may_look_whether_the_gateway_is_there():
    """Else it warns each minute that it cannot connect to the service."""
    policy = documents(blocks("yaml")[2])[2]
    sources = policy["spec"]["ingress"][0]["from"]
    assert {source["podSelector"]["matchLabels"]["component"] for source in sources} == {"proxy", "hub"}


ABOVE = """
c.JupyterHub.services = [{"name": "announcements"}]
c.JupyterHub.custom_scopes = {"custom:mine:read": {"description": "mine"}}
c.JupyterHub.load_groups = {"staff": {"users": ["ada"]}}
c.JupyterHub.load_roles = [{"name": "mine", "scopes": ["custom:mine:read"]}]
c.Spawner.environment = {"MINE": "1"}
c.Spawner.server_token_scopes = ["custom:mine:read"]
"""


@pytest.mark.parametrize("is_file_of_its_own", [False, True], ids=["one file", "jupyterhub_config.d"])
def test_what_an_admin_has_already_stays(is_file_of_its_own: bool):
    text = "".join(path.read_text("utf-8") for path in (GUIDE, RUNS_GUIDE, STARTS_GUIDE))
    config = read(ABOVE)
    if is_file_of_its_own:
        config.merge(read(text))  # as `load_subconfig` does
    else:
        read(text, config)
    hub, spawner = config.JupyterHub, config.Spawner
    assert [one["name"] for one in hub.services] == ["announcements", "po", "idle-culler", "po-runs"]
    names = [one["name"] for one in hub.load_roles]
    assert names == ["mine", "user", "po-admin", "idle-culler", "po-runs", "po-gateway", "po-starts"]
    assert "access:services!service=po-runs" in hub.load_roles[1]["scopes"]
    assert set(hub.custom_scopes) == {"custom:mine:read", "custom:po:admin", "custom:po:behalf"}
    assert set(hub.load_groups) == {"staff", "po-admins"}
    assert spawner.environment["MINE"] == "1" and spawner.environment["PO_HUB_URL"].endswith("/services/po")
    assert spawner.server_token_scopes[0] == "custom:mine:read" and len(spawner.server_token_scopes) == 5


def test_tljh_keeps_its_own_culler():
    """Its services stay, since the page's are added: a second culler would be one too many."""
    page = PAGE.read_text("utf-8")
    part = page[page.index("## The Littlest JupyterHub") : page.index("## Zero to JupyterHub")]
    assert "the service `idle-culler` and the role of that name go" in part
    assert "hub/bin/pip install" not in part  # it would make a JupyterHub 6 of TLJH's 5
