"""`po init`: makes a project, a folder with pipelines, a watch folder and a data directory of its own."""

from __future__ import annotations

from pathlib import Path

import click

from po_jupyter.cli import base
from po_jupyter.errors import InvalidInput
from po_jupyter.platform.private_file import PRIVATE_DIRECTORY

_SETTINGS = """\
# The settings of this project; `po config` shows all of them. Paths are relative to this file.
# Commands that are given in the project's folder, or below, use them and this data directory.
inbox_dir: .                  # a file dropped into pending/ that ends in -seed.json becomes a run
pipelines_dir: ../pipelines   # the definitions that seeds may name; modules of Python tasks lie beside it
# retention_done: 30          # days after which a finished run is deleted; 0: never
"""
_PIPELINE = """\
name: hello
version: 1.0.0
tasks:
  - name: greet
    system: You write one short sentence.
    prompt: "Greet {{ seed.who }}."
"""
_SEED = """\
{
  "name": "A first greeting",
  "pipeline": "hello",
  "data": {"who": "the reader of this file"}
}
"""
_IGNORE = "# Runs and their data are not sources.\n*\n!.gitignore\n!po.yaml\n"


@click.command()
@click.argument("folder", metavar="[FOLDER]", default=".", type=click.Path(file_okay=False, path_type=str))
@base.JSON
def init(folder: str, as_json: bool) -> int:
    """Make a folder a project: pipelines, a watch folder, data of its own.

    Files that are there already stay as they are.
    """
    from po_jupyter.config import PROJECT_DATA, Settings

    root = Path(folder).absolute()
    data = root / PROJECT_DATA
    kinds = ("pending", "current", "complete", "rejected")
    names = [Settings.model_fields[f"inbox_{kind}"].default for kind in kinds]
    files = {
        root / "pipelines" / "hello.yaml": _PIPELINE,
        root / "hello-seed.json": _SEED,
        data / "po.yaml": _SETTINGS,
        data / ".gitignore": _IGNORE,
    }
    created = []
    try:
        root.mkdir(parents=True, exist_ok=True)
        data.mkdir(mode=PRIVATE_DIRECTORY, exist_ok=True)
        (root / "pipelines").mkdir(exist_ok=True)
        for name in names:
            (data / name).mkdir(mode=PRIVATE_DIRECTORY, exist_ok=True)
        if any(data.glob("po.*")):
            files.pop(data / "po.yaml")
        if any(p.name != "hello.yaml" for p in (root / "pipelines").iterdir()):
            files = {path: text for path, text in files.items() if path.is_relative_to(data)}
        for path, text in files.items():
            if not path.exists():
                path.write_text(text, "utf-8")
                created.append(str(path.relative_to(root)))
    except OSError as error:
        raise InvalidInput(f"{error.filename or root} cannot be made: {error.strerror}") from None
    if as_json:
        base.print_json({"project": str(root), "data_dir": str(data), "made": created})
        return 0
    base.print_line(f"project       {root}" + ("" if created else "   (it was one already)"))
    base.print_line(f"watch folder  {data / 'pending'}")
    for name in created:
        base.print_line(f"  made {name}")
    base.print_line(
        "to go on, there:  po start   then   cp hello-seed.json pipeline-data/pending/   and   po runs"
    )
    return 0
