"""Short-lived credentials: got anew before their end."""

from __future__ import annotations

import time

import pytest

from po_jupyter.errors import ModelKeyError
from po_jupyter.llm.providers.short_lived import EXPIRES, ShortLivedCredentials


async def test_credentials_are_got_anew_before_their_end() -> None:
    calls = []

    async def obtain() -> dict[str, str]:
        calls.append(1)
        return {"K": str(len(calls)), EXPIRES: str(time.time() + 3600)}

    soon = ShortLivedCredentials({"K": "0", EXPIRES: str(time.time() + 60)}, obtain)
    assert (await soon.current())["K"] == "1" and (await soon.current())["K"] == "1"
    lasting = ShortLivedCredentials({"K": "0"}, obtain)
    assert (await lasting.current())["K"] == "0"
    assert "s3cret" not in repr(ShortLivedCredentials({"K": "s3cret"}, obtain))


async def test_where_nothing_is_given_there_is_no_login() -> None:
    async def obtain() -> dict[str, str]:
        return {}

    with pytest.raises(ModelKeyError, match="may not be used"):
        await ShortLivedCredentials({}, obtain).current()
