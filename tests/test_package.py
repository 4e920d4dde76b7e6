"""The package as it is published: its names, its version, and what pip puts on the disk."""

from __future__ import annotations

import importlib.metadata
import json
import re
import sys
from pathlib import Path

import pytest

import po_jupyter
from tests.support.paths import ROOT

UI = ROOT / "po_jupyter" / "ui"


@pytest.fixture(scope="module")
def installed() -> list[str]:
    """The files of the installed distribution, as pip recorded them."""
    try:
        distribution = importlib.metadata.distribution("po_jupyter")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("po_jupyter is not installed here: pip install .")
    if distribution.version != po_jupyter.__version__:
        pytest.skip(f"po_jupyter {distribution.version} is installed, this is {po_jupyter.__version__}")
    return [str(path).replace("\\", "/") for path in distribution.files or ()]


def test_public_names_are_sorted_and_exist() -> None:
    """C2: what `po_jupyter` exports is what `__all__` says, in order."""
    assert po_jupyter.__all__ == sorted(po_jupyter.__all__)
    for name in po_jupyter.__all__:
        assert getattr(po_jupyter, name) is not None


def test_the_panel_has_the_version_of_the_package() -> None:
    """C5: JupyterLab shows the panel's version; it must not tell another story than `pip show`."""
    assert json.loads((UI / "package.json").read_text())["version"] == po_jupyter.__version__
    assert re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc|\.dev)\d+)?", po_jupyter.__version__)


def test_the_lock_names_no_host() -> None:
    """The lock pins versions and checksums; where packages come from is the machine's own affair."""
    lock = (UI / "yarn.lock").read_text()
    assert "checksum:" in lock
    assert "://" not in lock


def test_the_wheel_carries_the_panel_once(installed: list[str]) -> None:
    """C5: `pip install` alone brings the panel, as shared data and not a second time in the package."""
    panel = [path for path in installed if "share/jupyter/labextensions/po-jupyter/" in path]
    assert any(path.endswith("/package.json") for path in panel)
    assert any(path.endswith("/install.json") for path in panel)
    assert any(re.search(r"/static/remoteEntry\.[0-9a-f]+\.js$", path) for path in panel)
    assert not [path for path in installed if path.startswith(("po_jupyter/labextension/", "po_jupyter/ui/"))]


def test_the_wheel_enables_the_server_extension(installed: list[str]) -> None:
    """C4: after `pip install` the Jupyter server hosts the orchestrator without any further command."""
    config = next(path for path in installed if path.endswith("jupyter_server_config.d/po_jupyter.json"))
    found = importlib.metadata.distribution("po_jupyter").locate_file(config)
    enabled = json.loads(Path(str(found)).read_text())["ServerApp"]["jpserver_extensions"]
    assert enabled == {"po_jupyter": True}


def test_the_wheel_is_typed_and_has_only_the_package(installed: list[str]) -> None:
    """C2: nothing of the tests or notebooks lands in site-packages; type checkers find `py.typed`."""
    if any(path.endswith("po_jupyter.pth") for path in installed):
        pytest.skip("po_jupyter is installed as editable here: pip install .")
    assert "po_jupyter/py.typed" in installed
    tops = {path.split("/")[0] for path in installed if not path.startswith("..")}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"po_jupyter"}


def test_the_panel_is_where_jupyterlab_looks(installed: list[str]) -> None:
    """C5: JupyterLab finds the bundle in this environment, and the file that it will load exists."""
    place = Path(sys.prefix, "share", "jupyter", "labextensions", "po-jupyter")
    built = json.loads((place / "package.json").read_text())
    assert (place / built["jupyterlab"]["_build"]["load"]).is_file()
    assert po_jupyter._jupyter_labextension_paths() == [{"src": "labextension", "dest": "po-jupyter"}]
