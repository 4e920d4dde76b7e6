from __future__ import annotations

import pytest

from po_jupyter.presentation.urls import shown_url


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://api.example.com/v1", "https://api.example.com/v1"),
        ("https://user:secret@api.example.com:8443/v1?key=secret#secret", "https://api.example.com:8443/v1"),
        ("http://[broken", "no URL"),
    ],
)
def test_what_may_be_secret_in_a_url_is_not_shown(url: str, shown: str) -> None:
    """P10."""
    assert shown_url(url) == shown
