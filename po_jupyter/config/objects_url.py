"""The place of files that nodes share, as the setting `blobs` names it: a bucket or a directory, without a secret."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import unquote

from pydantic import BeforeValidator

_OBJECTS = (
    "is s3://BUCKET/PREFIX or the full path of a directory; credentials and endpoint go into AWS's own variables "
    "(AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL)"
)
_BUCKET = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]{1,254}")


def _of_objects(value: Any) -> Any:
    if not isinstance(value, str | Path):
        return value
    text = str(value).strip()
    if text.startswith("file://"):
        text = unquote(text.removeprefix("file://"))
    if "://" not in text:
        path = Path(text).expanduser()
        if not text or "\0" in text or not path.is_absolute():
            raise ValueError(_OBJECTS)
        return str(path)
    bucket, _, prefix = text.removeprefix("s3://").partition("/")
    if not text.startswith("s3://") or not _BUCKET.fullmatch(bucket) or set("?#@\0\\") & set(prefix):
        raise ValueError(_OBJECTS)
    if any(step in ("", ".", "..") for step in prefix.strip("/").split("/")) and prefix.strip("/"):
        raise ValueError(_OBJECTS)
    return text.rstrip("/")


ObjectsUrl = Annotated[str, BeforeValidator(_of_objects)]
