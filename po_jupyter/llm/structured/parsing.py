"""JSON answers (B8): parsed out of a model's text, validated against their schema, asked for again in plain words.

The whole text may be the answer, or a fenced block or a complete object or array in it. What stands before the end
of a thought is not searched (`thoughts`). Of several candidates the one that fits the schema is taken; where two
different ones fit, and where there is none, the text is an AnswerUnreadable with a sample, never a silent string.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeAlias

from po_jupyter.errors import AnswerUnreadable, InvalidInput
from po_jupyter.llm.structured import judging
from po_jupyter.llm.structured.candidates import Candidates, find_candidates, join_surrogates
from po_jupyter.llm.structured.formats import FORMATS
from po_jupyter.llm.structured.keywords import with_limits
from po_jupyter.llm.structured.quick_judge import quick_judge
from po_jupyter.llm.structured.schema_kinds import kinds_of
from po_jupyter.model.pipeline import json_schema, patterns
from po_jupyter.model.pipeline.violations import did_you_mean
from po_jupyter.model.values.plain_json import PlainJson

if TYPE_CHECKING:
    from jsonschema import FormatChecker, ValidationError

Check: TypeAlias = Callable[[Any], Sequence[str]]

_SAMPLE = 200
_MAX_VIOLATIONS = 20
_SIZE_OF_PART = 8  # characters of an answer for each of its values
_MARKUP = "`*_'\"“”‘’ \t\r\n."  # around a word that is the whole answer
_TYPES = {
    "string": "a text",
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
    "null": "null",
    "object": "an object",
    "array": "a list",
}


def parse_json(text: str, *, want: type | None = None, scalars: bool = False) -> Any:
    """The JSON value in `text`.

    `want` (dict or list) prefers a value of that type where several could be meant. A lone string, number,
    boolean or null is a value only with `scalars`. Raises AnswerUnreadable.
    """
    candidates = find_candidates(text)
    values = [value for value in candidates.values if scalars or isinstance(value, dict | list)]
    if not values:
        raise _unreadable(candidates.text, candidates.problem)
    value = next((value for value in values if want is None or isinstance(value, want)), values[0])
    _check_storable(value, candidates.text)
    return value


def readable_text(text: str) -> str:
    """A text as an answer, halves of surrogate pairs that came in two pieces joined. Raises AnswerUnreadable for one
    that is still half a pair: it is no text, and could never be read back."""
    joined = join_surrogates(text)
    try:
        joined.encode()
    except UnicodeEncodeError:
        raise _unreadable(joined, "the answer holds half a surrogate pair (\\ud800 and the like)") from None
    return joined


def speakable(text: str) -> str:
    """A text that can be sent: half a surrogate pair, which is no text, is replaced."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _unreadable(text: str, message: str = "") -> AnswerUnreadable:
    text = speakable(text)
    sample = text if len(text) <= _SAMPLE else text[:_SAMPLE] + "…"
    if not message:
        message = "the answer is empty" if not text else f"the answer holds no complete JSON: {sample!r}"
    return AnswerUnreadable(message, details={"sample": text[:_SAMPLE], "length": len(text)})


def _check_storable(value: Any, text: str) -> None:
    """Raises AnswerUnreadable for a value that is JSON by its grammar, and could never be read back."""
    if (problem := _storage_problem(value)) is not None:
        raise _unreadable(text, problem)


def _storage_problem(value: Any) -> str | None:
    conversion = PlainJson()
    conversion.value(value, "answer")
    if not conversion.refused:
        return None
    path, message, _, _ = conversion.refused[0]
    message = "a number that is too large" if "inf" in message else message
    return f"{path} is {message}"


class AnswerValidator:
    """The validator of answers to one JSON Schema, compiled once; formats (`date`, `email`, ...) count.

    Validates as Draft 2020-12 unless `$schema` says otherwise. References to other documents are not fetched.
    `check` judges what fits the schema further, as the validators of a class do: it answers what is wrong.
    `may_be_slow`: judging may take a second (`patterns.SECONDS`, `judging.SECONDS`), so it is done in a thread.
    """

    def __init__(self, schema: Mapping[str, Any], check: Check | None = None) -> None:
        """Compile `schema`."""
        json_schema.load()
        from jsonschema import Draft202012Validator
        from jsonschema.validators import validator_for
        from referencing import Registry

        self.schema = schema
        self._check = check
        # An empty registry: jsonschema's default one would open URLs that a schema names.
        draft = validator_for(schema, default=Draft202012Validator)
        # Compiled now, while nothing is paid for.
        has_patterns = bool([patterns.unusable(pattern) for pattern in patterns.patterns_of(schema)])
        self.may_be_slow = has_patterns or _multiplies(schema)
        limited = with_limits(draft, patterns=has_patterns) if self.may_be_slow else draft
        self._validator = limited(schema, registry=Registry(), format_checker=_format_checker())
        self._kinds = kinds_of(schema, schema)
        self._fits = quick_judge(schema)

    def with_check(self, check: Check) -> AnswerValidator:
        """The same schema with a further check."""
        validator = object.__new__(AnswerValidator)
        validator.schema, validator._check, validator.may_be_slow = self.schema, check, self.may_be_slow
        validator._validator, validator._kinds = self._validator, self._kinds
        validator._fits = self._fits
        return validator

    def parse(self, text: str) -> Any:
        """The value in an answer: the one that fits, else what seems to be meant. Raises AnswerUnreadable, also for
        two different values that fit."""
        return self.read(text)[0]

    def read(self, text: str) -> tuple[Any, list[str]]:
        """The value in an answer as `parse` gives it, and its violations."""
        if not self.may_be_slow:
            return self._read(text)
        with patterns.one_answer(), judging.limited(len(text) // _SIZE_OF_PART):
            return self._read(text)

    def _read(self, text: str) -> tuple[Any, list[str]]:
        candidates = find_candidates(text)
        values = [v for v in candidates.values if isinstance(v, dict | list) or self._takes_scalars]
        judged = [(value, self._problems(value)) for value in values]
        if candidates.whole and judged and not judged[0][1]:
            return judged[0][0], []  # nothing else in it could be meant
        fitting = {json.dumps(value, sort_keys=True): value for value, problems in judged if not problems}
        if len(fitting) > 1:
            raise _unreadable(
                candidates.text,
                f"the answer holds {len(fitting)} different JSON values that fit, and must be one of them alone",
            )
        texts = self._texts(join_surrogates(text), candidates)
        if fitting:
            return self._only_one(next(iter(fitting.values())), texts, candidates), []
        for candidate in texts:
            if not (problems := self._problems(candidate)):
                return candidate, []
        if judged:
            value, problems = next((j for j in judged if self._is_meant(j[0])), judged[0])
            _check_storable(value, candidates.text)
            return value, problems
        if not texts:
            raise _unreadable(candidates.text, candidates.problem)
        _check_storable(texts[0], candidates.text)
        return texts[0], problems

    def _only_one(self, value: Any, texts: Sequence[str], candidates: Candidates) -> Any:
        """A value that fits, where nothing else in the answer could be meant. Raises AnswerUnreadable.

        A text with a text in it is that text; one with another value in it may be either.
        """
        if texts and not self._problems(texts[0]):
            if isinstance(value, str):
                return texts[0]
            raise _unreadable(
                candidates.text,
                "the answer is a text with a JSON value in it, and both fit: it must be one of them alone",
            )
        bracket = "{" if isinstance(value, dict) else "["
        if isinstance(value, dict | list) and candidates.broken_last == bracket:
            raise _unreadable(
                candidates.text,
                candidates.problem
                or "the answer holds a JSON value that fits and, behind it, another one that is broken",
            )
        return value

    @property
    def _takes_scalars(self) -> bool:
        return not self._kinds or bool(self._kinds - {"object", "array"})

    def _is_meant(self, value: Any) -> bool:
        """The value is of the type that the schema asks for."""
        kinds = self._kinds & {"object", "array"}
        return not kinds or ("object" if isinstance(value, dict) else "array") in kinds

    def _texts(self, text: str, candidates: Candidates) -> list[str]:
        """The text itself, where the schema takes one: as it is, and as the one word that it is in some markup."""
        if "string" not in self._kinds or not candidates.text:
            return []
        if self._kinds & {"object", "array"} and candidates.text[0] in "{[`":
            return []  # a broken object is no text
        plain = text if candidates.text == text.removeprefix("\ufeff").strip() else candidates.text
        return list(dict.fromkeys((plain, candidates.text, candidates.text.strip(_MARKUP))))

    def _problems(self, value: Any) -> list[str]:
        if (problem := _storage_problem(value)) is not None:
            return [problem]
        return self.violations(value)

    @contextmanager
    def _limited(self, value: Any) -> Iterator[None]:
        if not self.may_be_slow:
            yield
            return
        with patterns.one_answer(), judging.limited(judging.size_of(value)):
            yield

    def violations(self, value: Any) -> list[str]:
        """The violations of a value, at most 20, as text with their paths; [] when it fits.

        Raises InvalidInput when the schema refers to something that it does not hold, or judging takes too long.
        """
        if self._fits is not None and self._fits(value):
            return self._checked(value)
        from referencing.exceptions import Unresolvable

        lines = (line for error in self._validator.iter_errors(value) for line in _messages_of(error))
        try:
            with self._limited(value):
                violations = list(islice(dict.fromkeys(lines), _MAX_VIOLATIONS))
        except patterns.PatternOverrun as error:
            # It backtracks without end, which happens where a text does not match.
            return [
                f"answer holds {_show(error.text)}, which does not match the pattern {error.pattern} "
                f"(given up after {patterns.SECONDS:g} s: the pattern tries too many ways)"
            ]
        except judging.JudgingOverrun:
            raise InvalidInput(
                "judging the answer by its schema takes too long and was given up: its alternatives refer to "
                "alternatives, which multiplies them",
                hint="Nest fewer anyOf and oneOf, or tell them apart by a property with a constant.",
            ) from None
        except Unresolvable as error:
            raise InvalidInput(
                f"the schema of the answer refers to {error.ref!r}, which is not in it",
                hint="Put the definition under $defs and refer to #/$defs/NAME; nothing is fetched.",
            ) from None
        return violations or self._checked(value)

    def _checked(self, value: Any) -> list[str]:
        """What `check` finds wrong with a value that fits the schema."""
        return list(self._check(value))[:_MAX_VIOLATIONS] if self._check is not None else []


@lru_cache(maxsize=1)
def _format_checker() -> FormatChecker:
    from jsonschema import FormatChecker

    checker = FormatChecker(formats=())
    for name, kind in FORMATS.items():
        checker.checks(name)(kind.fits)
    return checker


def _multiplies(schema: object) -> bool:
    """Whether a few lines may be millions of ways (by references), or elements are compared in pairs."""
    text = json.dumps(schema)
    return any(word in text for word in ('"$ref"', '"$dynamicRef"', '"$recursiveRef"', '"uniqueItems"'))


@lru_cache(maxsize=256)
def _compiled(text: str) -> AnswerValidator:
    return AnswerValidator(json.loads(text))


def answer_validator(schema: Mapping[str, Any]) -> AnswerValidator:
    """The validator of a schema; the same object for the same content."""
    return _compiled(json.dumps(schema))


def reask(violations: Sequence[str]) -> str:
    """The message that asks a model to correct its answer."""
    lines = "\n".join(f"- {violation}" for violation in violations)
    return f"Your answer does not fit:\n{lines}\nAnswer again with the whole corrected JSON and nothing else."


def _messages_of(error: ValidationError) -> Iterator[str]:
    """The violations in one error of the validator, as text for people."""
    path = "answer" + "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in error.absolute_path)
    rule, limit, value = str(error.validator), error.validator_value, error.instance
    if rule in _RULES and (rule != "additionalProperties" or limit is False):
        yield from (f"{path} {text}" for text in _RULES[rule](value, limit, error.schema))
    elif rule in _LIMITS:
        size = len(value) if isinstance(value, str | list | dict) else value
        yield f"{path} {_LIMITS[rule].format(limit=limit, size=size)}"
    elif rule == "format":
        yield f"{path} is {_show(value)}, not {FORMATS[str(limit)].described}"
    elif rule in ("anyOf", "oneOf") and error.context:
        nearest = next(iter(_messages_of(min(error.context, key=lambda e: -len(e.absolute_path)))), "")
        yield f"{path} fits none of the allowed shapes" + (f" (nearest: {nearest})" if nearest else "")
    else:
        yield f"{path}: {error.message:.200}"


def _missing(value: Any, names: Any, schema: Any) -> Iterator[str]:
    return (f"has no {_show(name)}" for name in names if name not in value)


def _not_allowed(value: Any, allowed: Any, schema: Any) -> Iterator[str]:
    names = list((schema.get("properties") or {}).keys())
    extra = [n for n in value if n not in names and not _matches_pattern(schema, n)]
    return (f"must not have {_show(n)}{did_you_mean(n, names)}" for n in extra)


def _not_in_enum(value: Any, members: Any, schema: Any) -> Iterator[str]:
    yield f"is {_show(value)}, not one of {', '.join(map(_show, members[:20]))}"


def _not_the_constant(value: Any, constant: Any, schema: Any) -> Iterator[str]:
    yield f"is {_show(value)}, not {_show(constant)}"


def _wrong_type(value: Any, types: Any, schema: Any) -> Iterator[str]:
    names = [_TYPES.get(t, str(t)) for t in (types if isinstance(types, list) else [types])]
    yield f"is {_show(value)}, not {' or '.join(names)}"


# Called with the value, what the schema says under the keyword, and the schema around it.
_RULES: Mapping[str, Callable[[Any, Any, Any], Iterator[str]]] = {
    "required": _missing,
    "additionalProperties": _not_allowed,
    "enum": _not_in_enum,
    "const": _not_the_constant,
    "type": _wrong_type,
}
_LIMITS = {
    "maxLength": "has {size} characters, at most {limit} are allowed",
    "minLength": "has {size} characters, at least {limit} are needed",
    "maxItems": "has {size} elements, at most {limit} are allowed",
    "minItems": "has {size} elements, at least {limit} are needed",
    "maximum": "is {size}, at most {limit} is allowed",
    "minimum": "is {size}, at least {limit} is needed",
    "pattern": "does not match the pattern {limit}",
    "uniqueItems": "has the same element twice",
}


def _matches_pattern(schema: Mapping[str, Any], name: str) -> bool:
    return any(patterns.matches(pattern, name) for pattern in schema.get("patternProperties") or {})


def _show(value: Any) -> str:
    """A value as JSON, at most 80 characters of it."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else text[:80] + "…"
