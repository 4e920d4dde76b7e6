"""The owner of runs on a server of one person."""

import pytest

from po_jupyter.config.owner import default_owner


def test_the_owner_is_the_hubs_user_or_local(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JUPYTERHUB_USER", raising=False)
    assert default_owner() == "local"
    monkeypatch.setenv("JUPYTERHUB_USER", "ada")
    assert default_owner() == "ada"
