"""Cases of a `DocumentStore`: small named values outside runs."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from po_jupyter.errors import InvalidInput
from po_jupyter.store.protocol import DocumentStore
from po_jupyter.testing.conformance.store.cases import Cases


class DocumentCases(Cases):
    """A `DocumentStore` is enough for these."""

    def test_a_document_is_put_got_and_dropped(self, store: DocumentStore) -> None:
        """P2."""
        assert store.get("pipelines", "a") is None
        store.put("pipelines", "a", {"x": 1})
        store.put("pipelines", "a", {"x": 2})
        assert store.get("pipelines", "a") == {"x": 2}
        assert store.get("leases", "a") is None
        assert store.drop("pipelines", "a") is True
        assert store.drop("pipelines", "a") is False
        assert store.get("pipelines", "a") is None

    def test_names_are_sorted_and_of_one_kind(self, store: DocumentStore) -> None:
        """P6: names are data, whatever they look like."""
        for name in ("b", "a", "ü", "a/b", "../c", " ", "x" * 500):
            store.put("k", name, {"n": name})
        store.put("other", "z", 1)
        store.drop("k", "b")
        assert store.names("k") == sorted(["a", "ü", "a/b", "../c", " ", "x" * 500])
        assert store.names("none") == []
        assert store.get("k", "../c") == {"n": "../c"}

    def test_kinds_and_names_do_not_run_into_each_other(self, store: DocumentStore) -> None:
        """P6: a name is data, never part of another key."""
        store.put("a", "b/c", 1)
        with pytest.raises(InvalidInput):
            store.put("a/b", "c", 2)
        assert store.get("a", "b/c") == 1

    @pytest.mark.parametrize("name", ["", "x" * 501, "a\0b", "\ud800"])
    def test_a_name_that_is_none_is_refused(self, store: DocumentStore, name: str) -> None:
        """P11."""
        with pytest.raises(InvalidInput):
            store.put("k", name, 1)

    def test_swap_writes_only_over_what_was_expected(self, store: DocumentStore) -> None:
        """P2: how leases are taken."""
        assert store.swap("leases", "orchestrator", {"pid": 1}, {"pid": 2}) is False
        assert store.swap("leases", "orchestrator", None, {"pid": 1}) is True
        assert store.swap("leases", "orchestrator", None, {"pid": 2}) is False
        assert store.get("leases", "orchestrator") == {"pid": 1}
        assert store.names("leases") == ["orchestrator"]
        assert store.swap("leases", "orchestrator", {"pid": 1}, {"pid": 2}) is True
        assert store.get("leases", "orchestrator") == {"pid": 2}

    def test_swap_to_none_removes(self, store: DocumentStore) -> None:
        """P2: how leases are given back."""
        store.put("leases", "a", 1)
        assert store.swap("leases", "a", 2, None) is False
        assert store.swap("leases", "a", 1, None) is True
        assert store.get("leases", "a") is None
        assert store.names("leases") == []

    def test_of_many_swaps_one_wins(self, store: DocumentStore) -> None:
        """P2."""
        for round in range(5):
            old = store.get("leases", "a")
            with ThreadPoolExecutor(8) as threads:
                won = list(
                    threads.map(lambda i, old=old, r=round: store.swap("leases", "a", old, [r, i]), range(8))
                )
            assert won.count(True) == 1
            assert store.get("leases", "a") == [round, won.index(True)]

    def test_counting_by_swap_loses_nothing_across_processes(
        self, store: DocumentStore, other_process: Callable[[str], subprocess.Popen[str]]
    ) -> None:
        """P2."""
        code = """
            for _ in range(50):
                while True:
                    old = store.get("counters", "c")
                    if store.swap("counters", "c", old, (old or 0) + 1):
                        break
            store.close()
        """
        children = [other_process(code) for _ in range(3)]
        for child in children:
            _, errors = child.communicate(timeout=120)
            assert child.returncode == 0, errors
        assert store.get("counters", "c") == 150
