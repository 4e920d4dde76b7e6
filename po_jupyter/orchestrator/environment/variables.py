"""The environment variables of a worker: an allow-list of the orchestrator's, so that a secret of the server (a
hub's API token, a database password) never reaches the code of a pipeline by accident."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

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
        # how much of the machine to use
        "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "CUDA_VISIBLE_DEVICES",
    }
)  # fmt: skip
_PREFIXES = ("LC_", "CONDA_", "XDG_", "PO_")
_SUFFIXES = ("_API_KEY", "_BASE_URL", "_OPENAI_ENDPOINT", "HF_TOKEN")
# The door's own keys are not for user code.
_NEVER = frozenset({"PO_AUTH_TOKEN", "PO_JUPYTER_TOKEN", "PO_LOG_REMOTE_TOKEN"})


def worker_environment(extra: Iterable[str] = (), environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The variables of `environ` that a worker gets; `extra` names more of them (the setting `worker_env`)."""
    environ = os.environ if environ is None else environ
    more = frozenset(extra)
    return {
        name: value
        for name, value in environ.items()
        if name not in _NEVER
        and (name in _NAMES or name in more or name.startswith(_PREFIXES) or name.endswith(_SUFFIXES))
    }


def preload_environment(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The variables that a zygote starts with: those of a worker without anybody's key."""
    return {
        name: value for name, value in worker_environment((), environ).items() if not name.endswith(_SUFFIXES)
    }
