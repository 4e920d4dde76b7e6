"""Everything that is wrong with a body is said at once, each with the names that there are."""

from __future__ import annotations

import pytest
from pydantic import BaseModel, ConfigDict

from po_jupyter.errors import InvalidInput
from po_jupyter.server.input_validation import validate_input


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")

    owner: str = ""


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid")

    limit: int = 1
    inner: Inner | None = None


def test_what_fits_is_the_model() -> None:
    assert validate_input(Body, {"limit": 3, "inner": {"owner": "ada"}}, "the request") == Body(
        limit=3, inner=Inner(owner="ada")
    )


def test_each_violation_is_told_with_the_fields_of_its_own_level() -> None:
    with pytest.raises(InvalidInput) as caught:
        validate_input(Body, {"limit": "many", "lmit": 1, "inner": {"ower": "ada"}}, "the request")
    said = {violation.where: violation.message for violation in caught.value.violations}
    assert set(said) == {"limit", "lmit", "inner.ower"}
    assert "limit" in said["lmit"] and "the request" in said["lmit"]
    assert "owner" in said["inner.ower"] and "limit" not in said["inner.ower"]
