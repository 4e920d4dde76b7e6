"""Files and batches, and whose they are; more in `tests.hub.test_batches`."""

from __future__ import annotations

from pathlib import Path

import pytest

from po_jupyter.hub.accounts.ledger import Ledger
from po_jupyter.hub.accounts.owned_objects import ObjectState, OwnedObjects
from po_jupyter.hub.problems import GatewayProblem

pytestmark = pytest.mark.integration


async def test_what_is_anothers_or_no_name_at_all_is_not_there(tmp_path: Path) -> None:
    ledger = Ledger(str(tmp_path / "ledger.sqlite"))
    ledger.open()
    objects = OwnedObjects(ledger, "openai")
    for user, id in (("alice", "file-1"), ("alice", "file-2"), ("bob", "file-3")):
        await objects.keep(id, user, "file", ObjectState(size=10), 5.0)
    assert (await objects.of("alice", "file-1", "file")).user == "alice"
    assert (await objects.size_of("alice"), await objects.size_of("carol")) == (20, 0)
    for id in ("file-3", "", "\ud800", "\0", "x" * 300):
        with pytest.raises(GatewayProblem) as missing:
            await objects.of("alice", id, "file")
        assert missing.value.status == 404
    ledger.close()
