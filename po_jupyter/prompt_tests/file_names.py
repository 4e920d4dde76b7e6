"""The names of files of cases, by which `po test` and pytest find them."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path

PATTERNS = ("po_tests*.yaml", "po_tests*.yml", "test_*.po.yaml", "test_*.po.yml")


def is_case_file(name: str) -> bool:
    """Whether a file of that name has cases."""
    return any(fnmatchcase(name, pattern) for pattern in PATTERNS)


def find_files(folder: Path) -> list[Path]:
    """The files of cases in a folder."""
    return sorted(path for path in folder.iterdir() if is_case_file(path.name) and path.is_file())
