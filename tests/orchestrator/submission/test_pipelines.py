"""The pipeline library: each owner's own names, a revision for each content."""

from __future__ import annotations

import asyncio

import pytest

from po_jupyter.config import Settings
from po_jupyter.errors import InvalidPipeline, NotFound
from po_jupyter.model.pipeline.parsing import validate_pipeline
from po_jupyter.orchestrator.examination.operations import examine_here
from po_jupyter.orchestrator.submission.pipelines import PipelineLibrary, PipelineRegistry
from po_jupyter.store.keyed.memory import MemoryStore
from tests.support.orchestrator import Anyone

GREET = {"name": "greet", "tasks": [{"name": "say", "prompt": "Hello"}]}


@pytest.fixture
def registry() -> PipelineRegistry:
    return PipelineRegistry(MemoryStore())


def put(registry: PipelineRegistry, owner: str = "me", **changes: object) -> tuple[str, bool]:
    document, fresh = registry.put(validate_pipeline({**GREET, **changes}), owner)
    return document["revision"], fresh


def test_a_group_sees_nothing_of_one_whose_name_begins_with_its_own(registry: PipelineRegistry) -> None:
    put(registry, "group:ops/secret")
    assert registry.summaries("group:ops") == []
    with pytest.raises(NotFound):
        registry.pipeline("secret/greet", "group:ops")
    assert registry.pipeline("greet", "group:ops/secret").name == "greet"


def test_the_same_content_again_changes_nothing(registry: PipelineRegistry) -> None:
    """A notebook that registers in its first cell makes no new revision each time it is run."""
    first = put(registry)
    before = registry.get("greet", "me")
    assert put(registry) == (first[0], False)
    assert registry.get("greet", "me") == before
    other, fresh = put(registry, version="2.0.0")
    assert (other == first[0], fresh) == (False, False)
    assert registry.get("greet", "me")["version"] == "2.0.0"


def test_what_was_registered_comes_back_as_it_was(registry: PipelineRegistry) -> None:
    pipeline = validate_pipeline({**GREET, "llm": {"model": "fake:echo"}, "budget": {"usd": 1.5}})
    registry.put(pipeline, "me")
    assert registry.pipeline("greet", "me") == pipeline
    document = registry.get("greet", "me")
    assert document["revision"] == pipeline.revision
    assert document["tasks"][0]["name"] == "say"


def test_each_owner_has_names_of_his_own(registry: PipelineRegistry) -> None:
    """P6."""
    put(registry, "a")
    put(registry, "a/b", version="2.0.0")
    assert [s["version"] for s in registry.summaries("a/b")] == ["2.0.0"]
    assert registry.summaries("c") == []
    with pytest.raises(NotFound):
        registry.get("greet", "c")
    registry.delete("greet", "a/b")
    assert [s["name"] for s in registry.summaries("a")] == ["greet"]


def test_a_name_that_is_not_there_is_told_with_those_that_are(registry: PipelineRegistry) -> None:
    """P11."""
    with pytest.raises(NotFound) as caught:
        registry.get("greet", "me")
    assert caught.value.hint.startswith("No pipeline is registered yet; a cell")
    put(registry)
    for act in (registry.get, registry.pipeline, registry.delete):
        with pytest.raises(NotFound, match="did you mean `greet`") as caught:
            act("gret", "me")
        assert caught.value.hint == "Registered: greet"


def test_lists_are_by_name_and_name_the_tasks(registry: PipelineRegistry) -> None:
    put(registry, name="b")
    put(registry, name="a")
    first, second = registry.summaries("me")
    assert (first["name"], second["name"], first["tasks"]) == ("a", "b", ["say"])
    assert first["revision"] == registry.get("a", "me")["revision"]


async def test_a_definition_without_a_name_gets_that_of_its_place() -> None:
    library = PipelineLibrary(
        PipelineRegistry(MemoryStore()),
        Settings(),
        asyncio.to_thread,
        examine=examine_here,
        examining=Anyone(),
    )
    document, fresh = await library.put("here", {"tasks": GREET["tasks"]}, owner="me")
    assert (document["name"], fresh) == ("here", True)
    assert (await library.get("here", owner="me")) == document
    with pytest.raises(InvalidPipeline):
        await library.put("there", {"tasks": []}, owner="me")
    assert [s["name"] for s in await library.summaries(owner="me")] == ["here"]
    await library.delete("here", owner="me")
    assert await library.summaries(owner="me") == []


def test_the_same_pipeline_again_gives_it_the_rights_of_who_has_more() -> None:
    """C1: and takes none away from what was there, older documents among it."""
    store = MemoryStore()
    registry = PipelineRegistry(store)
    pipeline = validate_pipeline(GREET)
    for code_allowed, then in ((False, False), (True, True), (False, True)):
        registry.put(pipeline, "local", code_allowed=code_allowed)
        assert registry.code_allowed("greet", "local") is then
    document = dict(store.get("pipeline", "local/greet") or {})
    del document["code_allowed"]
    store.put("pipeline", "local/greet", document)
    assert registry.code_allowed("greet", "local")


async def test_registering_inlines_the_pipelines_that_tasks_run() -> None:
    """The registered one stays what it was, whatever becomes of the other."""
    registry = PipelineRegistry(MemoryStore())
    settings = Settings()
    library = PipelineLibrary(
        registry, settings, asyncio.to_thread,
        examine=lambda examination: examine_here(examination, settings), examining=Anyone(),
    )  # fmt: skip
    await library.put("greet", GREET, owner="me")
    outer = "tasks:\n  - name: t\n    pipeline: greet\n"
    document, _ = await library.put("outer", outer, owner="me")
    assert document["tasks"][0]["pipeline"] == GREET
    await library.delete("greet", owner="me")
    assert registry.pipeline("outer", "me").tasks[0].kind == "pipeline"
    with pytest.raises(InvalidPipeline, match="there is no pipeline 'greet'") as raised:
        await library.put("other", outer, owner="me")
    assert raised.value.violations[0].line == 3
    with pytest.raises(InvalidPipeline, match="cannot run itself: outer → outer"):
        await library.put("outer", outer.replace("greet", "outer"), owner="me")
