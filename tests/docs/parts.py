"""Parts of pages that people write, made from the code: the rooms, the worker's messages, the notebook's provider."""

from __future__ import annotations

import ast
import dataclasses
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from po_jupyter.ipc import messages
from po_jupyter.model.editing.schema import pipeline_schema
from tests.docs.schema_text import first_paragraph, markdown_table
from tests.support.paths import ROOT

ARCHITECTURE = ROOT / "po_jupyter" / "docs" / "design" / "architecture.md"
PROTOCOL = ARCHITECTURE.with_name("worker-protocol.md")
PROVIDER = ARCHITECTURE.with_name("writing-a-provider.md")
SCHEMA = ROOT / "po_jupyter" / "docs" / "reference" / "pipeline.schema.json"
_ROOMS = re.compile(r"(<!-- rooms: .*? -->\n).*?(<!-- end of rooms -->)", re.S)
_OTHER_ROOMS = ("errors", "providers")  # rooms of one module


def rooms() -> Iterator[tuple[str, str]]:
    """Each room and sub-room with the first sentence of its docstring."""
    package = ROOT / "po_jupyter"
    modules = [path for name in _OTHER_ROOMS if (path := package / f"{name}.py").is_file()]
    for path in sorted([*package.rglob("*/__init__.py"), *modules], key=lambda p: p.with_suffix("").parts):
        room = path.parent if path.name == "__init__.py" else path.with_suffix("")
        doc = ast.get_docstring(ast.parse(path.read_text("utf-8")))
        yield ".".join(room.relative_to(package).parts), _first_sentence(doc)


def _first_sentence(doc: str | None) -> str:
    return re.split(r"(?<=\.)\s", f"{first_paragraph(doc)} ", maxsplit=1)[0]


def architecture_page() -> str:
    """The page of the architecture with the table of rooms as the code has them."""
    rows = [[f"`{name}`" if "." in name else f"**`{name}`**", sentence] for name, sentence in rooms()]
    table = markdown_table(["room", "what it is"], rows)
    return _ROOMS.sub(lambda m: f"{m[1]}\n{table}\n\n{m[2]}", ARCHITECTURE.read_text("utf-8"))


_MESSAGES = re.compile(r"(<!-- messages: .*? -->\n).*?(<!-- end of messages -->)", re.S)


def _message_row(message: type[messages.IpcMessage]) -> list[str]:
    direction, _, meaning = " ".join((message.__doc__ or "").split()).partition(": ")
    named = [f.name + ("" if f.default is dataclasses.MISSING else "?") for f in dataclasses.fields(message)]
    return [f"`{message.op}`", direction, ", ".join(f"`{name}`" for name in named), meaning]


def protocol_page() -> str:
    """The page of the worker's protocol, with every message."""
    classes = [
        value
        for value in vars(messages).values()
        if isinstance(value, type) and issubclass(value, messages.IpcMessage) and hasattr(value, "op")
    ]
    table = markdown_table(["op", "direction", "fields", "meaning"], map(_message_row, classes))
    return _MESSAGES.sub(lambda m: f"{m[1]}\n{table}\n\n{m[2]}", PROTOCOL.read_text("utf-8"))


def provider_page() -> str:
    """The page for authors of providers, with the provider that notebook 04 writes and runs."""
    cells = json.loads((ROOT / "notebooks" / "04-models-and-money.ipynb").read_text("utf-8"))["cells"]
    (source,) = ["".join(c["source"]) for c in cells if "".join(c["source"]).startswith("%%writefile")]
    code = source.partition("\n")[2].strip()
    text = PROVIDER.read_text("utf-8")
    return re.sub(r"(?s)(^```python\n).*?(\n```$)", lambda m: f"{m[1]}{code}{m[2]}", text, count=1, flags=re.M)


def schema_file() -> str:
    """The JSON Schema of pipelines, for editors."""
    return json.dumps(pipeline_schema(), indent=2, ensure_ascii=False) + "\n"


# Pages that people write, with a part that is made; and the schema, all of which is.
PARTS: dict[Path, Callable[[], str]] = {
    ARCHITECTURE: architecture_page,
    PROTOCOL: protocol_page,
    PROVIDER: provider_page,
    SCHEMA: schema_file,
}
