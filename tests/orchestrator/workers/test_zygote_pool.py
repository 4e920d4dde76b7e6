"""The zygotes of an orchestrator, by interpreter: one each, and a clear word where there can be none."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from po_jupyter.errors import InvalidInput, SpawnFailed, VersionMismatch
from po_jupyter.orchestrator.workers.zygote_pool import ZygotePool
from po_jupyter.worker.zygote import version

pytestmark = pytest.mark.integration


@pytest.fixture
async def pool(tmp_path: Path) -> AsyncIterator[ZygotePool]:
    pool = ZygotePool(tmp_path / "logs")
    yield pool
    await pool.close()


def interpreter(folder: Path, modules: dict[str, str]) -> str:
    """A Python that has the modules of a `po_jupyter` of its own, and none of ours."""
    for name, source in {"po_jupyter/__init__.py": "", **modules}.items():
        path = folder / "site" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
        (path.parent / "__init__.py").touch()
    program = folder / "python"
    program.write_text(f'#!/bin/sh\nPYTHONPATH={folder / "site"} exec {sys.executable} -S "$@"\n')
    program.chmod(0o755)
    return str(program)


def greeting(version: str, protocol: int = 1) -> str:
    return (
        "import json, os, sys\n"
        f"hello = json.dumps({{'op': 'hello', 'version': {version!r}, 'protocol': {protocol}}})\n"
        "os.write(int(sys.argv[1]), hello.encode() + b'\\n')\n"
        "sys.stdin.read()\n"
    )


async def test_one_zygote_serves_everybody_and_a_dead_one_is_replaced(pool: ZygotePool) -> None:
    first, second = await asyncio.gather(pool.get(None), pool.get(sys.executable))
    assert first is second
    assert pool.pids() == [first.pid]
    first._process.kill()
    async with asyncio.timeout(10):
        while first.alive:
            await asyncio.sleep(0.01)
    assert (await pool.get(None)).pid != first.pid


async def test_an_older_package_says_its_version_under_the_former_name(
    pool: ZygotePool, tmp_path: Path
) -> None:
    """Version 0.1.0 and before have no `po_jupyter.worker`."""
    old = interpreter(tmp_path, {"po_jupyter/orchestrator/zygote.py": greeting("0.0.9")})
    with pytest.raises(
        VersionMismatch, match=rf"has po_jupyter 0\.0\.9, this orchestrator is {version()}"
    ) as raised:
        await pool.get(old)
    assert raised.value.hint == f"{old} -m pip install po_jupyter=={version()}"
    assert raised.value.details == {"interpreter": old, "theirs": "0.0.9", "ours": version()}


async def test_a_newer_package_says_its_version(pool: ZygotePool, tmp_path: Path) -> None:
    new = interpreter(tmp_path, {"po_jupyter/worker/zygote.py": greeting("99.0", protocol=2)})
    with pytest.raises(VersionMismatch, match=r"has po_jupyter 99\.0"):
        await pool.get(new)


async def test_a_package_without_any_zygote_is_not_taken_for_none(pool: ZygotePool, tmp_path: Path) -> None:
    with pytest.raises(VersionMismatch, match="incomplete or very old po_jupyter"):
        await pool.get(interpreter(tmp_path, {}))


async def test_a_package_that_cannot_be_imported_says_why(pool: ZygotePool, tmp_path: Path) -> None:
    """A dependency that is missing there is not a po_jupyter that is missing."""
    broken = interpreter(tmp_path, {"po_jupyter/worker/zygote.py": "import no_such_dependency\n"})
    with pytest.raises(SpawnFailed, match="No module named 'no_such_dependency'"):
        await pool.get(broken)


async def test_a_pool_that_is_closed_starts_nothing(pool: ZygotePool, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no Python interpreter at"):
        await pool.get(str(tmp_path / "nowhere"))
    slow = interpreter(tmp_path, {"po_jupyter/worker/zygote.py": "import time\ntime.sleep(60)\n"})
    starting = asyncio.create_task(pool.get(slow))
    await asyncio.sleep(0.2)
    await pool.close()
    with pytest.raises(SpawnFailed, match="is stopping"):
        await starting
    with pytest.raises(SpawnFailed, match="is stopping"):
        await pool.get(None)
