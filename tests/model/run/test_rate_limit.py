"""Rate limits as settings name them."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from po_jupyter.model.run.rate_limit import RateLimit


def test_a_limit_limits_something() -> None:
    assert RateLimit(requests=5).requests == 5
    for values in ({}, {"requests": 0}, {"tokens": 1.5}, {"request": 5}):
        with pytest.raises(ValidationError):
            RateLimit.model_validate(values)
