"""The environment variables of a worker: an allow-list of the orchestrator's, so that a secret of the server (a
hub's API token, a database password, the key of a provider) never reaches the code of a pipeline by accident."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from functools import lru_cache

from po_jupyter.config import SECRETS
from po_jupyter.llm.specs import spec_of, specs
from po_jupyter.telemetry.redaction import is_secret_name
from po_jupyter.telemetry.tracing import without_user

_NAMES = frozenset(
    {
        # where programs and libraries are
        "PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "PYTHONPATH", "VIRTUAL_ENV", "SYSTEMROOT",
        # who and where the user is
        "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR", "TEMP", "TMP",
        # how the network is reached
        "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE",
        "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY",
        "http_proxy", "https_proxy", "no_proxy", "all_proxy",
        # who pays, where a key belongs to several
        "OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "GOOGLE_CLOUD_PROJECT",
        # in which region a vendor is asked
        "AWS_REGION", "AWS_DEFAULT_REGION", "GOOGLE_CLOUD_LOCATION",
        # how much of the machine to use
        "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "CUDA_VISIBLE_DEVICES",
    }
)  # fmt: skip
_PREFIXES = ("LC_", "CONDA_", "XDG_", "PO_", "OTEL_")
_SUFFIXES = ("_BASE_URL", "_OPENAI_ENDPOINT")  # where providers are asked
_KEY_SUFFIX = "_API_KEY"
# The door's own keys are not for user code, whatever a setting names.
_NEVER = frozenset(
    {"PO_JUPYTER_TOKEN", "PO_HUB_TOKEN", "JUPYTERHUB_API_TOKEN", *(f"PO_{name.upper()}" for name in SECRETS)}
)


def worker_environment(extra: Iterable[str] = (), environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The variables of `environ` that a worker, and all that its tasks start, have.

    No key is among them, unless `extra` (the setting `worker_env`) names it: the keys of its run a worker gets from
    the orchestrator when it needs them (`environment.run_credentials`).
    """
    environ = os.environ if environ is None else environ
    more = frozenset(extra)
    return {
        # The user in an exporter's address is sent as its headers are, besides the environment.
        name: without_user(value)[0] if name.startswith("OTEL_") else value
        for name, value in environ.items()
        if name not in _NEVER and (name in more or _is_inherited(name))
    }


def provider_environment(extra: Iterable[str] = (), environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The variables of a worker with the keys of all providers, and those that say that there is a login: for checks
    here, in the orchestrator."""
    environ = dict(
        os.environ if environ is None else environ
    )  # which decodes each name and value when it is read
    own = {name for spec in specs() for name in _key_variables(spec)}
    more = [name for name in environ if name in own or name.endswith(_KEY_SUFFIX)]
    return worker_environment((*extra, *more), environ)


def _key_variables(provider: str) -> tuple[str, ...]:
    spec = spec_of(provider)
    if spec is None:
        return ()
    return spec.key_variables + (spec.login.variables if spec.login is not None else ())


@lru_cache(maxsize=1_000)  # asked for each variable whenever a run is submitted or starts
def _is_inherited(name: str) -> bool:
    if is_secret_name(name) and not name.endswith("_TOKENS"):  # PO_DAILY_TOKENS counts some
        return False
    if name.startswith("OTEL_") and name.endswith("_HEADERS"):  # of an exporter, with its key
        return False
    return name in _NAMES or name.startswith(_PREFIXES) or name.endswith(_SUFFIXES)
