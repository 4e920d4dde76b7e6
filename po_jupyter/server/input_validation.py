"""Queries and bodies of requests as the models of their routes, with everything that is wrong in one error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar, get_args

from pydantic import BaseModel, ValidationError

from po_jupyter.errors import InvalidInput
from po_jupyter.model.pipeline.violations import violations_of

ModelT = TypeVar("ModelT", bound=BaseModel)


def validate_input(model: type[ModelT], value: Mapping[str, object], what: str) -> ModelT:
    """The value as the model, which messages call `what`. Raises InvalidInput with every violation."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        violations = violations_of(error, known=lambda path: _fields(model, path, what))
        raise InvalidInput(violations=violations) from None


def _fields(model: type[BaseModel], path: tuple[int | str, ...], what: str) -> tuple[list[str], str]:
    """The fields of what is at a path inside of a body, and its name for messages."""
    for part in path:
        annotation = model.model_fields[part].annotation if part in model.model_fields else None
        inner = [kind for kind in (annotation, *get_args(annotation)) if isinstance(kind, type)]
        inner = [kind for kind in inner if issubclass(kind, BaseModel)]
        if not inner:
            return [], f"`{part}`"
        model, what = inner[0], f"`{part}`"
    return list(model.model_fields), what
