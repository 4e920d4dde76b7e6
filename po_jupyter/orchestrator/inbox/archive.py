"""Seed archives: a zip of `seed.json` and files below `artifacts/`, unpacked with suspicion.

An archive is a program for a small machine: it names places, says sizes that need not be true, and can be a few
kilobytes that stand for a terabyte. So its directory is judged before it is read, its names before they are
used, and what comes out is counted while it comes.
"""

from __future__ import annotations

import stat
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any, BinaryIO

from po_jupyter.config import Settings
from po_jupyter.engine.files.artifacts import SEED_FILES
from po_jupyter.engine.files.task_io import checked_name
from po_jupyter.errors import InvalidInput, InvalidSeed, Violation
from po_jupyter.orchestrator.inbox.seed_file import read_json
from po_jupyter.store.files.tree import Tree

SEED, ARTIFACTS = "seed.json", "artifacts/"
_RATIO_FROM = 2**20  # bytes; below this any text of one letter is packed a thousandfold and harms nobody
_END = struct.Struct("<4s4H2LH")  # the end of the central directory, APPNOTE.TXT 4.3.16
_ENTRY = 1024  # bytes that an entry of the central directory may take on average
_JUNK = ("__MACOSX/",)  # what macOS puts into every archive
_JUNK_NAMES = (".DS_Store", "Thumbs.db")


class SeedZip:
    """An open archive whose directory was judged. Raises InvalidSeed with every violation."""

    def __init__(self, file: BinaryIO, settings: Settings) -> None:
        """Reads the directory of the archive. Raises InvalidSeed."""
        self._settings = settings
        _check_directory(file, settings)
        try:
            self._zip = zipfile.ZipFile(file)
        except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error) as error:
            raise InvalidSeed(f"the archive cannot be read: {_message(error)}") from None
        self._entries: dict[str, zipfile.ZipInfo] = {}
        violations = self._check_entries()
        if violations:
            raise InvalidSeed("the archive cannot be used:", violations=violations)

    @property
    def artifacts(self) -> list[str]:
        """Names of the artifacts, without `artifacts/`."""
        return [name.removeprefix(ARTIFACTS) for name in self._entries if name != SEED]

    def seed(self) -> Any:
        """The decoded `seed.json`. InvalidSeed."""
        try:
            with self._zip.open(self._entries[SEED]) as file:
                return read_json(file, self._settings, SEED)  # type: ignore[arg-type]  # it has `read`, all that is used
        except _BROKEN as error:
            raise InvalidSeed(f"{SEED} cannot be unpacked: {_message(error)}") from None

    def verify(self) -> None:
        """Unpack everything into nothing: sizes and checksums are true. InvalidSeed."""
        violations: list[Violation] = []
        for name, info in self._entries.items():
            try:
                with self._zip.open(info) as file:
                    while file.read(2**20):
                        pass
            except _BROKEN as error:
                violations.append(Violation(name, f"{name} cannot be unpacked: {_message(error)}"))
        if violations:
            raise InvalidSeed("the archive is damaged:", violations=violations)

    def unpack(self, run_dir: Path) -> int:
        """Write the artifacts to where the run's tasks find what came with its seed; how many.

        Raises InvalidSeed (damaged), StoreUnusable.
        """
        tree = Tree(run_dir)
        for name in self.artifacts:
            try:
                data = self._zip.read(self._entries[ARTIFACTS + name])
            except _BROKEN as error:
                raise InvalidSeed(f"{ARTIFACTS}{name} cannot be unpacked: {_message(error)}") from None
            tree.write(f"{SEED_FILES}/{name}", data)
        return len(self._entries) - 1

    def close(self) -> None:
        """Release the archive; the file stays open."""
        self._zip.close()

    def _check_entries(self) -> list[Violation]:
        settings, total = self._settings, 0
        violations: list[Violation] = []
        folded: dict[str, str] = {}
        entries = self._zip.infolist()
        if len(entries) > settings.zip_max_files + 1:  # whatever the archive's end said
            return [_too_many(len(entries), settings)]
        for info in entries:
            name = info.filename
            if name.startswith(_JUNK) or name.rpartition("/")[2] in _JUNK_NAMES:
                continue
            problem = _problem(info, settings)
            if problem is None and not info.is_dir():
                if name.casefold() in folded:
                    problem = f"stands twice in the archive (also as {folded[name.casefold()]!r:.80})"
                folded[name.casefold()] = name
                self._entries[name] = info
            if problem is not None:
                violations.append(Violation(name[:200], f"{name!r:.120} {problem}"))
            total += info.file_size
        for name in self._entries:
            at = name.casefold()
            while at := at.rpartition("/")[0]:
                if at in folded:
                    violations.append(
                        Violation(name[:200], f"{name!r:.120} lies below {folded[at]!r:.80}, which is a file")
                    )
                    break
        if total > settings.zip_max_bytes:
            violations.append(
                Violation(
                    "",
                    f"unpacked it has {total:,} bytes; "
                    f"at most {settings.zip_max_bytes:,} are taken (zip_max_bytes)",
                )
            )
        if SEED not in self._entries:
            inside = next((i.filename for i in self._zip.infolist() if i.filename.endswith("/" + SEED)), None)
            also = f"; there is {inside!r:.80}: pack what is in that folder, not the folder" if inside else ""
            violations.append(Violation("", f"there is no {SEED} at its top{also}"))
        return violations


def _problem(info: zipfile.ZipInfo, settings: Settings) -> str | None:
    """The reason why an entry cannot be used; None when it can."""
    # `filename` is what zipfile made of it: cut at a NUL, with this system's separators replaced.
    name, original = info.filename, info.orig_filename
    mode = info.external_attr >> 16
    if info.flag_bits & 0x1:
        return "is encrypted"
    if mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link" if stat.S_ISLNK(mode) else "is neither a file nor a folder"
    if name != original:
        return "has a name that cannot be used"
    try:
        checked_name(name.removesuffix("/") if info.is_dir() else name)
    except InvalidInput:
        return "does not name a file below the archive's top"
    if name != SEED and not name.startswith(ARTIFACTS):
        return f"is not expected: an archive holds {SEED} and files below {ARTIFACTS}"
    if name != SEED and not info.is_dir():
        try:
            checked_name(name.removeprefix(ARTIFACTS))
        except InvalidInput:
            return "cannot be the name of an artifact"
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "is packed in a way that is not read here (use deflate)"
    if info.file_size > _RATIO_FROM and info.file_size > settings.zip_max_ratio * max(1, info.compress_size):
        return (
            f"would become {info.file_size:,} bytes out of {info.compress_size:,}, "
            f"more than {settings.zip_max_ratio} times as much (zip_max_ratio)"
        )
    return None


def _too_many(count: int, settings: Settings) -> Violation:
    return Violation(
        "",
        f"the archive lists {count:,} files; at most {settings.zip_max_files + 1:,} are taken (zip_max_files)",
    )


def _check_directory(file: BinaryIO, settings: Settings) -> None:
    """Look at the end of the file before `zipfile` reads a directory of whatever size it claims."""
    size = file.seek(0, 2)
    if size > settings.zip_max_bytes:
        raise InvalidSeed(
            f"the archive has {size:,} bytes; at most {settings.zip_max_bytes:,} are taken (zip_max_bytes)"
        )
    if not size:
        raise InvalidSeed("the archive is empty")
    file.seek(max(0, size - _END.size - 2**16))
    tail = file.read()
    at = tail.rfind(b"PK\5\6")
    if at < 0 or len(tail) - at < _END.size:
        raise InvalidSeed("it is not a zip archive, or its end is missing", hint="Was it copied as a whole?")
    _, disk, start_disk, _, count, directory, _, _ = _END.unpack_from(tail, at)
    if tail[max(0, at - 20) : at].startswith(b"PK\6\7"):
        raise InvalidSeed("archives of the zip64 kind (above 4 GB or 65,535 files) are not read here")
    if disk or start_disk:
        raise InvalidSeed("it is a part of an archive that was split")
    most = settings.zip_max_files + 1  # and the seed
    if count > most or directory > most * _ENTRY:
        raise InvalidSeed(violations=[_too_many(count, settings)])
    file.seek(0)


_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError, struct.error)


def _message(error: BaseException) -> str:
    return (str(error) or type(error).__name__)[:200]
