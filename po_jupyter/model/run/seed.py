"""The input of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from po_jupyter.errors import InvalidSeed
from po_jupyter.model.pipeline.violations import violations_of, without_most_unknown
from po_jupyter.model.run.row_index import index_problem
from po_jupyter.model.values.checked_json import CheckedJsonObject
from po_jupyter.model.values.json import JsonObject


class Seed(BaseModel):
    """`{name, data, pipeline?, metadata?, index?}`: the envelope of a run's input.

    `name` is for people (1 to 100 characters); `data` is a JSON object and is what templates call
    `seed`; `pipeline` names a registered pipeline where none is given otherwise. `index` has what the tables among
    the data call their rows (see `row_index`).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=100)]
    data: CheckedJsonObject
    pipeline: str | None = None
    metadata: CheckedJsonObject | None = None
    index: CheckedJsonObject | None = None

    @field_validator("index")
    @classmethod
    def _fits_the_rows(cls, value: JsonObject | None, info: ValidationInfo) -> JsonObject | None:
        if value is not None and "data" in info.data and (problem := index_problem(info.data["data"], value)):
            raise ValueError(problem)
        return value


def read_seed(value: object) -> Seed:
    """The seed that `value` (a decoded JSON object) describes.

    Raises InvalidSeed with every violation at once.
    """
    if isinstance(value, Seed):
        return value
    if not isinstance(value, Mapping):
        raise InvalidSeed(
            f"a seed is an object with `name` and `data`, not {type(value).__name__}",
            hint='For example {"name": "first", "data": {"text": "..."}}.',
        )
    try:
        return Seed.model_validate(dict(without_most_unknown(value, Seed.model_fields)))
    except ValidationError as error:
        raise InvalidSeed(
            "the seed cannot be used:",
            violations=violations_of(error, known=tuple(Seed.model_fields), what="a seed"),
            hint="A seed is {name, data, pipeline?, metadata?, index?}; `data` is an object.",
        ) from None
