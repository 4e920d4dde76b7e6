"""Formats: judged like every other keyword of a schema (A3)."""

from __future__ import annotations

import datetime as dt
import decimal
import uuid
from ipaddress import IPv4Address
from typing import Any

import pytest
from pydantic import AnyUrl, BaseModel, HttpUrl, Json, TypeAdapter

from po_jupyter.llm.structured.example_value import example_value
from po_jupyter.llm.structured.formats import FORMATS
from po_jupyter.llm.structured.parsing import AnswerValidator

WRONG = {
    "date": ["next Friday", "2026-02-30", "20260531", "31.05.2026", "2026-5-1", "2026-05-31T00:00:00", ""],
    "time": ["noon", "25:00:00", "12:60", "1:30", "12:00:00+99:00"],
    "date-time": ["tomorrow", "2026-05-31", "2026-13-01T00:00:00Z", "2026-05-31T25:00:00Z", "1700000000"],
    "duration": ["two days", "P", "PT", "1D", "P1H", "PT1D"],
    "email": [
        "someone",
        "@example.com",
        "a b@example.com",
        "a@",
        "a@b c.de",
        "a@-b.de",
        "a@@b.de",
        "Ann <a@b.de>",
    ],
    "name-email": ["Ann", "Ann <ann>"],
    "hostname": ["a b", "-a.de", "a..b", "a_/b", ""],
    "ipv4": ["1.2.3", "256.1.1.1", "::1"],
    "ipv6": ["1.2.3.4", "12345::"],
    "uri": ["not a link", "example.com/a", "http://", "http:example.com", "https://a b", "/a"],
    "uri-reference": ["a b", "<a>"],
    "uuid": ["123", "g2345678-1234-4234-8234-123456789abc", "12345678-1234-4234-8234"],
    "uuid4": ["12345678-1234-1234-8234-123456789abc"],
    "json-pointer": ["a", "/~2"],
    "regex": ["(", "[a"],
    "json-string": ["{", "nope"],
    "base64": ["%%", "a"],
    "base64url": ["%%"],
}
RIGHT = {
    "time": ["14:30", "14:30:00", "14:30:00.123456", "14:30:00Z", "14:30:00+02:00", "23:59:60Z"],
    "date-time": [
        "2026-05-31T14:30:00",
        "2026-05-31 14:30",
        "2026-05-31t14:30:00.5z",
        "2026-05-31T14:30:00-05:00",
    ],
    "duration": ["P1D", "PT1.5S", "P1Y2M3DT4H5M6S", "P2W", "-P1D", "P1DT0.000005S"],
    "email": ["a@b", "o'hara+x@example.co.uk", "jürgen@münchen.de", '"a b"@example.com', "a@[192.0.2.1]"],
    "hostname": ["localhost", "a-b.example.com", "münchen.de"],
    "uri": ["mailto:a@b.de", "urn:isbn:1", "https://example.com/ä?q=1#x", "HTTP://EXAMPLE.COM"],
    "uuid": ["12345678123442348234123456789abc", "12345678-1234-4234-8234-123456789ABC"],
    "base64url": ["YQ", "_-8="],
}


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_takes_its_example_and_refuses_what_is_none(name: str) -> None:
    answer = AnswerValidator({"type": "string", "format": name})
    for text in (FORMATS[name].example, *RIGHT.get(name, ())):
        assert answer.violations(text) == [], text
    for text in WRONG.get(name, ()):
        (violation,) = answer.violations(text)
        assert FORMATS[name].described in violation


def test_a_violation_names_place_and_an_example() -> None:
    schema = {"type": "object", "properties": {"due": {"type": "string", "format": "date"}}}
    assert AnswerValidator(schema).violations({"due": "next Friday"}) == [
        'answer.due is "next Friday", not a date such as 2026-05-31'
    ]
    nullable = {"properties": {"due": {"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]}}}
    assert AnswerValidator(nullable).violations({"due": None}) == []
    assert "not a date" in AnswerValidator(nullable).violations({"due": "soon"})[0]


def test_other_types_and_unknown_formats_are_not_judged() -> None:
    assert AnswerValidator({"format": "date"}).violations(3) == []
    assert AnswerValidator({"format": "our-own"}).violations("x") == []


class Everything(BaseModel):
    date: dt.date
    time: dt.time
    at: dt.datetime
    span: dt.timedelta
    id: uuid.UUID
    link: HttpUrl
    uri: AnyUrl
    ip: IPv4Address
    price: decimal.Decimal
    data: Json[Any]


VALUES = Everything(
    date="2026-05-31", time="14:30:01.000005+02:00", at="2026-05-31T14:30:00", span=dt.timedelta(-1, 3, 5),
    id=uuid.uuid4(), link="https://example.com", uri="mailto:a@b.de", ip="192.0.2.1", price="1.50", data="[1]",
)  # fmt: skip


def test_what_pydantic_writes_fits() -> None:
    """What a class would take is not refused before it is asked, for what models write."""
    schema = TypeAdapter(Everything).json_schema()
    answer = VALUES.model_dump(mode="json", round_trip=True)
    assert AnswerValidator(schema).violations(answer) == []
    Everything.model_validate(answer)


def test_the_example_of_a_schema_with_formats_fits_the_class() -> None:
    """The fake model's answers go through the same checks."""
    schema = TypeAdapter(Everything).json_schema()
    example = {**example_value(schema), "price": "1.5", "data": "[1]"}  # a pattern, and what no format says
    assert AnswerValidator(schema).violations(example) == []
    Everything.model_validate(example)
