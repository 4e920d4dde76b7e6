"""Imports of libraries without what they bring along for terminals, where our own processes need none of it."""

from __future__ import annotations

import importlib
import sys


def import_httpx() -> None:
    """Import httpx without its command line, which brings rich and pygments where they are installed: 40 ms, 5 MB."""
    _import_without("httpx", "httpx._main")


def import_structlog() -> None:
    """Import structlog without rich, in which it would draw tracebacks: 50 ms, 5 MB."""
    _import_without("structlog", "rich")


def _import_without(name: str, absent: str) -> None:
    """Import a module as if that other one, which it does without, were not installed."""
    if name in sys.modules or absent in sys.modules:
        return
    sys.modules[absent] = None  # type: ignore[assignment]  # so Python says that there is no such module
    try:
        importlib.import_module(name)
    finally:
        del sys.modules[absent]
