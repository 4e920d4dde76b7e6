"""Containers: whether the end of this process is the end of every other one beside it, and how long a stop may take."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextlib import suppress

STOP_ALONE = 2.0  # s; other processes live on without this one
STOP_IN_CONTAINER = 8.0  # s; `docker stop` kills everything after 10
STOP_IN_POD = 25.0  # s; Kubernetes kills everything after 30


def stop_patience(environ: Mapping[str, str] | None = None) -> float:
    """Seconds that a stopping server may wait for its workers, where no setting says so.

    Workers outlive their server, so that it waits but a moment; not where everything ends with it: there it takes what
    the usual grace period of a container allows.
    """
    if not is_main_process():
        return STOP_ALONE
    environ = os.environ if environ is None else environ
    return STOP_IN_POD if "KUBERNETES_SERVICE_HOST" in environ else STOP_IN_CONTAINER


def is_main_process() -> bool:
    """Whether this is a container's main process, or below it in the same session (an init such as tini, a script).

    What is started beside it (`po start`, a shell in the container) has a session of its own, and so has every process
    of a machine that is no container.
    """
    if os.getpid() == 1:
        return True
    if sys.platform != "win32":
        with suppress(AttributeError, OSError):  # a process of another user on some systems
            return os.getsid(0) == os.getsid(1)
    return False
