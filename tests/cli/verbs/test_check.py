"""`po validate` and `config`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.model.editing.schema import pipeline_schema


def test_validate_says_what_it_could_not_check(po: Any, client: Any, tmp_path: Path) -> None:
    file = tmp_path / "p.yaml"
    file.write_text("name: p\ntasks: [{name: a, prompt: x, for_each: '{{ seed.rows }}'}, json]")
    code, out, _ = po("validate", str(file))
    assert code == 0
    assert "p 1.0.0 is valid: a (prompt, for each row), json (python)" in out
    assert "be careful" in out
    client.running = False
    code, out, _ = po("validate", str(file), "--json")
    assert code == 0
    assert "were not checked" in json.loads(out)["warnings"][0]


def test_config_shows_no_secret_of_a_url(po: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """P10: servers of tools are often reached with a token in their address."""
    servers = {"x": {"url": "https://me:hush@tools.test/mcp?token=hush"}}
    monkeypatch.setenv("PO_MCP_SERVERS", json.dumps(servers))
    for args in (["config"], ["config", "--json"]):
        assert "hush" not in po(*args)[1]
    assert json.loads(po("config", "--json")[1])["mcp_servers"]["value"]["x"]["url"] == "https://tools.test/mcp"


def test_config_shows_no_secret_of_a_channel(po: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """P10: the address of a receiver is often a secret itself."""
    channel = {"webhook": "https://chat.test/hush", "secret": "whsec_" + "A" * 44}
    monkeypatch.setenv(
        "PO_NOTIFICATIONS", json.dumps({"ops": channel, "mail": {"apprise": "mailto://me:hush@x"}})
    )
    for args in (["config"], ["config", "--json"]):
        code, out, _ = po(*args)
        assert code == 0
        assert "hush" not in out and "AAAA" not in out
    value = json.loads(po("config", "--json")[1])["notifications"]["value"]
    assert value["ops"]["webhook"] == "********"
    assert value["mail"]["webhook"] is None


def test_config_says_each_value_and_its_source(po: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """R2.1; P10: secrets are stars."""
    monkeypatch.setenv("PO_AUTH_TOKEN", "hunter2hunter2hunter2")
    monkeypatch.setenv("PO_MAX_RUNNING", "3")
    for args in (["config"], ["config", "show"]):
        code, out, _ = po(*args)
        assert code == 0
        assert "PO_MAX_RUNNING" in out
        assert "hunter2" not in out
        assert "********" in out
    shown = json.loads(po("config", "--json")[1])
    assert shown["max_running"] == {"value": 3, "source": "PO_MAX_RUNNING"}
    assert "max_running" in json.loads(po("config", "schema")[1])["properties"]
    monkeypatch.setenv("PO_MAX_RUNNING", "none")
    code, _, err = po("config")
    assert code == 2
    assert "PO_MAX_RUNNING" in err


def test_the_schema_of_pipelines_is_printed(po: Any) -> None:
    code, out, _ = po("schema")
    assert code == 0
    assert json.loads(out) == pipeline_schema()
