"""How the workers of tests come to be: PO_WORKER_START=spawn has every test that starts one start it by spawn."""

from __future__ import annotations

import os

import pytest

from po_jupyter.config import Settings

VARIABLE = "PO_WORKER_START"


def set_worker_start(start: str | None) -> None:
    """Make it the default of all settings that are made in this process from now on."""
    Settings.model_fields["worker_start"].default = start
    Settings.model_rebuild(force=True)


def inherited_environment(*prefixes: str) -> dict[str, str]:
    """This process's variables without those that begin with one of `prefixes`, for a program that a test starts.

    `PO_WORKER_START` is always among them: such a program knows nothing of the default that was set here.
    """
    return {k: v for k, v in os.environ.items() if k == VARIABLE or not k.startswith(prefixes)}


def forget_environment(patch: pytest.MonkeyPatch, *prefixes: str) -> None:
    """Take this process's variables that begin with one of `prefixes` away, but for `PO_WORKER_START`: what the test
    starts inherits this process's environment as it is."""
    for name in os.environ.keys() - inherited_environment(*prefixes).keys():
        patch.delenv(name)
