"""The admin's guide is what the tests of a real hub use: its configuration, its limits."""

from __future__ import annotations

import ast
import io
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from po_jupyter.hub.config import GatewayConfig
from tests.support.jupyterhub import GUIDE, RUNS_GUIDE, STARTS_GUIDE
from tests.support.paths import ROOT

PAGE = ROOT / "po_jupyter/docs/guide/hub-admin.md"


def blocks(language: str) -> list[str]:
    """The fenced blocks of the page."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text("utf-8"), re.M | re.S)


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
    tree = {
        ast.unparse(node.targets[0]): node.value
        for node in ast.parse(text).body
        if isinstance(node, ast.Assign)
    }
    groups = ast.literal_eval(tree["c.JupyterHub.load_groups"])
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
    namespace: dict[str, Any] = {}
    exec("import types\nclass Any(types.SimpleNamespace):\n    def __getattr__(self, name):\n"
         "        setattr(self, name, Any())\n        return getattr(self, name)\nc = Any()", namespace)  # fmt: skip
    exec(values[0]["hub"]["extraConfig"]["po"], namespace)
    text = GUIDE.read_text("utf-8")
    for scope in namespace["c"].Spawner.server_token_scopes:
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


def test_the_culler_stays_in_the_file_for_tljh():
    """TLJH loads the file last, so that its list of services replaces the one with TLJH's own culler."""
    page = PAGE.read_text("utf-8")
    part = page[page.index("## The Littlest JupyterHub") : page.index("## Zero to JupyterHub")]
    assert "the service `idle-culler` stays" in part
    assert "hub/bin/pip install" not in part  # it would make a JupyterHub 6 of TLJH's 5
