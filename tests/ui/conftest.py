"""A real Chromium, the one that the machine has."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# The flags without which Chromium does not start as root, or asks its maker's hosts for updates.
FLAGS = [
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, driven by Playwright; `PO_CHROMIUM` names another one.

    Closed with the last test of a file: Playwright's loop runs in this thread, and tests of coroutines come after.
    """
    sync_api = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    found = os.environ.get("PO_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if not found:
        pytest.skip("no Chromium here: apt install chromium, or set PO_CHROMIUM")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=found, args=FLAGS)
        yield chromium
        chromium.close()
