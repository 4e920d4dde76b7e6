"""Sockets of this machine. Real ones."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from po_jupyter.platform import sockets

pytestmark = pytest.mark.integration

unix = pytest.mark.skipif(not sockets.HAS_UNIX_SOCKETS, reason="platform: no Unix sockets")


def test_a_loopback_socket_is_at_a_port_of_its_own_on_this_machine_alone() -> None:
    with sockets.bind_loopback() as first, sockets.bind_loopback() as second:
        assert {first.getsockname()[0], second.getsockname()[0]} == {"127.0.0.1"}
        assert first.getsockname() != second.getsockname()
        with socket.create_connection(first.getsockname()) as client:
            sockets.without_delay(client)
            assert sockets.peer_of(client) is None, "TCP has no word of the other process"
    assert sockets.peer_of(None) is None


@unix
async def test_a_unix_socket_is_for_this_user_alone_and_replaces_an_earlier_one(tmp_path: Path) -> None:
    path = tmp_path / "s"
    path.write_text("left behind")
    with sockets.bind_unix(path):
        assert path.stat().st_mode & 0o777 == 0o600
        reader, writer = await sockets.open_unix(path, limit=100)
        assert sockets.peer_of(writer.get_extra_info("socket")) in ((os.getpid(), os.getuid()), None)
        writer.close()
        assert not reader.at_eof()
    with pytest.raises(OSError):
        sockets.bind_unix(tmp_path / "missing" / "s")


@unix
def test_descriptors_are_handed_over() -> None:
    ours, theirs = socket.socketpair()
    reading, writing = os.pipe()
    with ours, theirs:
        sockets.send_descriptor(ours, writing)
        (received,) = sockets.receive_descriptors(theirs) or []
        os.write(received, b"x")
        assert os.read(reading, 1) == b"x"
        ours.close()
        assert sockets.receive_descriptors(theirs) is None
    for descriptor in (reading, writing, received):
        os.close(descriptor)
