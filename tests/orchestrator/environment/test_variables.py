"""Variables of a worker: an allow-list without keys."""

from __future__ import annotations

from po_jupyter.config import SECRETS
from po_jupyter.llm.specs import BUILT_IN
from po_jupyter.orchestrator.environment.variables import provider_environment, worker_environment


def test_of_the_environment_only_what_is_allowed_reaches_a_worker() -> None:
    """P10, and what a person needs: where things are, proxies, locales, variables of their own."""
    environ = {
        "PATH": "/bin", "OPENAI_API_KEY": "k", "OPENAI_BASE_URL": "u", "JUPYTERHUB_API_TOKEN": "t",
        "PO_AUTH_TOKEN": "t", "PO_LOG_LEVEL": "INFO", "DATABASE_URL": "d", "MINE": "m", "LC_ALL": "C",
        "https_proxy": "p", "AZURE_OPENAI_ENDPOINT": "e", "PO_DAILY_TOKENS": "9", "CONDA_TOKEN": "t",
        "PO_HUB_SECRET": "s", "XDG_RUNTIME_DIR": "x",
    }  # fmt: skip
    assert set(worker_environment(("MINE", "PO_AUTH_TOKEN"), environ)) == {
        "PATH", "OPENAI_BASE_URL", "PO_LOG_LEVEL", "MINE", "LC_ALL", "https_proxy", "AZURE_OPENAI_ENDPOINT",
        "PO_DAILY_TOKENS", "XDG_RUNTIME_DIR",
    }  # fmt: skip


def test_no_key_of_any_provider_is_in_a_workers_environment() -> None:
    """C5: they are in that of the orchestrator's own checks; a worker has one that `worker_env` names."""
    keys = {name: "k" for spec in BUILT_IN for name in spec.key_variables}
    assert {"OPENAI_API_KEY", "HF_TOKEN", "AZURE_OPENAI_API_KEY", "CLAUDE_CODE_OAUTH_TOKEN"} <= {*keys}
    assert worker_environment((), keys) == {}
    assert provider_environment((), keys) == keys
    assert worker_environment(("HF_TOKEN",), keys) == {"HF_TOKEN": "k"}


def test_no_secret_setting_and_no_key_of_an_exporter_reaches_a_worker() -> None:
    """P10: whatever `worker_env` names."""
    settings = {f"PO_{name.upper()}": "s" for name in SECRETS}
    assert worker_environment((*settings,), settings) == {}
    exporters = {
        "OTEL_EXPORTER_OTLP_HEADERS": "authorization=k", "OTEL_EXPORTER_OTLP_METRICS_HEADERS": "authorization=k",
        "OTEL_EXPORTER_OTLP_LOGS_HEADERS": "k", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://user:pass@host",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://host", "OTEL_RESOURCE_ATTRIBUTES": "owner=ada@example.org",
    }  # fmt: skip
    assert worker_environment((), exporters) == {
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://host", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://host",
        "OTEL_RESOURCE_ATTRIBUTES": "owner=ada@example.org",
    }  # fmt: skip
