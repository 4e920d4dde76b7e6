"""How long a stop may wait."""

from __future__ import annotations

import os

import pytest

from po_jupyter.platform import container


@pytest.fixture
def main_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a container: below its first process, in the same session."""
    monkeypatch.setattr(os, "getsid", lambda pid: 1)


def test_a_server_whose_workers_outlive_it_waits_but_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getsid", lambda pid: pid or os.getpid())
    for environ in ({}, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}):  # `po start` in a pod ends no pod
        assert container.stop_patience(environ) == container.STOP_ALONE


@pytest.mark.usefixtures("main_process")
def test_where_everything_ends_with_the_server_it_waits_as_long_as_the_grace_period_allows() -> None:
    assert container.stop_patience({}) < 10, "docker stop"
    assert 10 < container.stop_patience({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}) < 30


def test_the_first_process_is_the_main_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getpid", lambda: 1)
    assert container.is_main_process()


def test_a_system_without_sessions_has_no_main_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "getsid")
    assert not container.is_main_process()
