"""Rate limits of providers and models, as settings name them."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

Bound = Annotated[int, Field(ge=1, le=10**12, strict=True)]


class RateLimit(BaseModel):
    """The limits of a provider (`openai`) or one of its models (`openai:gpt-5-mini`) for all runs together.

    All but `concurrency` are per window, by default a minute (the setting `rate_window`). At least one is given.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    requests: Bound | None = Field(default=None, description="Requests.")
    tokens: Bound | None = Field(default=None, description="Tokens, input and output together.")
    input_tokens: Bound | None = Field(default=None, description="Tokens of prompts.")
    output_tokens: Bound | None = Field(default=None, description="Tokens of answers.")
    concurrency: Bound | None = Field(default=None, description="Requests at the same time.")

    @model_validator(mode="after")
    def _says_something(self) -> RateLimit:
        if not self.model_dump(exclude_none=True):
            raise ValueError("a rate limit needs at least one of " + ", ".join(type(self).model_fields))
        return self
