"""The price of a model, as an admin or a user gives it."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Usd = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Price(BaseModel):
    """The price of a model in US dollars for a million tokens; `cached`, `cache_write` and `audio` (those of sound)
    default to `input`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    input: Usd
    output: Usd
    cached: Usd | None = None
    cache_write: Usd | None = None
    audio: Usd | None = None
