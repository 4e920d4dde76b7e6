"""The base of what a definition is made of."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Value(BaseModel):
    """What a definition is made of: frozen, and nothing beside its fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")
