"""The panel's types are those of the routes."""

from __future__ import annotations

import pytest

from tests.ui.api_types import TYPES, generate

pytestmark = pytest.mark.integration


def test_the_panels_types_are_those_of_the_openapi_document() -> None:
    """C5: a field that a route gains, loses or renames is seen by the compiler of the panel."""
    assert TYPES.read_text() == generate(), "python -m tests.ui.api_types writes them again"
