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
_ALWAYS_INLINE = 1000  # values of a list of numbers and short texts; nothing is written for those
_COLUMNS_OF = 100  # rows that say which columns there are


class RowFile(NamedTuple):
    """A list of the seed's data as a file of JSON lines."""

    file: IO[bytes]
    ref: RowFileRef


def write_rows(rows: list[Any]) -> RowFile | None:
    """The rows as a file, or None when they are few enough to stay in the request."""
    if len(rows) <= _ALWAYS_INLINE and all(not isinstance(r, dict | list | str) for r in rows):
        return None
    file = tempfile.SpooledTemporaryFile(max_size=INLINE + 1, mode="w+b")  # noqa: SIM115  # closed by its owner
    digest = hashlib.sha256()
    size = 0
    for row in rows:
        line = json.dumps(row, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        data = line.encode("utf-8", "surrogatepass") + b"\n"
        digest.update(data)
        size += len(data)
        file.write(data)
    if size <= INLINE:
        file.close()
        return None
    columns = dict.fromkeys(k for row in rows[:_COLUMNS_OF] if isinstance(row, dict) for k in row)
    return RowFile(file, RowFileRef(digest.hexdigest(), len(rows), tuple(columns)))


async def upload_rows(aio: AsyncClient, seed: Seed) -> Seed:
    """The seed with a reference in the place of each large list, whose file the orchestrator has by then."""
    data = dict(seed.data)
    async with AsyncExitStack() as stack:
        for key, value in seed.data.items():
            if isinstance(value, list):
                upload = await asyncio.to_thread(write_rows, value)
                if upload is not None:
                    stack.callback(upload.file.close)
                    await aio.put_rows(upload.file, upload.ref.sha256)
                    data[key] = upload.ref.to_json()
    return seed.model_copy(update={"data": data})
