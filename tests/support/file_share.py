"""Files that nodes share, without a node: a worker of tests that puts and fetches them itself."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

from po_jupyter.store.files.row_files import RowFiles
from po_jupyter.store.objects.shared_files import RunFile, SharedFiles


class DirectShare:
    """Implements `RunFileShare`."""

    def __init__(self, files: SharedFiles, run: str, run_dir: Path, rows: RowFiles | None = None) -> None:
        self._files, self._run, self._run_dir, self._rows = files, run, run_dir, rows
        self.kept: list[tuple[str, int, str]] = []
        self.fetched: list[tuple[str, int, str]] = []

    async def keep(self, files: Sequence[tuple[str, int, str]]) -> None:
        self.kept += files
        checked = [RunFile.of(*file) for file in files]
        await asyncio.to_thread(self._files.keep, self._run, self._run_dir, checked)

    async def fetch(self, files: Sequence[tuple[str, int, str]], rows: Sequence[str]) -> Mapping[str, str]:
        self.fetched += files
        for digest in rows if self._rows is not None else ():
            await asyncio.to_thread(self._rows.info, "me", digest)
        checked = [RunFile.of(*file) for file in files]
        return await asyncio.to_thread(self._files.fetch, self._run, self._run_dir, checked)
