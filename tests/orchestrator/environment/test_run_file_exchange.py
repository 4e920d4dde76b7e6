"""The node answers workers: what they name is data, and only their run's."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.errors import InvalidInput, NotFound
from po_jupyter.ipc.messages import FETCH_FILES, KEEP_FILES
from po_jupyter.orchestrator.environment.run_file_exchange import RunFileExchange
from po_jupyter.store.files.row_files import RowFiles
from po_jupyter.store.keyed.memory import MemoryStore
from po_jupyter.store.objects.directory import DirectoryObjects
from po_jupyter.store.objects.shared_files import SharedFiles
from po_jupyter.testing.conformance.store import new_run

RUN = "00a1"
A = sha256(b"a").hexdigest()


class Node:
    def __init__(self, tmp: Path, store: MemoryStore, shared: Path) -> None:
        self.tmp = tmp
        self.files = SharedFiles(store, DirectoryObjects(shared))
        self.rows = RowFiles(tmp, self.files)
        self.exchange = RunFileExchange(tmp, store, self.files, self.rows)

    def run(self, run: str = RUN) -> Path:
        path = self.tmp / "runs" / run
        path.mkdir(parents=True, exist_ok=True)
        return path


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[tuple[Node, Node]]:
    (tmp_path / "shared").mkdir()
    store = MemoryStore()
    store.create_run(new_run(RUN))
    store.create_run(new_run("00a2"))
    both = Node(tmp_path / "1", store, tmp_path / "shared"), Node(tmp_path / "2", store, tmp_path / "shared")
    yield both
    for node in both:
        node.files.close()


def test_files_and_rows_go_from_node_to_node(nodes: tuple[Node, Node]) -> None:
    one, two = nodes
    (one.run() / "a").write_bytes(b"a")
    assert one.exchange.answer(RUN, KEEP_FILES, {"files": [["a", 1, A]]}) == {}
    rows = sha256(b"1\n").hexdigest()
    upload = one.rows.receive("ada", rows)
    upload.write(b"1\n")
    upload.finish()
    about = {"files": [["a", 1, A], ["b", 2, A]], "rows": [rows, A]}
    problems = two.exchange.answer(RUN, FETCH_FILES, about)
    assert sorted(problems) == ["b", f"rows/{A}"]
    assert (two.run() / "a").read_bytes() == b"a"
    assert list((two.tmp / "blobs").glob(f"*/{rows}.ndjson"))


def test_a_run_gets_nothing_of_another_one(nodes: tuple[Node, Node]) -> None:
    one, two = nodes
    (one.run() / "a").write_bytes(b"a")
    one.exchange.answer(RUN, KEEP_FILES, {"files": [["a", 1, A]]})
    assert list(two.exchange.answer("00a2", FETCH_FILES, {"files": [["a", 1, A]]})) == ["a"]


@pytest.mark.parametrize(
    "files",
    [
        [["a", 1]], [["a", "1", A]], [["a", True, A]], [["a", 1, A.upper()]], [["a", -1, A]], ["a"], [{"path": "a"}],
        [["../up", 1, A]], [["a/../../../x", 1, A]], [["/etc/passwd", 1, A]], [["", 1, A]],
    ],
)  # fmt: skip
@pytest.mark.parametrize("what", [KEEP_FILES, FETCH_FILES])
def test_what_is_no_file_of_the_run_is_refused(nodes: tuple[Node, Node], what: str, files: list[Any]) -> None:
    one, two = nodes
    (one.run() / "x").write_bytes(b"a")
    one.exchange.answer(RUN, KEEP_FILES, {"files": [["x", 1, A]]})
    with pytest.raises((InvalidInput, NotFound)):
        two.exchange.answer(RUN, what, {"files": files})
    assert not (two.tmp / "up").exists() and not (two.tmp / "runs" / "up").exists()


def test_a_link_in_the_directory_of_a_run_is_not_followed(nodes: tuple[Node, Node], tmp_path: Path) -> None:
    """Code of a pipeline may put one there: it would have its node put any file of the machine."""
    one, _ = nodes
    (tmp_path / "secret").write_bytes(b"a")
    (one.run() / "a").symlink_to(tmp_path / "secret")
    with pytest.raises(InvalidInput, match="link"):
        one.exchange.answer(RUN, KEEP_FILES, {"files": [["a", 1, A]]})
    assert list(one.files.run_objects()) == []
