"""A row of the provider table: regions and logins."""

from __future__ import annotations

from pathlib import Path

import pytest

from po_jupyter.llm.specs import specs


@pytest.mark.parametrize(
    ("region", "url"),
    [
        ("us-east-1", "https://bedrock-runtime.us-east-1.amazonaws.com"),
        ("cn-north-1", "https://bedrock-runtime.cn-north-1.amazonaws.com.cn"),
    ],
)
def test_a_region_has_its_address(region: str, url: str) -> None:
    spec = specs()["bedrock"]
    assert spec.base_url_in({"AWS_REGION": region}) == url
    assert spec.base_url_in({"AWS_DEFAULT_REGION": region}) == url
    assert spec.is_home(url)
    assert not spec.is_home("https://proxy.example")


def test_signs_of_a_login(tmp_path: Path) -> None:
    spec = specs()["bedrock"]
    home = {"HOME": str(tmp_path)}
    assert not spec.has_login(home) or spec.login is not None
    assert spec.has_login({**home, "AWS_PROFILE": "x"})
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws/credentials").touch()
    assert spec.has_login(home)
