"""Descriptors of this process."""

from __future__ import annotations

import sys

import pytest

from po_jupyter.platform import open_files

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="platform: nothing limits them")


def test_more_descriptors_are_allowed_but_never_fewer() -> None:
    import resource

    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
        open_files.raise_limit(300)
        assert open_files.limit() == 300
        open_files.raise_limit(200)
        assert open_files.limit() == 300
        left = open_files.left()
        assert left is not None and 0 < left < 300
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
