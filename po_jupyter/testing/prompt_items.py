"""Cases of tests of prompts as tests of pytest: `po_tests*.yaml` and `test_*.po.yaml` are collected like test files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from po_jupyter.errors import PoError
from po_jupyter.prompt_tests.cases import PromptCase, read_cases
from po_jupyter.prompt_tests.reports import failure_lines
from po_jupyter.prompt_tests.runner import CaseResult, PromptTests


class CollectedCases:
    """The cases that pytest collected; one orchestrator for all of them, started with the first that runs."""

    def __init__(self, *, live: bool) -> None:
        """Nothing is started."""
        self._live = live
        self._cases: list[PromptCase] = []
        self._tests: PromptTests | None = None

    def add(self, cases: list[PromptCase]) -> None:
        """Cases of one more file."""
        self._cases += cases

    def run(self, case: PromptCase) -> CaseResult:
        """Run a case."""
        if self._tests is None:
            self._tests = PromptTests(self._cases, live=self._live, environ=dict(os.environ))
        return self._tests.run(case)

    def close(self) -> None:
        """Stop what was started."""
        if self._tests is not None:
            self._tests.close()
            self._tests = None


class PromptFile(pytest.File):
    """A file of cases."""

    cases: CollectedCases

    def collect(self) -> Iterator[PromptItem]:
        """A test for each case. Raises CollectError with the lines of what is wrong."""
        try:
            cases = read_cases(self.path)
        except PoError as error:
            raise self.CollectError(str(error)) from None
        self.cases.add(cases)
        for case in cases:
            yield PromptItem.from_parent(self, name=case.name, case=case)


class PromptFailure(Exception):
    """A case whose run is not as expected."""


class PromptItem(pytest.Item):
    """A case."""

    parent: PromptFile

    def __init__(self, *, case: PromptCase, **more: Any) -> None:
        """A test of that case."""
        super().__init__(**more)
        self.case = case

    def runtest(self) -> None:
        """Run the case. Raises PromptFailure."""
        result = self.parent.cases.run(self.case)
        if not result.passed:
            raise PromptFailure("\n".join(failure_lines(result)))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """What failed, without the traceback of this module."""
        if isinstance(excinfo.value, PromptFailure | PoError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Any, int, str]:
        """The place of the case in its file."""
        return self.path, self.case.line - 1, self.case.name
