"""Seeds that callers pass in, made into the envelope `{name, data}`.

The value is the seed's *data*: a dict is taken as it is, a list or a DataFrame becomes `{"rows": [...]}`,
nothing becomes `{}`. Only a `Seed` is an envelope already. The index of a frame is kept beside its rows.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from po_jupyter.client.inputs.row_labels import UnkeepableLabel, indexes_of
from po_jupyter.errors import InvalidSeed, Violation
from po_jupyter.model.run.seed import Seed
from po_jupyter.model.values.json import JsonObject
from po_jupyter.model.values.plain_json import PlainJson, rows_reader

_MAX_SHOWN = 10


def seed_of(value: Any, name: str) -> Seed:
    """The seed whose data is `value`; `name` (the pipeline's) is its name unless `value` is a `Seed`.

    Dates, numbers of numpy, dataclasses and their kin are written as `model.values.plain_json` says. Raises
    InvalidSeed naming every place that holds what JSON cannot.
    """
    if isinstance(value, Seed):
        return value.model_copy(update={"data": _plain_object(value.data)})
    if value is None:
        return Seed(name=name, data={})
    if rows_reader(value) is not None:
        value = {"rows": value}
    if isinstance(value, Mapping):
        return Seed(name=name, data=_plain_object(value), index=_indexes(value))
    if isinstance(value, BaseModel):
        return Seed(name=name, data=_plain_object(value.model_dump(mode="json")))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return Seed(name=name, data=_plain_object(dataclasses.asdict(value)))
    raise InvalidSeed(
        f"a seed is a dict, a list of rows or a DataFrame, not {type(value).__name__}",
        hint='For example {"text": ...}; templates see it as {{ seed.text }}.',
    )


def _indexes(data: Mapping[Any, Any]) -> JsonObject | None:
    """The indexes of the frames in `data`. Raises InvalidSeed for one that cannot be kept."""
    try:
        return indexes_of(data) or None
    except UnkeepableLabel as error:
        raise InvalidSeed(
            f"{error}, which cannot be kept beside the rows", hint="`frame.reset_index()` makes it a column."
        ) from None


def _plain_object(data: Mapping[Any, Any]) -> JsonObject:
    """`data` as JSON. Raises InvalidSeed with every place that holds what JSON cannot."""
    conversion = PlainJson()
    plain = conversion.mapping(data, "seed")
    refused = conversion.refused
    if refused:
        more = len(refused) - _MAX_SHOWN
        raise InvalidSeed(
            "the seed holds values that JSON cannot:",
            violations=[Violation(r.where, r.message) for r in refused[:_MAX_SHOWN]],
            hint=(f"And {more} more. " if more > 0 else "")
            + "Turn them into text, numbers, lists or dicts first.",
        )
    return plain
