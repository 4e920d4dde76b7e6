"""`po backup`, `po restore` and `po store`: the whole data directory in one file and back; the store's format."""

from __future__ import annotations

import time

import click

from po_jupyter.cli import base, programs
from po_jupyter.cli.verbs.maintenance import size

_EVERY = 1.0  # s between two lines about progress


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


@click.group(invoke_without_command=True)
@base.JSON
@click.pass_context
def store(context: click.Context, as_json: bool) -> int | None:
    """Say where the store is, bring it up to date, copy it.

    Without more it says what the store of the settings is, and changes nothing.
    """
    return _print_schema(programs.check_store(), as_json) if context.invoked_subcommand is None else None


@store.command()
@click.option(
    "--check", is_flag=True, help="Change nothing: print what is missing, and exit with 1 if anything is."
)
@base.JSON
def migrate(check: bool, as_json: bool) -> int:
    """Make the store what this program needs.

    A server does it at its start, where it may. In PostgreSQL a role that may not make tables only uses those that
    are there: run this as one that may, or hand what --check prints to somebody who may.
    """
    return _print_schema(programs.check_store() if check else programs.migrate_store(), as_json)


def _print_schema(report: programs.SchemaJson, as_json: bool) -> int:
    """Print it; the exit code, 1 while something is missing."""
    if as_json:
        base.print_json(report)
        return 0 if report["ready"] else 1
    for statement in report["sql"]:
        base.print_line(" ".join(statement.split()) + ";")
    has = "is not there yet" if report["format"] is None else f"has format {report['format']}"
    if report["ready"]:
        was = report["before"]
        done = "" if was == report["format"] else f", before it had {'none' if was is None else was}"
        base.print_line(f"{report['store']} {has}, as this program needs it{done}", err=True)
        return 0
    todo = "`po store migrate` does this" if report["may"] else "a role that may has to run this"
    base.print_line(f"{report['store']} {has}, this program needs {report['needs']}: {todo}", err=True)
    return 1


@store.command()
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@base.JSON
def copy(source: str, target: str, as_json: bool) -> int:
    """Copy a store into another one: runs, pipelines, usage, cached answers and files.

    FROM and TO are data directories or postgresql:// URLs. Nobody may work on either; TO is empty, or was filled by
    the same copy, which goes on where it was interrupted. At the end each run is read in both.

    FROM keeps its runs, also those that have not ended: a server started there again works them off a second time, and
    pays for them twice. Start servers on TO only.
    """
    last = 0.0

    def show(part: str, done: int, total: int) -> None:
        nonlocal last
        if not as_json and time.monotonic() - last >= _EVERY:
            last = time.monotonic()
            base.print_line(f"{part}: {done:,}{f' of {total:,}' if total else ''}", err=True)

    report = programs.copy_store(source, target, show)
    if as_json:
        base.print_json(report)
        return 0
    runs, now, records = report["runs"], report["copied"], report["records"]
    base.print_line(
        f"{report['target']} has what {report['source']} has; each run was read in both and is the same:"
    )
    base.print_line(
        f"{runs:,} runs ({now:,} copied now) with {records:,} records, {report['documents']:,} documents, "
        f"{report['answers']:,} cached answers, {report['files']:,} files ({size(report['bytes'])})"
    )
    base.print_line(
        f"start servers on {report['target']} only: runs that have not ended are in both, and would be paid for twice",
        err=True,
    )
    return 0


def _contents(report: programs.BackupJson) -> str:
    runs, records, files = report["store"]["runs"], report["store"]["records"], report["files"]["files"]
    return (
        f"{runs:,} run{'' if runs == 1 else 's'} with {records:,} record{'' if records == 1 else 's'}, "
        f"{files:,} file{'' if files == 1 else 's'}"
    )
