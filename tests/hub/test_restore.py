"""What the admin's guide says of the ledger and of small budgets, done as it says."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from po_jupyter.testing.model_server import ModelServer
from tests.hub.real.test_guide import PAGE, blocks
from tests.support.hub import running

pytestmark = pytest.mark.integration


def follow(commands: str, folder: Path) -> None:
    """Run the commands of a block in the ledger's directory."""
    text = re.sub(r"^python ", f"{shlex.quote(sys.executable)} ", commands)
    subprocess.run(["bash", "-ec", text], cwd=folder, check=True)


async def test_a_ledger_is_copied_alive_and_restored_while_the_gateway_is_down(
    tmp_path: Path, vendor: ModelServer
) -> None:
    copy = next(block for block in blocks("bash") if ".backup(" in block)
    restore = next(block for block in blocks("bash") if "ledger.sqlite-wal" in block)
    async with running(tmp_path, vendor.root_url) as gateway:
        await gateway.chat()
        spent = await gateway.spent()
        follow(copy, tmp_path)
        await gateway.chat()
        assert await gateway.spent() == 2 * spent
    follow(restore, tmp_path)
    async with running(tmp_path, vendor.root_url) as gateway:
        assert await gateway.spent() == spent > 0
        windows = (await gateway.ask("GET", "api/usage"))[1]["windows"]
        assert {w["used"] for w in windows if w["scope"] == "user:alice" and w["unit"] == "usd"} == {
            spent / 1e9
        }


async def test_a_budget_below_one_reservation_is_refused_with_the_words_of_the_page(
    tmp_path: Path, vendor: ModelServer
) -> None:
    page = PAGE.read_text("utf-8")
    async with running(tmp_path, vendor.root_url, limits={"each_user": {"usd_per_day": 0.1}}) as gateway:
        status, body = await gateway.chat(max_tokens=25_600)
    assert (status, body["error"]["code"]) == (400, "invalid_request")
    message = re.sub(r"\$[0-9.]+", "$N", body["error"]["message"])
    assert message in re.sub(r"\$[0-9.]+", "$N", page)
    assert vendor.requests == []
