"""Objects in a bucket of S3, or of something that speaks like it (extra `s3`).

Endpoint, region and credentials are those of AWS's variables (`AWS_ENDPOINT_URL`, `AWS_REGION`, `AWS_ACCESS_KEY_ID`,
...), or of the machine's role. What a server answers may name keys, so of an error only its code is told.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, BinaryIO

import obstore
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import S3Store

from po_jupyter.errors import NotFound, Unavailable
from po_jupyter.store.objects.protocol import PART, PIECE, ObjectInfo

_CODE = re.compile(r"<Code>([A-Za-z]{1,60})</Code>")
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
_MISSING = frozenset({"", "NoSuchKey", "NotFound"})  # what a missing object is called; NoSuchBucket is not
_CREDENTIALS = "Look at AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY where the server starts, or at its role."
_HINTS = {
    "NoSuchBucket": "Make the bucket, or name another one in PO_BLOBS.",
    "AccessDenied": "The credentials need s3:GetObject, PutObject, DeleteObject and ListBucket there.",
    "NoCredentials": _CREDENTIALS,
    "PermanentRedirect": "Set AWS_REGION to the region of the bucket.",
}
_REFUSED = frozenset(
    {"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "InvalidClientTokenId"}
)


_CODES: Mapping[type[Exception], str] = {  # where an answer has no text, as to HEAD
    PermissionDeniedError: "AccessDenied",
    UnauthenticatedError: "InvalidToken",
}


class BucketObjects:
    """The objects below `prefix` of a bucket."""

    def __init__(self, bucket: str, prefix: str, environ: Mapping[str, str] = os.environ) -> None:
        """Nothing is asked yet."""
        self.place = f"s3://{bucket}/{prefix}".rstrip("/")
        self._bucket = bucket
        endpoint = next((environ[name] for name in _ENDPOINTS if environ.get(name)), None)
        options: dict[str, Any] = {"endpoint": endpoint} if endpoint else {}
        self._store = S3Store(
            bucket,
            prefix=prefix or None,
            client_options={
                "allow_http": bool(endpoint) and str(endpoint).startswith("http://"),
                "connect_timeout": "5s",
                "timeout": "120s",
            },
            # Whoever asks tries again, and says so: here only what a blink of the network was.
            retry_config={"max_retries": 2},
            **options,
        )

    def put(self, key: str, file: BinaryIO, size: int) -> None:
        """See `ObjectStore`."""
        with self._errors(key):
            if size <= PART:
                obstore.put(self._store, key, file.read(size), use_multipart=False)
            else:
                obstore.put(self._store, key, file, chunk_size=PART, max_concurrency=2)

    def read(self, key: str) -> Iterator[bytes]:
        """See `ObjectStore`."""
        with self._errors(key):
            for piece in obstore.get(self._store, key).stream(min_chunk_size=PIECE):
                yield bytes(piece)

    def info(self, key: str) -> ObjectInfo | None:
        """See `ObjectStore`."""
        try:
            with self._errors(key):
                found = obstore.head(self._store, key)
        except NotFound:
            return None
        return ObjectInfo(key, found["size"], found["last_modified"].timestamp())

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """See `ObjectStore`."""
        with self._errors(prefix):
            for page in obstore.list(self._store, prefix, chunk_size=1000):
                for found in page:
                    yield ObjectInfo(found["path"], found["size"], found["last_modified"].timestamp())

    def copy(self, source: str, target: str) -> None:
        """See `ObjectStore`."""
        with self._errors(source):
            obstore.copy(self._store, source, target)

    def remove(self, keys: Sequence[str]) -> None:
        """See `ObjectStore`."""
        if keys:
            with self._errors(keys[0]):
                obstore.delete(self._store, list(keys))

    @contextlib.contextmanager
    def _errors(self, key: str) -> Iterator[None]:
        try:
            yield
        except (BaseError, OSError, ValueError) as error:
            raise self._error(error, key) from None  # its text may have an address, a key id, a signature

    def _error(self, error: Exception, key: str) -> NotFound | Unavailable:
        found = _CODE.search(str(error))
        code = found[1] if found else _CODES.get(type(error), "")
        if isinstance(error, FileNotFoundError) and code in _MISSING:
            return NotFound(f"there is no object {key} in {self.place}")
        if code == "NoSuchBucket":
            reason = f"there is no bucket {self._bucket}"
        elif code in _REFUSED:
            reason = f"the credentials are refused ({code})"
        elif code:
            reason = f"it answers with {code}"
        elif "credential" in str(error).lower() or "169.254.169.254" in str(error):
            code, reason = "NoCredentials", "there are no credentials"
        else:
            reason = "it does not answer"
        hint = _HINTS.get(
            code, _CREDENTIALS if code in _REFUSED else "Look at AWS_ENDPOINT_URL and the network."
        )
        return Unavailable(
            f"{self.place} cannot be used: {reason}", hint=hint, details={"refused": code} if code else None
        )
