"""Durations as field types."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

Seconds = Annotated[float, Field(gt=0, le=7 * 24 * 3600)]  # more than none, at most a week
