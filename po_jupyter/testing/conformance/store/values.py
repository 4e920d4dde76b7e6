"""Values: what goes in comes back, or is refused."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.errors import InvalidInput
from po_jupyter.store.protocol import Commit, Ref, Store
from po_jupyter.testing.conformance.store.cases import Cases, call, event, holder, item


class ValueCases(Cases):
    """What goes in comes back, or is refused."""

    @pytest.mark.parametrize(
        "value",
        [
            None,
            True,
            False,
            0,
            -1,
            2**63,
            -(10**40),
            0.1 + 0.2,
            -0.0,
            5e-324,
            1.7976931348623157e308,
            "",
            "\0",
            "naïve 中文 😀 \u2028 \x7f",
            "half an emoji \ud83d",
            [],
            {},
            {"": {"a b": [[], {}, None]}},
            [1, 1.0, "1", True],
            {"deep": [[[[[[[[[["x"]]]]]]]]]]},
        ],
        ids=repr,
    )
    def test_json_comes_back_as_it_went_in(self, store: Store, run: str, value: Any) -> None:
        """P4, P12: whatever a model answers can be kept."""
        store.commit(
            store.claim(run, holder(1)), Commit(events=[event("x", v=value)], payloads=[value, [value]])
        )
        store.put("kind", "name", [value])
        for back in (
            store.payload(run, Ref(2, 0)),
            store.payload(run, Ref(2, 1))[0],
            store.payloads(run, 2)[0],
            store.events(run, since=1)[0]["data"]["v"],
            (store.get("kind", "name") or [None])[0],
        ):
            assert (back, type(back), repr(back)) == (value, type(value), repr(value))

    @pytest.mark.parametrize(
        "value",
        [
            math.nan,
            math.inf,
            -math.inf,
            {1, 2},
            b"bytes",
            object(),
            datetime(2026, 11, 22, tzinfo=UTC),
            Path("x"),
            1j,
            {1: "a"},
            {None: 1},
            {("a",): 1},
            [1, {"a": [math.nan]}],
        ],
        ids=lambda value: repr(value).partition(" at 0x")[0],  # the same in every process
    )
    def test_what_is_not_json_is_refused_and_nothing_is_written(
        self, store: Store, run: str, value: Any
    ) -> None:
        """P4, P11."""
        lease = store.claim(run, holder(1))
        for commit in (
            Commit(payloads=["fine", value]),
            Commit(payloads=["fine"], events=[event("x", v=value)]),
            Commit(items=[item(task="a", error=value)]),
            Commit(calls=[call(key=value)]),
        ):
            with pytest.raises(InvalidInput):
                store.commit(lease, commit)
        with pytest.raises(InvalidInput):
            store.request(run, [event("x", v=value)], "done")
        with pytest.raises(InvalidInput):
            store.put("kind", "name", value)
        assert store.head(run)["n"] == 1
        assert store.head(run)["state"] == "pending"
        assert store.get("kind", "name") is None
        assert store.names("kind") == []

    def test_the_refusal_names_the_place(self, store: Store) -> None:
        """P11."""
        with pytest.raises(InvalidInput, match=r"rows\[1\]\.when.*datetime"):
            store.put("kind", "name", {"rows": [{}, {"when": datetime(2026, 1, 1, tzinfo=UTC)}]})

    def test_a_value_that_contains_itself_is_refused(self, store: Store) -> None:
        """P11."""
        loop: list[Any] = []
        loop.append(loop)
        with pytest.raises(InvalidInput):
            store.put("kind", "name", loop)

    def test_a_tuple_is_a_list(self, store: Store) -> None:
        """P4."""
        store.put("kind", "name", (1, ("a",)))
        assert store.get("kind", "name") == [1, ["a"]]

    def test_a_payload_of_five_megabytes(self, store: Store, run: str) -> None:
        """P12: a long answer is an answer."""
        big = {"text": "déjà vu " * 700_000, "rows": list(range(1000))}
        head = store.commit(store.claim(run, holder(1)), Commit(payloads=["small", big, "after"]))
        assert store.payload(run, Ref(head["n"], 1)) == big
        assert store.payload(run, Ref(head["n"], 2)) == "after"

    def test_a_group_of_payloads_is_read_one_by_one(self, store: Store, run: str) -> None:
        """P8: as group commit writes them."""
        values = [{"i": i, "text": "x" * (i % 50), "brackets": "]]],[["} for i in range(500)]
        store.commit(store.claim(run, holder(1)), Commit(payloads=values))
        assert [store.payload(run, Ref(2, i)) for i in range(500)] == values
        assert store.payloads(run, 2) == values

    def test_what_was_read_can_be_changed_without_harm(self, store: Store, run: str) -> None:
        """P1: nobody shares an object with the store."""
        value_in = {"a": [1]}
        store.commit(store.claim(run, holder(1)), Commit(payloads=[value_in], events=[event("x", v=value_in)]))
        value_in["a"].append(2)
        for _ in range(2):
            value = store.payload(run, Ref(2, 0))
            event_read = store.events(run, since=1)[0]
            assert (value, event_read["data"]) == ({"a": [1]}, {"v": {"a": [1]}})
            value["a"].append(3)
            event_read["data"]["v"]["a"].append(3)
            head = store.head(run)
            head["state"] = "done"
        assert store.head(run)["state"] == "pending"
