"""The owner of runs on a server of one person."""

from __future__ import annotations

import os


def default_owner() -> str:
    """The hub's user, or `local` without a hub."""
    return os.environ.get("JUPYTERHUB_USER") or "local"
