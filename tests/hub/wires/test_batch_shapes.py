"""Shapes of batches: states that no test of a whole batch comes by."""

from __future__ import annotations

import pytest

from po_jupyter.hub.wires.batch_shapes import SHAPES


@pytest.mark.parametrize(
    ("batch", "ended", "whole"),
    [
        ({"metadata": {"state": "BATCH_STATE_RUNNING"}}, False, False),
        ({"metadata": {"state": "JOB_STATE_SUCCEEDED"}}, True, True),
        ({"metadata": {"state": "BATCH_STATE_PARTIALLY_SUCCEEDED"}}, True, True),
        ({"metadata": {"state": "BATCH_STATE_EXPIRED"}}, True, False),
        ({"done": True, "response": {}}, True, True),
        ({"done": True, "error": {"code": 13}}, True, False),
        ({}, False, True),
    ],
)
def test_a_batch_of_geminis_has_ended_by_its_state_or_as_an_operation(
    batch: dict[str, object], ended: bool, whole: bool
) -> None:
    shape = SHAPES["gemini"]
    assert (shape.has_ended(batch), shape.is_whole(batch)) == (ended, whole)


def test_a_name_keeps_its_mark_from_its_owner() -> None:
    shape = SHAPES["gemini"]
    body = {"batch": {"displayName": "mine [po:of-another]", "inputConfig": {"file_name": "files/a"}}}
    job = shape.job(body, "m")
    assert (job.file, job.model) == ("a", "m")
    sent = shape.marked(body, "m", "1a-2b")["batch"]
    batch = {"name": "batches/x", "metadata": {"displayName": sent["displayName"]}}
    assert shape.mark_of(batch) == "1a-2b" and shape.id_of(batch) == "x"
    assert shape.shown(batch)["metadata"]["displayName"] == "mine [po:of-another]"


def test_a_list_of_geminis_goes_on_behind_what_was_seen() -> None:
    shape = SHAPES["gemini"]
    page = shape.own_page({"pageSize": "2", "pageToken": "4"})
    assert (page.limit, page.skip) == (2, 4)
    assert shape.as_list([{}, {}], page, more=True)["nextPageToken"] == "6"
    assert "nextPageToken" not in shape.as_list([{}], page, more=False)
    assert shape.vendor_page({}, "a/=b")["pageToken"] == "a%2F%3Db"
