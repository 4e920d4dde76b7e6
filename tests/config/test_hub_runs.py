"""Where shared runs are asked for, and with which token."""

from __future__ import annotations

import pytest

from po_jupyter.config import Settings
from po_jupyter.config.hub_runs import environment_token, shared_runs_url
from po_jupyter.errors import InvalidInput, Unavailable


def test_the_address_is_beside_the_gateway_or_its_own() -> None:
    assert shared_runs_url(Settings(hub_url="https://h/services/po")) == "https://h/services/po-runs"
    assert shared_runs_url(Settings(hub_runs_url="https://h/x")) == "https://h/x"
    with pytest.raises(Unavailable):
        shared_runs_url(Settings())
    with pytest.raises(InvalidInput, match="two hubs"):
        shared_runs_url(
            Settings(hub_url="https://h/services/po", hub_runs_url="https://other/services/po-runs")
        )


def test_a_token_goes_to_the_hub_that_the_environment_names_alone() -> None:
    environ = {"PO_HUB_URL": "https://h/services/po", "JUPYTERHUB_API_TOKEN": "secret"}
    assert environment_token("https://h/services/po-runs", environ) == "secret"
    for address in (
        "https://evil/services/po-runs",
        "http://h/services/po-runs",
        "https://h:8443/services/po-runs",
    ):
        assert environment_token(address, environ) == ""
    assert environment_token("https://h/services/po-runs", {"JUPYTERHUB_API_TOKEN": "secret"}) == ""
