"""The place of objects that the setting `blobs` names."""

from __future__ import annotations

from pathlib import Path

import structlog

from po_jupyter.errors import StoreUnusable, Unavailable
from po_jupyter.store.objects.directory import DirectoryObjects
from po_jupyter.store.objects.protocol import ObjectStore
from po_jupyter.store.objects.shared_files import PLACE, SharedFiles
from po_jupyter.store.protocol import DocumentStore

log = structlog.get_logger(__name__)

S3 = "s3://"


def open_objects(where: str) -> ObjectStore:
    """The objects at `s3://BUCKET/PREFIX`, or in a directory. Raises StoreUnusable: the extra or the directory is
    missing."""
    if not where.startswith(S3):
        return DirectoryObjects(Path(where))
    bucket, _, prefix = where.removeprefix(S3).partition("/")
    try:
        from po_jupyter.store.objects.bucket import BucketObjects
    except ImportError as error:
        raise StoreUnusable(
            f"files in {where} need {error.name}, which is not installed",
            hint="pip install 'po_jupyter[s3]'",
        ) from None
    return BucketObjects(bucket, prefix.strip("/"))


def open_shared_files(store: DocumentStore, where: str | None) -> SharedFiles | None:
    """The files that the nodes of a store share at `where`; None where it has none. Blocks.

    Raises StoreUnusable when the place refuses us, or is not where the store's files are. One that does not answer now
    is waited for by who needs it.
    """
    if where is None:
        known = store.get(*PLACE)
        if known is None:
            return None
        raise StoreUnusable(
            f"the files of this store are in {known['place']}, and this server was not told so",
            hint=f"Set PO_BLOBS={known['place']} for every server of the store.",
        )
    files = SharedFiles(store, open_objects(where))
    try:
        files.open()
    except Unavailable as error:
        if error.details.get("refused"):
            files.close()
            raise StoreUnusable(error.message, hint=error.hint) from None
        log.warning("the files that nodes share are away", place=files.place, error=error.message)
    except BaseException:
        files.close()
        raise
    return files
