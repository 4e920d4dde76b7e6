"""The tests with the lowest versions that pyproject.toml allows, or on another Python; needs uv (in the extra `dev`).

    python -m tests.lowest                            # the unit tier, every dependency at its lower bound
    python -m tests.lowest -m "" tests/server         # what pytest is told to
    python -m tests.lowest --python 3.13 --newest     # another interpreter, with the newest versions

At their bounds are the dependencies of the package and of what users install with it (`lab`, `mcp`, `keyring`,
`local`, `notify`, `otel`, `parquet`, `postgres`); what the tests alone need is the newest. Made in a temporary folder,
and gone afterwards.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from tests.support.paths import ROOT

USERS_EXTRAS = ("bedrock",
    "celery", "hub", "lab", "mcp", "keyring", "local", "notify", "otel", "parquet", "pdf", "postgres", "s3", "sql",
    "vertex",
)  # fmt: skip
# The help of `po` is worded by click and drawn by rich: the page is that of the newest.
_NEWEST_ONLY = ("--deselect", "tests/docs/test_reference.py")


def name_of(requirement: str) -> str:
    """The name in a requirement, as package indexes write it."""
    return re.sub(r"[-_.]+", "-", re.split(r"[\[<>=!~; ]", requirement, maxsplit=1)[0]).lower()


def requirements() -> dict[str, str]:
    """What the package and the extras of users require, by name: the specifiers."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    lines = [*project["dependencies"], *(line for extra in USERS_EXTRAS for line in extras[extra])]
    return {name_of(line): re.sub(r"^[\w.-]+(\[[^]]*\])?", "", line).strip() for line in lines}


def lower_bound(specifiers: str) -> str:
    """The version after `>=`."""
    return next(part.strip()[2:] for part in specifiers.split(",") if part.strip().startswith(">="))


def uv(*arguments: str) -> None:
    """Run uv. Raises CalledProcessError."""
    subprocess.run([sys.executable, "-m", "uv", *arguments], check=True, cwd=ROOT)


def make_venv(folder: Path, python: str, *, newest: bool) -> Path:
    """A virtual environment with this checkout and its tests; its interpreter."""
    venv = folder / "venv"
    uv("venv", "--quiet", "--python", python, str(venv))
    interpreter = venv / "bin" / "python"
    constraints = folder / "constraints.txt"
    # Bounds of the same package meet here: what uv cannot resolve is a bound that is not true.
    bounds = {} if newest else {name: lower_bound(specs) for name, specs in requirements().items()}
    constraints.write_text("".join(f"{name}=={version}\n" for name, version in bounds.items()))
    target = ["--quiet", "--python", str(interpreter), "--constraint", str(constraints)]
    uv("pip", "install", *target, "--editable", ".[test]")
    return interpreter


def main() -> int:
    """Make the environment, run pytest in it; its exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.lowest", description=__doc__.partition("\n")[0])
    parser.add_argument("--python", default=sys.executable, help="a version or a path (default: this one)")
    parser.add_argument("--newest", action="store_true", help="the newest versions instead of the lowest")
    options, arguments = parser.parse_known_args()
    with tempfile.TemporaryDirectory(prefix="po-lowest-") as folder:
        interpreter = make_venv(Path(folder), options.python, newest=options.newest)
        command = [str(interpreter), "-m", "pytest", *(arguments or ["-m", "unit"])]
        environ = {**os.environ, "PATH": f"{interpreter.parent}{os.pathsep}{os.environ['PATH']}"}
        return subprocess.run(
            command + ([] if options.newest else [*_NEWEST_ONLY]), cwd=ROOT, env=environ
        ).returncode


if __name__ == "__main__":
    sys.exit(main())
