"""`po backup` and `po restore`: the whole data directory in one file, while runs go on, and back."""

from __future__ import annotations

import time

import click

from po_jupyter.cli import base, programs
from po_jupyter.cli.verbs.maintenance import size


@click.command()
@click.argument("archive", required=False, type=click.Path(dir_okay=False))
@base.JSON
def backup(archive: str | None, as_json: bool) -> int:
    """Copy everything into one file, while runs go on.

    ARCHIVE is po-backup-DATE-TIME.tar.gz here unless it is named. Stored keys are in it: keep it to yourself.
    """
    report = programs.back_up(archive or time.strftime("po-backup-%Y%m%d-%H%M%S.tar.gz"))
    if as_json:
        base.print_json(report)
        return 0
    base.print_line(f"{report['archive']}: {_contents(report)}, {size(report['bytes'])}")
    for name in report.get("passed_over", []):
        base.print_line(
            f"not in it, because it is neither a file nor a directory: {base.plain(name)}", err=True
        )
    base.print_line(
        "Keys that were stored in a file are in it: keep it to yourself. Back again: po restore ARCHIVE"
    )
    return 0


@click.command()
@click.argument("archive", type=click.Path(dir_okay=False))
@click.option("--to", "directory", type=click.Path(file_okay=False), metavar="DIRECTORY",
              help="Where to; without it the data directory. It is empty, or not there yet.")  # fmt: skip
@base.JSON
def restore(archive: str, directory: str | None, as_json: bool) -> int:
    """Make an empty data directory what it was when the archive was made.

    Runs that had not ended go on when an orchestrator starts there: see that the original does not go on too.
    """
    report = programs.restore(archive, directory)
    if as_json:
        base.print_json(report)
        return 0
    made_at = report["made_at"][:19].replace("T", " ")
    base.print_line(f"{report['data_dir']} is as it was at {made_at} (UTC): {_contents(report)}")
    return 0


def _contents(report: programs.BackupJson) -> str:
    runs, records, files = report["store"]["runs"], report["store"]["records"], report["files"]["files"]
    return (
        f"{runs:,} run{'' if runs == 1 else 's'} with {records:,} record{'' if records == 1 else 's'}, "
        f"{files:,} file{'' if files == 1 else 's'}"
    )
