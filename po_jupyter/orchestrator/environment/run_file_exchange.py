"""The node's side of files that nodes share: puts and fetches what workers ask for. It alone has the credentials."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from po_jupyter.errors import CorruptRow, InvalidInput, NotFound
from po_jupyter.ipc.messages import KEEP_FILES
from po_jupyter.store.files.row_files import RowFiles
from po_jupyter.store.objects.shared_files import RunFile, SharedFiles
from po_jupyter.store.protocol import Store


class RunFileExchange:
    """Answers workers. Blocks: call it in a thread."""

    def __init__(self, data_dir: Path, store: Store, files: SharedFiles, rows: RowFiles) -> None:
        """Files of runs below `data_dir`, rows of seeds in `rows`."""
        self._data_dir = data_dir
        self._store = store
        self._files = files
        self._rows = rows

    def answer(self, run: str, what: str, about: Mapping[str, object]) -> dict[str, str]:
        """Keep or fetch what the worker of a run names; by path, why something could not be fetched.

        Raises InvalidInput, StoreError, Unavailable.
        """
        directory = self._data_dir / "runs" / run
        files = list(_files_in(about))
        if what == KEEP_FILES:
            self._files.keep(run, directory, files)
            return {}
        problems = self._files.fetch(run, directory, files) if files else {}
        rows = about.get("rows") or []
        if isinstance(rows, list) and rows:
            owner = self._store.head(run)["owner"]
            for digest in rows:
                try:
                    self._rows.info(owner, str(digest))
                except (NotFound, CorruptRow) as error:
                    problems[f"rows/{digest}"] = error.message
        return problems


def _files_in(about: Mapping[str, object]) -> Iterator[RunFile]:
    files = about.get("files")
    for file in files if isinstance(files, list) else ():
        if not isinstance(file, list) or len(file) != 3 or [type(part) for part in file] != [str, int, str]:
            raise InvalidInput("a file of a run is [path, fence, sha256]")
        yield RunFile.of(*file)
