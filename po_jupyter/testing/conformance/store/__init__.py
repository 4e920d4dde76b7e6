"""The conformance suite of stores: what every `Store` must do, as tests that any implementation can be put through.

    from po_jupyter.testing.conformance.store import StoreConformance

    class TestMyStore(StoreConformance):
        @pytest.fixture
        def store(self, tmp_path):
            store = MyStore(tmp_path / "store")
            yield store
            store.close()

        opener = "from my_package import MyStore; store = MyStore({path!r})"   # optional

`opener` is Python that opens the store of the fixture `place` (its path, or address) in another process;
without it the tests across processes are skipped. A test's docstring names the promise that it keeps. `RunCases`,
`LogCases` and `DocumentCases` follow the three Protocols of `store.protocol`, `SnapshotCases` and `ListeningCases`
those that a store may have besides; `ValueCases` are about what may be kept.
"""

from __future__ import annotations

from po_jupyter.testing.conformance.store.cases import elsewhere, event, new_run
from po_jupyter.testing.conformance.store.documents import DocumentCases
from po_jupyter.testing.conformance.store.listening import ListeningCases
from po_jupyter.testing.conformance.store.log import LogCases
from po_jupyter.testing.conformance.store.runs import RunCases
from po_jupyter.testing.conformance.store.snapshots import SnapshotCases
from po_jupyter.testing.conformance.store.values import ValueCases

__all__ = [
    "DocumentCases",
    "ListeningCases",
    "LogCases",
    "RunCases",
    "SnapshotCases",
    "StoreConformance",
    "ValueCases",
    "elsewhere",
    "event",
    "new_run",
]


class StoreConformance(RunCases, LogCases, ValueCases, DocumentCases, SnapshotCases, ListeningCases):
    """All of it. Override the fixture `store`; `place` and `opener` where there is more than one process."""
