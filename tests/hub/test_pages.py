"""The page: what it shows, and that nothing in it is HTML of others (P6). Logins: `tests.hub.test_hub_identity`."""

from __future__ import annotations

import base64
import re
from hashlib import sha256

from po_jupyter.hub.accounts.balances import UsageWindow
from po_jupyter.hub.accounts.usage_report import UsageRow
from po_jupyter.hub.identity import HubUser
from po_jupyter.hub.pages import STYLE_DIGEST, problem_page, usage_page

EVIL = "\"'><img src=x onerror=alert(1)>&"
WINDOW: UsageWindow = {
    "scope": "user:a", "window": "day", "unit": "usd", "used": 0.4, "reserved": 0.1, "limit": 2.0,
    "resets_at": "2026-11-28T00:00:00Z",
}  # fmt: skip
ROW: UsageRow = {
    "name": EVIL, "calls": 1234, "input_tokens": 5, "output_tokens": 6, "cached_tokens": 0, "reasoning_tokens": 0,
    "usd": 1234.5, "lost": 0, "unpriced": 0,
}  # fmt: skip


def test_nothing_of_others_is_html() -> None:
    windows = [{**WINDOW, "scope": f"group:{EVIL}"}, WINDOW]
    page = usage_page(HubUser(EVIL, (EVIL,)), windows, [("user", [ROW])])  # type: ignore[arg-type]
    assert "<img" not in page and page.count("&lt;img") == 4 and "$1,234.5000" in page and "1,234" in page
    assert "<img" not in problem_page(EVIL)


def test_users_see_their_limits_and_no_tables() -> None:
    unused: UsageWindow = {**WINDOW, "limit": None, "used": 0.0, "window": "month"}
    page = usage_page(HubUser("alice"), [WINDOW, unused], [])
    assert "$0.4000" in page and "$2.0000" in page and "2026-11-28 00:00:00 UTC" in page
    assert "month" not in page and "csv" not in page
    assert [*re.findall(r"<th scope=\"col\" class=\"number\">(\w+)", page)] == ["used", "reserved", "limit"]


def test_the_digest_is_that_of_the_style() -> None:
    found = re.search(r"<style>(.*?)</style>", problem_page("x"), re.DOTALL)
    assert found is not None
    assert base64.b64encode(sha256(found[1].encode()).digest()).decode() == STYLE_DIGEST


def test_the_heads_of_columns_stand_above_their_numbers() -> None:
    page = usage_page(HubUser("ada"), [], [])
    assert '<th scope="col">of</th>' in page
    assert '<th scope="col" class="number">used</th>' in page
