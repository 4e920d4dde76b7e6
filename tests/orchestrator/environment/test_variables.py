"""Variables of a worker: an allow-list."""

from __future__ import annotations

from po_jupyter.orchestrator.environment.variables import preload_environment, worker_environment


def test_of_the_environment_only_what_is_allowed_reaches_a_worker() -> None:
    """P10."""
    environ = {
        "PATH": "/bin", "OPENAI_API_KEY": "k", "OPENAI_BASE_URL": "u", "JUPYTERHUB_API_TOKEN": "t",
        "PO_AUTH_TOKEN": "t", "PO_LOG_LEVEL": "INFO", "DATABASE_URL": "d", "MINE": "m", "LC_ALL": "C",
    }  # fmt: skip
    assert set(worker_environment(("MINE",), environ)) == {
        "PATH", "OPENAI_API_KEY", "OPENAI_BASE_URL", "PO_LOG_LEVEL", "MINE", "LC_ALL",
    }  # fmt: skip
    assert "OPENAI_API_KEY" not in preload_environment(environ), "a zygote needs nobody's key"
