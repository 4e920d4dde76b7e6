"""Paths find their routes."""

from __future__ import annotations

from po_jupyter.server.routes import TABLE


def test_a_path_finds_its_route_and_its_parts() -> None:
    match = TABLE.match("GET", "runs/abc/artifacts/out/a.txt")
    assert isinstance(match, tuple)
    route, parts = match
    assert (route.name, parts) == ("artifact", {"id": "abc", "path": "out/a.txt"})
    assert TABLE.match("PATCH", "runs") == ["POST", "GET"], "the methods that there are"
    assert TABLE.match("GET", "runs/abc/outputs/more") == []
    assert TABLE.match("GET", "runs/" + "x" * 201) == []
    assert TABLE.suggest("pipeline") == "; did you mean `pipelines`?"


def test_a_word_of_its_own_weighs_more_than_an_id() -> None:
    match = TABLE.match("GET", "runs/export")
    assert isinstance(match, tuple)
    assert match[0].name == "export"
