"""A release: `python -m build` gives an sdist and a wheel; each installs on a machine without Node, and works."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import po_jupyter
from tests.support.paths import ROOT

pytestmark = [pytest.mark.acceptance, pytest.mark.slow, pytest.mark.timeout(1800)]


def run(*command: str | Path, path: str, **variables: str) -> str:
    """What a command printed, with this PATH and nothing of ours in the environment. Fails when it fails."""
    kept = ("HOME", "LANG", "TMPDIR", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PIP_CERT", "PIP_INDEX_URL")
    environ = {k: v for k, v in os.environ.items() if k in kept or k.lower().endswith("_proxy")}
    done = subprocess.run(
        [str(part) for part in command], env={**environ, "PATH": path, **variables}, text=True, timeout=1200,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert done.returncode == 0, f"{command}:\n{done.stdout[-4000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with sdist and wheel, made from a clean copy of the sources."""
    if importlib.util.find_spec("build") is None:
        pytest.skip('the builder is missing: pip install ".[dev]"')
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("the sources are listed by git, and this is no checkout")
    room = tmp_path_factory.mktemp("release")
    listed = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, capture_output=True, check=True, text=True).stdout.split("\0")
    for name in filter(None, names):
        source, target = ROOT / name, room / "source" / name
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
    run(sys.executable, "-m", "build", "--outdir", room / "dist", room / "source", path=os.environ["PATH"])
    return room / "dist"


def sdist(built: Path) -> Path:
    return built / f"po_jupyter-{po_jupyter.__version__}.tar.gz"


def wheel(built: Path) -> Path:
    return built / f"po_jupyter-{po_jupyter.__version__}-py3-none-any.whl"


def test_the_documentation_is_in_the_wheel(built: Path) -> None:
    with zipfile.ZipFile(wheel(built)) as archive:
        names = set(archive.namelist())
    docs = ROOT / "po_jupyter" / "docs"
    pages = {str(path.relative_to(ROOT)) for path in docs.rglob("*") if path.suffix in (".md", ".svg")}
    assert len(pages) > 40
    assert pages <= names


def test_the_sdist_has_the_built_panel_and_the_sources(built: Path) -> None:
    """From it anybody can build and test what we publish."""
    with tarfile.open(sdist(built)) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert "po_jupyter/labextension/package.json" in names
    assert {"README.md", "CHANGELOG.md", "LICENSE", "pyproject.toml", "po_jupyter/docs/README.md"} <= names
    assert not [name for name in names if "node_modules" in name]


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_it_installs_without_node_and_the_demo_passes(kind: str, built: Path, tmp_path: Path) -> None:
    """C5: only Python is needed, from the wheel and from the sdist."""
    package = wheel(built) if kind == "wheel" else sdist(built)
    run(sys.executable, "-m", "venv", tmp_path / "venv", path=os.environ["PATH"])
    (tmp_path / "bin").mkdir()  # all that there is beside the venv: no node, no npm
    path = f"{tmp_path / 'venv' / 'bin'}:{tmp_path / 'bin'}"
    assert shutil.which("node", path=path) is None
    python = tmp_path / "venv" / "bin" / "python"
    installed = run(python, "-m", "pip", "install", "-v", f"{package}[local]", path=path)
    assert "jlpm" not in installed or "No build required" in installed, "the panel came built"
    po = tmp_path / "venv" / "bin" / "po"
    data = {"PO_DATA_DIR": str(tmp_path / "data")}
    try:
        shown = run(po, "demo", path=path, **data)
    finally:
        run(po, "stop", path=path, **data)
    assert "done" in shown
    assert run(po, "help", "gates", path=path, **data).startswith("# Gates\n")
    panel = tmp_path / "venv" / "share" / "jupyter" / "labextensions" / "po-jupyter" / "package.json"
    assert panel.is_file()
