"""R1.1: every invalid seed gets a clear error, all violations at once; the first system's seeds still work."""

import pytest

from po_jupyter.errors import InvalidSeed
from po_jupyter.model.run.seed import Seed, read_seed

FIRST_SYSTEM = {
    "name": "Market Analysis about Renewable Energy Storage",
    "pipeline": "content-generation",
    "data": {
        "type": "market-research",
        "focusAreas": ["Market size and growth"],
        "outputFormat": "executive-summary",
    },
}

MALFORMED: dict[str, tuple[object, list[str]]] = {
    "null": (None, ["not NoneType"]),
    "a list": ([], ["not list"]),
    "text": ("x", ["not str"]),
    "a number": (3, ["not int"]),
    "true": (True, ["not bool"]),
    "empty": ({}, ["a seed needs `name`", "a seed needs `data`"]),
    "no name": ({"data": {}}, ["a seed needs `name`"]),
    "no data": ({"name": "a"}, ["a seed needs `data`"]),
    "empty name": ({"name": "", "data": {}}, ["name: may not be empty"]),
    "long name": ({"name": "a" * 101, "data": {}}, ["name: may have at most 100 characters"]),
    "name a number": ({"name": 3, "data": {}}, ["name: needs text"]),
    "name null": ({"name": None, "data": {}}, ["name: needs text"]),
    "name half a character": ({"name": "\ud800", "data": {}}, ["unicode"]),
    "data a list": ({"name": "a", "data": []}, ["data: needs a mapping"]),
    "data text": ({"name": "a", "data": "x"}, ["data: needs a mapping"]),
    "data null": ({"name": "a", "data": None}, ["data: needs a mapping"]),
    "metadata a list": ({"name": "a", "data": {}, "metadata": []}, ["metadata: needs a mapping"]),
    "pipeline a number": ({"name": "a", "data": {}, "pipeline": 3}, ["pipeline: needs text"]),
    "something else": ({"name": "a", "data": {}, "x": 1}, ["`x` is not a field of a seed"]),
    "mistyped": (
        {"nme": "a", "dta": {}},
        ["did you mean `name`?", "did you mean `data`?", "needs `name`", "needs `data`"],
    ),
    "a key that is a number": ({"name": "a", "data": {}, 1: 2}, ["keys should be strings"]),
    "not a number": ({"name": "a", "data": {"x": [0, float("nan")]}}, ["data: `x[1]` is nan"]),
    "infinite": ({"name": "a", "data": {"x": float("-inf")}}, ["`x` is -inf"]),
    "a set": ({"name": "a", "data": {"x": {"y": {1}}}}, ["`x.y` is a set"]),
    "bytes": ({"name": "a", "data": {"x": b"y"}}, ["`x` is a bytes"]),
    "an object": ({"name": "a", "data": {"x": object()}}, ["`x` is a object"]),
    "a number as a deep key": (
        {"name": "a", "data": {"x": {(1, 2): 2}}},
        ["the key (1, 2) in `x` is not text"],
    ),
    "half a surrogate pair": ({"name": "a", "data": {"x": "\udfff"}}, ["half a surrogate pair"]),
    "metadata that is not JSON": ({"name": "a", "data": {}, "metadata": {"x": ...}}, ["`x` is a ellipsis"]),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_each_malformed_seed_has_one_clear_error(case: str) -> None:
    """R1.1, P11."""
    value, says = MALFORMED[case]
    with pytest.raises(InvalidSeed) as caught:
        read_seed(value)
    for part in says:
        assert part in str(caught.value)
    assert caught.value.hint, "it says what a seed looks like"
    assert caught.value.status == 400


def test_all_violations_come_at_once() -> None:
    """R1.1."""
    with pytest.raises(InvalidSeed) as caught:
        read_seed({"name": "", "data": 3, "metadata": 4, "pipeline": 5, "more": 6})
    assert sorted(v.where for v in caught.value.violations) == ["data", "metadata", "more", "name", "pipeline"]
    assert len(caught.value.details["violations"]) == 5
    assert str(caught.value).count("metadata:") == 1, "a place is named once"


def test_seeds_that_go_around_in_a_circle_are_refused() -> None:
    """P11."""
    circle: dict[str, object] = {}
    circle["self"] = circle
    with pytest.raises(InvalidSeed, match="nested deeper"):
        read_seed({"name": "a", "data": circle})


def test_a_seed_of_the_first_system_still_works() -> None:
    """R1.1: read unchanged."""
    seed = read_seed(FIRST_SYSTEM)
    assert seed.pipeline == "content-generation"
    assert seed.data["focusAreas"]
    assert read_seed(seed) is seed
    assert read_seed(seed.model_dump(exclude_none=True)) == seed


@pytest.mark.parametrize("name", ["a", "a" * 100, "Größe 7/8: ../x", "ティケット"])
def test_a_name_is_for_people(name: str) -> None:
    """R1.1: 1 to 100 characters, any."""
    assert read_seed({"name": name, "data": {}}).name == name


def test_a_seed_cannot_be_changed() -> None:
    seed = Seed(name="a", data={})
    with pytest.raises(ValueError, match="frozen"):
        seed.name = "b"
