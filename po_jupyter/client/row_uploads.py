"""Uploads of row files: large lists of a seed go to the orchestrator as files, once, and the request names them."""

from __future__ import annotations

import asyncio
import hashlib
import json
import tempfile
from contextlib import AsyncExitStack
from typing import IO, Any, NamedTuple

from po_jupyter.client.async_client import AsyncClient
from po_jupyter.model.run.row_file_ref import RowFileRef
from po_jupyter.model.run.seed import Seed

INLINE = 2**20  # bytes of JSON up to which a list stays in the request
_INDEX_INLINE = 2**16  # bytes of labels that stay: they come with every view of a run
_ALWAYS_INLINE = 1000  # values of a list of numbers and short texts; nothing is written for those
_COLUMNS_OF = 100  # rows that say which columns there are


class RowFile(NamedTuple):
    """A list of the seed's data as a file of JSON lines."""

    file: IO[bytes]
    ref: RowFileRef


def write_rows(rows: list[Any], inline: int = INLINE) -> RowFile | None:
    """The rows as a file, or None when they are few enough (`inline` bytes of JSON) to stay in the request."""
    if len(rows) <= _ALWAYS_INLINE and all(not isinstance(r, dict | list | str) for r in rows):
        return None
    file = tempfile.SpooledTemporaryFile(max_size=inline + 1, mode="w+b")  # noqa: SIM115  # closed by its owner
    digest = hashlib.sha256()
    size = 0
    for row in rows:
        line = json.dumps(row, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        data = line.encode("utf-8", "surrogatepass") + b"\n"
        digest.update(data)
        size += len(data)
        file.write(data)
    if size <= inline:
        file.close()
        return None
    columns = dict.fromkeys(k for row in rows[:_COLUMNS_OF] if isinstance(row, dict) for k in row)
    return RowFile(file, RowFileRef(digest.hexdigest(), len(rows), tuple(columns)))


async def upload_rows(aio: AsyncClient, seed: Seed) -> Seed:
    """The seed with a reference in the place of each large list, whose file the orchestrator has by then."""
    async with AsyncExitStack() as stack:

        async def uploaded(values: object, inline: int) -> Any:
            if not isinstance(values, list):
                return values
            upload = await asyncio.to_thread(write_rows, values, inline)
            if upload is None:
                return values
            stack.callback(upload.file.close)
            await aio.put_rows(upload.file, upload.ref.sha256)
            return upload.ref.to_json()

        data = {key: await uploaded(value, INLINE) for key, value in seed.data.items()}
        index = {
            path: {
                **labels,
                "levels": [
                    {**level, "values": await uploaded(level["values"], _INDEX_INLINE)}
                    if "values" in level
                    else level
                    for level in labels["levels"]
                ],
            }
            for path, labels in (seed.index or {}).items()
        }
    return seed.model_copy(update={"data": data, "index": index or None})
