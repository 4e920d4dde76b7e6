"""A file is sent piece by piece, never as a whole, and closed whatever happens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tornado.iostream import StreamClosedError

from po_jupyter.server.file_response import send_file


class Handler:
    """Notes what is sent; whoever reads goes away after `most` pieces."""

    def __init__(self, most: int = 1000) -> None:
        self.headers: dict[str, str] = {}
        self.unsent = b""
        self.sent: list[bytes] = []
        self.most = most
        self.finished = False

    def set_header(self, name: str, value: str) -> None:
        self.headers[name] = value

    def write(self, piece: bytes) -> None:
        self.unsent += piece

    async def flush(self) -> None:
        if len(self.sent) == self.most:
            raise StreamClosedError
        self.sent.append(self.unsent)
        self.unsent = b""

    def finish(self) -> None:
        self.finished = True


def large(tmp_path: Path) -> Any:
    (tmp_path / "large").write_bytes(bytes(range(256)) * 8192)  # 2 MiB
    return (tmp_path / "large").open("rb")


async def test_a_large_file_is_sent_in_pieces_to_be_saved(tmp_path: Path) -> None:
    """P6: and never shown."""
    handler: Any = Handler()
    file = large(tmp_path)
    await send_file(handler, file, 'größe "é".html')
    assert b"".join(handler.sent) == (tmp_path / "large").read_bytes()
    assert max(map(len, handler.sent)) <= 1 << 18
    assert handler.finished and file.closed
    assert handler.headers["Content-Length"] == str(2 << 20)
    assert handler.headers["Content-Type"] == "application/octet-stream"
    assert handler.headers["Content-Disposition"].startswith(
        "attachment; filename*=UTF-8''gr%C3%B6%C3%9Fe%20%22"
    )


async def test_a_reader_that_went_away_is_nobody_s_error_and_the_file_is_closed(tmp_path: Path) -> None:
    handler: Any = Handler(most=2)
    file = large(tmp_path)
    await send_file(handler, file, "large")
    assert len(handler.sent) == 2
    assert not handler.finished and file.closed
