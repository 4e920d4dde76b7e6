"""Private directories: which file systems are local, and what is made is this user's alone."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from po_jupyter.errors import StoreUnusable
from po_jupyter.platform import private_dir
from po_jupyter.platform.private_dir import Mount, mounts, network_type


@pytest.mark.parametrize(
    ("mounted", "expected"),
    [
        ([Mount("/", "ext4")], None),
        ([Mount("/", "overlay"), Mount("/home", "nfs4")], "nfs4"),
        ([Mount("/", "ext4"), Mount("/home", "nfs"), Mount("/home/ada", "ext4")], None),
        ([Mount("/", "ext4"), Mount("/home/ada", "fuse.sshfs")], "fuse.sshfs"),
        ([Mount("/", "ext4"), Mount("/home/ada", "fuse.ntfs-3g")], None),
        ([Mount("/", "ext4"), Mount("/home/ad", "nfs")], None),
        ([Mount("/", "lustre"), Mount("/run", "tmpfs")], "lustre"),
        ([Mount("/", "ext4"), Mount("/home", "CIFS")], "CIFS"),
        ([Mount("/", "ext4"), Mount("/home", "ext4"), Mount("/home", "nfs4")], "nfs4"),
        ([Mount("/", "NTFS", True)], "NTFS"),
        ([Mount("/", "9p")], "9p"),
        ([], None),
    ],
)
def test_network_file_systems_are_known(mounted: list[Mount], expected: str | None) -> None:
    assert network_type(Path("/home/ada/data"), mounted) == expected


def test_mounts_are_read_from_this_machine() -> None:
    assert any(mount.point == "/" for mount in mounts()) or sys.platform == "win32"
    assert private_dir._unescaped("/mnt/my\\040disk") == "/mnt/my disk"


@pytest.mark.skipif(sys.platform == "win32", reason="platform: modes are POSIX")
def test_parents_are_made_too_and_a_directory_that_is_there_is_no_error(tmp_path: Path) -> None:
    private_dir.make(tmp_path / "a" / "b")
    private_dir.make(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700


def test_a_network_home_on_a_hub_is_refused_with_what_its_admin_can_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        private_dir, "mounts", lambda: [Mount("/", "ext4"), Mount(str(tmp_path.resolve()), "nfs4")]
    )
    monkeypatch.delenv("JUPYTERHUB_USER", raising=False)
    with pytest.raises(StoreUnusable) as refused:
        private_dir.prepare(tmp_path / "data", allow_network=False)
    assert refused.value.hint == private_dir.ELSEWHERE
    monkeypatch.setenv("JUPYTERHUB_USER", "ada")
    with pytest.raises(StoreUnusable, match="nfs4") as refused:
        private_dir.prepare(tmp_path / "data", allow_network=False)
    assert "PO_DATA_DIR" in refused.value.hint
    assert "PO_STORE" in refused.value.hint
    assert "po help hub-admin" in refused.value.hint
