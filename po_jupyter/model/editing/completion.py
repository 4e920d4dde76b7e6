"""What may stand at the cursor of a pipeline's YAML, and what the key below it means."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple, TypeAlias

from po_jupyter.model.editing.filters import FILTERS
from po_jupyter.model.editing.outline import Key, Outline, Place, outline_of
from po_jupyter.model.editing.schema import fields_at, values_at
from po_jupyter.model.editing.templates import (
    TemplateName,
    bound_names,
    filter_in,
    is_template,
    name_in,
    names_after,
    resolved,
    task_names,
)

Kind: TypeAlias = Literal["field", "value", "task", "model", "name", "filter"]

MAX_TEXT = 100_000  # characters of a text that is looked at
_MOST = 300  # suggestions


class Suggestion(NamedTuple):
    """One text that may stand at the cursor.

    text    what is inserted; `label` is what a list shows
    detail  a few words beside the label, `documentation` a sentence or two
    """

    text: str
    label: str
    kind: Kind
    detail: str = ""
    documentation: str = ""


class KeyHelp(NamedTuple):
    """What a key means: `start` and `end` are its offsets."""

    start: int
    end: int
    title: str
    documentation: str


@dataclass(frozen=True)
class CursorContext:
    """The cursor in a text, and which knowledge from outside its completion needs."""

    outline: Outline
    following: str = ""  # the character behind the cursor

    @classmethod
    def of(cls, text: str, offset: int) -> CursorContext:
        """The cursor at an offset of `text`; a text that is too long has no place."""
        if len(text) > MAX_TEXT:
            return cls(Outline())
        return cls(outline_of(text, offset), text[offset : offset + 1])

    @cached_property
    def template(self) -> TemplateName | None:
        """The name in a template that is being written, if it is one."""
        place = self.outline.place
        return None if place is None or not is_template(place.path) else name_in(place.typed)

    @cached_property
    def filter(self) -> str | None:
        """The beginning of the filter's name in a template that is being written, if it is one."""
        place = self.outline.place
        return None if place is None or not is_template(place.path) else filter_in(place.typed)

    @cached_property
    def bound(self) -> Mapping[str, tuple[str, ...]]:
        """The names that loops around the cursor give, see `templates.bound_names`."""
        place = self.outline.place
        return {} if place is None else bound_names(place.typed)

    @property
    def needs_models(self) -> bool:
        """Whether the names of models are needed."""
        place = self.outline.place
        return place is not None and place.role == "value" and _names_model(place)

    @property
    def needs_seed(self) -> bool:
        """Whether a seed of the pipeline is needed."""
        template = self.template
        return template is not None and resolved(template.before, self.bound)[:1] in (("seed",), ("item",))

    @property
    def start(self) -> int | None:
        """The offset at which a suggestion begins."""
        place = self.outline.place
        if place is None:
            return None
        typed = self.template.typed if self.template is not None else self.filter
        return place.start if typed is None else place.start + len(place.typed) - len(typed)

    def suggestions(
        self, models: Sequence[str] = (), seed: Mapping[str, object] | None = None
    ) -> list[Suggestion]:
        """The texts that may stand at the cursor and begin as what is typed there, at most 300."""
        place = self.outline.place
        if place is None:
            return []
        if self.filter is not None:
            filters = [Suggestion(name, name, "filter", detail) for name, detail in FILTERS.items()]
            return _beginning(filters, self.filter)
        if self.template is not None:
            names = names_after(self.template.before, self.outline, place.path, seed, self.bound)
            found = [Suggestion(name, name, "name", detail) for name, detail in names.items()]
            return _beginning(found, self.template.typed)
        return _beginning(list(self._in_yaml(place, models)), place.typed)

    def _in_yaml(self, place: Place, models: Sequence[str]) -> Iterator[Suggestion]:
        if place.role in ("value", "entry"):
            yield from self._values(place, models)
        if place.role in ("key", "entry"):
            here = set(self.outline.names(place.path))
            colon = "" if self.following == ":" else ": "
            for name, schema in fields_at(place.path).items():
                if name not in here or name == place.typed:
                    text = _type_of(schema)
                    yield Suggestion(name + colon, name, "field", text, schema.get("description", ""))

    def _values(self, place: Place, models: Sequence[str]) -> Iterator[Suggestion]:
        if _names_model(place):
            yield from (Suggestion(ref, ref, "model") for ref in models)
        path = place.path
        if path[:1] == ("tasks",) and path[2:3] == ("needs",):
            for at, name in task_names(self.outline).items():
                if at != path[1]:
                    yield Suggestion(name, name, "task", "task")
        for value in values_at(path):
            yield Suggestion(value, value, "value")


def help_at(text: str, offset: int) -> KeyHelp | None:
    """What the key at `offset` means; None where there is no key that is a field."""
    if len(text) > MAX_TEXT:
        return None
    key = outline_of(text).key_at(offset)
    schema = None if key is None else fields_at(key.path).get(key.name)
    if key is None or schema is None:
        return None
    return KeyHelp(key.start, key.end, _title(key, schema), schema.get("description", ""))


def _title(key: Key, schema: Mapping[str, Any]) -> str:
    kind = _type_of(schema)
    default = schema.get("default")
    parts = [f"{key.name}: {kind}" if kind else key.name]
    if default not in (None, "", [], {}):
        parts.append(f"default {json.dumps(default, ensure_ascii=False)}")
    return " · ".join(parts)


def _type_of(schema: Mapping[str, Any]) -> str:
    """A schema in a word or two; nothing where there are many."""
    forms = [form for form in schema.get("anyOf", [schema]) if form.get("type") != "null"]
    words: dict[str, None] = {}
    for form in forms:
        if "enum" in form or "const" in form:
            words["one of a list"] = None
        elif "$ref" in form:
            words["mapping"] = None
        else:
            names = {"string": "text", "array": "list", "object": "mapping", "boolean": "true/false"}
            kind = form.get("type")
            if isinstance(kind, str):
                words[names.get(kind, kind)] = None
    return " or ".join(words) if len(words) <= 3 else ""


def _names_model(place: Place) -> bool:
    """Whether the value there is that of a model: `llm: REF`, `llm: {model: REF}`, or either in a list of them."""
    path = (
        tuple(part for part in place.path[2:] if isinstance(part, str))
        if place.path[:1] == ("tasks",)
        else place.path
    )
    return path[-2:] == ("llm", "model") or path[-1:] == ("llm",)


def _beginning(found: list[Suggestion], typed: str) -> list[Suggestion]:
    """Those that begin as what is typed, or else hold it."""
    word = typed.lower()
    first, others = [], []
    for one in found:
        label = one.label.lower()
        if label.startswith(word):
            first.append(one)
        elif word in label:
            others.append(one)
    return [*first, *others][:_MOST]
