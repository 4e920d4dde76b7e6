"""R3.3: a fork shares the zygote's memory as far as it does not write among the zygote's objects."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.integration

# Each page that a fork writes to is copied: 40 objects of 128 bytes in 40 holes are on 40 pages.
CODE = """
from po_jupyter.worker import zygote
neighbours = [bytes(80) for _ in range(5000)]
del neighbours[::32]
zygote.fill_holes()
print(len({id(block) // 4096 for block in [bytes(80) for _ in range(40)]}), sum(map(len, zygote._fillers)))
"""


@pytest.mark.parametrize(("allocator", "most_pages"), [("pymalloc", 5), ("malloc", 40)])
def test_new_objects_share_pages_when_the_holes_are_filled(allocator: str, most_pages: int) -> None:
    """With an allocator without pools nothing looks filled; what is taken has a bound all the same."""
    command = [sys.executable, "-c", CODE]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env={"PYTHONMALLOC": allocator})
    pages, size = map(int, done.stdout.split())
    assert pages <= most_pages
    assert size < 10_000_000
