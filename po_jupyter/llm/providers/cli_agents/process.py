"""The process of a CLI agent: started in a group of its own, fed by stdin, read by lines, ended as a group."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping

from po_jupyter.errors import ModelRefused, ModelUnavailable
from po_jupyter.llm.wire.bodies import MAX_ANSWER
from po_jupyter.platform import processes

_MAX_STDERR = 64 * 1024
_GRACE = 2.0  # seconds between asking an agent to stop and ending it


async def run_agent(
    command: list[str],
    prompt: str,
    on_line: Callable[[bytes], None],
    *,
    name: str,
    directory: str,
    environ: Mapping[str, str],
    seconds: float,
) -> tuple[int, str]:
    """Run an agent to its end: (exit status, the first 64 KB of stderr).

    `on_line` is called with each line of stdout. The whole process group is gone when this returns or raises.
    Raises ModelRefused when the agent cannot be started or writes too much, ModelUnavailable after `seconds`.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=directory,
            env=environ,
            start_new_session=True,
        )
    except OSError as error:
        raise ModelRefused(f"{name} cannot be started: {error.strerror}") from None
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        async with asyncio.timeout(seconds):
            _, stderr, _ = await asyncio.gather(
                _read_lines(process.stdout, on_line, name),
                _read_beginning(process.stderr),
                _write(process.stdin, prompt.encode("utf-8", "replace")),
            )
            return await process.wait(), stderr
    except TimeoutError:
        raise ModelUnavailable(f"{name}: no answer within {seconds:g} s", outcome="unknown") from None
    finally:
        await _end(process)


async def _read_lines(stream: asyncio.StreamReader, on_line: Callable[[bytes], None], name: str) -> None:
    incomplete: list[bytes] = []
    size = 0
    while chunk := await stream.read(65536):
        size += len(chunk)
        if size > MAX_ANSWER:
            raise ModelRefused(f"{name} wrote more than {MAX_ANSWER // 1024**2} MB and was ended")
        if b"\n" not in chunk:
            incomplete.append(chunk)
            continue
        *lines, rest = b"".join([*incomplete, chunk]).split(b"\n")
        incomplete = [rest] if rest else []
        for line in lines:
            on_line(line)
    if incomplete:
        on_line(b"".join(incomplete))


async def _read_beginning(stream: asyncio.StreamReader) -> str:
    """Read to the end, and keep the first 64 KB."""
    beginning = b""
    while chunk := await stream.read(65536):
        beginning = (beginning + chunk)[:_MAX_STDERR]
    return beginning.decode(errors="replace")


async def _write(stream: asyncio.StreamWriter, data: bytes) -> None:
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        stream.write(data)
        await stream.drain()
        stream.close()
        await stream.wait_closed()


async def _end(process: asyncio.subprocess.Process) -> None:
    """End the process group, and with it everything that the agent started: it is asked first, then forced."""
    if process.returncode is None:
        processes.signal_group(process.pid, force=False)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GRACE):
                await process.wait()
    processes.signal_group(process.pid, force=True)
    if process.returncode is None:
        await process.wait()
    # asyncio lets go of a process and its pipes only once they were read to their ends.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_GRACE):
            for stream in (process.stdout, process.stderr):
                while stream is not None and await stream.read(65536):
                    pass
            await asyncio.sleep(0)
