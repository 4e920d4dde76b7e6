"""A real JupyterLab in a process of its own, with this checkout's panel and without anything that asks the network."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from tests.support.jupyter_process import JupyterProcess


def lab_process(
    folder: Path, panel: Path, env: Mapping[str, str] | None = None, *, port: int = 0
) -> JupyterProcess:
    """JupyterLab with the built panel of the folder `panel`; its pages offer `window.jupyterapp`."""
    (folder / "labextensions").mkdir(parents=True)
    (folder / "labextensions/po-jupyter").symlink_to(panel)
    settings = folder / "config/lab/user-settings/@jupyterlab/apputils-extension"
    settings.mkdir(parents=True)
    (settings / "notification.jupyterlab-settings").write_text(json.dumps({"fetchNews": "false"}))
    return JupyterProcess(
        folder,
        orchestrator=None,
        extensions=("po_jupyter", "jupyterlab"),
        args=(
            "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
            "--LabApp.expose_app_in_browser=True",
            f"--LabApp.extra_labextensions_path={folder / 'labextensions'}",
        ),
        env=dict(env or {}),
        port=port,
    )
