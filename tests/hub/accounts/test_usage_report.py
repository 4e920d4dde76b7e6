"""Reports of usage."""

from __future__ import annotations

import csv
import io

import pytest

from po_jupyter.hub.accounts.ledger import Charge, TotalRow
from po_jupyter.hub.accounts.usage_report import as_csv, as_metrics, checked_by, checked_day, summed
from po_jupyter.hub.problems import GatewayProblem

ROWS = [
    TotalRow("2026-11-26", "alice", ("red", "blue"), "a:x", Charge(1, 2, 0, 0, 3_000_000_000, 1, 0, 4)),
    TotalRow("2026-11-27", "alice", ("red",), "a:y", Charge(10, 20, 0, 0, 1_000_000_000, 0, 2, 1)),
    TotalRow("2026-11-27", "=cmd|x", (), "a:y", Charge(100, 200, 0, 0, 5_000_000_000, 0, 0, 1)),
]


def test_sums() -> None:
    assert [(r["name"], r["usd"], r["calls"]) for r in summed(ROWS, "user")] == [
        ("=cmd|x", 5, 1),
        ("alice", 4, 5),
    ]
    assert [(r["name"], r["usd"]) for r in summed(ROWS, "group")] == [("red", 4), ("blue", 3)]
    assert [(r["name"], r["input_tokens"], r["lost"], r["unpriced"]) for r in summed(ROWS, "model")] == [
        ("a:y", 110, 0, 2),
        ("a:x", 1, 1, 0),
    ]


def test_a_name_is_no_formula_in_a_spreadsheet() -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv(summed(ROWS, "user")))))
    assert rows[0]["name"] == "'=cmd|x"


def test_a_name_is_no_second_metric() -> None:
    rows = [TotalRow("d", 'a"} 1\nevil{x="', (), "m\\", Charge())]
    text = as_metrics(rows, in_flight=1, waiting=2)
    assert "\nevil" not in text and 'user="a\\"} 1\\nevil{x=\\"",model="m\\\\"' in text


def test_what_is_asked_is_checked() -> None:
    assert checked_by("group") == "group" and checked_day("2026-11-27", "from") == "2026-11-27"
    for bad in (lambda: checked_by("x"), lambda: checked_day("27.11.2026", "to")):
        with pytest.raises(GatewayProblem):
            bad()
