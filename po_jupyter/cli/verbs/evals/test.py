"""`po test`: tests of prompts from a file of cases."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from po_jupyter.cli import base
from po_jupyter.cli.main import FAILED, OK
from po_jupyter.errors import InvalidInput

if TYPE_CHECKING:
    from po_jupyter.prompt_tests.runner import CaseResult, PromptTests


@click.command()
@click.argument("files", nargs=-1, type=click.Path(dir_okay=False, path_type=Path), metavar="FILE...")
@click.option(
    "--live", is_flag=True, help="Ask the models, for money, and record their answers beside the file."
)
@click.option("-k", "word", metavar="TEXT", type=base.TEXT, help="Only cases with this in their name.")
@click.option(
    "--junit", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write JUnit XML."
)
@base.JSON
def test(files: tuple[Path, ...], live: bool, word: str | None, junit: Path | None, as_json: bool) -> int:
    """Test prompts: run cases, and hold their answers against what is expected.

    Answers are recorded ones, so nothing is paid and no key is needed; --live asks. Without FILE, the files
    po_tests*.yaml and test_*.po.yaml here. Needs no orchestrator: it has one of its own.

    \b
    po test po_tests.yaml --live      once, and after a change of a prompt
    po test po_tests.yaml --junit report.xml
    """
    from po_jupyter.prompt_tests.cases import read_cases
    from po_jupyter.prompt_tests.file_names import find_files
    from po_jupyter.prompt_tests.runner import PromptTests

    chosen = list(files) or find_files(Path())
    if not chosen:
        raise click.UsageError("there is no po_tests*.yaml and no test_*.po.yaml here: which FILE?")
    cases = [case for file in dict.fromkeys(chosen) for case in read_cases(file)]
    cases = [case for case in cases if word is None or word in case.name]
    if not cases:
        raise InvalidInput(f"no case has {word!r:.80} in its name")
    if junit is not None and not junit.absolute().parent.is_dir():
        raise InvalidInput(f"there is no directory {str(junit.parent)!r}")
    began = time.monotonic()
    results = _run(PromptTests(cases, live=live), as_json)
    _report(results, time.monotonic() - began, junit, as_json)
    return OK if all(result.passed for result in results) else FAILED


def _run(tests: PromptTests, as_json: bool) -> list[CaseResult]:
    from po_jupyter.prompt_tests.reports import case_line

    results: list[CaseResult] = []
    with tests:
        for result in tests.run_all():
            results.append(result)
            if not as_json:
                base.print_line(base.coloured(case_line(result), "done" if result.passed else "failed"))
    return results


def _report(results: list[CaseResult], seconds: float, junit: Path | None, as_json: bool) -> None:
    from po_jupyter.prompt_tests.reports import junit_xml, summary_lines

    if junit is not None:
        try:
            junit.write_bytes(junit_xml(results, seconds))
        except OSError as error:
            raise InvalidInput(f"{junit} cannot be written: {error.strerror or error}") from None
    if as_json:
        base.print_json([
            {
                "file": str(r.case.file), "name": r.case.name, "line": r.case.line, "passed": r.passed,
                "failures": [{"line": line, "message": text} for line, text in r.failures],
                "seconds": round(r.seconds, 3), "cost": r.cost, "tokens": r.tokens,
            }
            for r in results
        ])  # fmt: skip
        return
    for line in summary_lines(results, seconds):
        base.print_line(line)
