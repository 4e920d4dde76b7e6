"""The page of the architecture shows the house as it stands."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from tests.docs.parts import ARCHITECTURE, rooms
from tests.support.paths import TESTS

TEXT = ARCHITECTURE.read_text("utf-8")


def test_every_room_says_what_it_is() -> None:
    assert [name for name, sentence in rooms() if len(sentence) < 10] == []


def test_every_room_of_the_top_is_on_its_floor() -> None:
    floors = TEXT.partition("## The floors")[2].partition("```text")[2].partition("```")[0]
    tops = {name for name, _ in rooms() if "." not in name} - {"providers", "testing", "docs"}
    assert tops == set(re.findall(r"[a-z_]+", re.sub(r"^\w+(?: \w+)?  +|\(.*?\)", "", floors, flags=re.M)))


def test_the_picture_is_a_picture_and_names_rooms() -> None:
    (name,) = re.findall(r"\]\((\w+\.svg)\)", TEXT)
    root = ElementTree.fromstring((ARCHITECTURE.parent / name).read_text("utf-8"))
    names = {node.text for node in root.iter("{http://www.w3.org/2000/svg}text") if node.get("class") == "name"}
    tops = {name for name, _ in rooms()}
    assert {part for text in names for part in str(text).split(", ")} - {"panel"} <= tops


def test_every_promise_has_tests_that_name_it() -> None:
    rows = re.findall(r"^\| (P\d+) \| .*? \| `(test_\w+)` \|$", TEXT, re.M)
    assert [promise for promise, _ in rows] == [f"P{n}" for n in range(1, 13)]
    tests = "\n".join(path.read_text("utf-8") for path in TESTS.rglob("test_*.py"))
    for promise, test in rows:
        body = re.search(rf"def {test}\((?:.|\n)*?(?=\n(?:async )?def |\n@|\nclass |\Z)", tests)
        assert body is not None, f"{promise}: there is no {test}"
        assert re.search(rf"\b{promise}\b", body[0]), f"{test} does not name {promise}"
