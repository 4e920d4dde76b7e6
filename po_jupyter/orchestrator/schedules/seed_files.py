"""Files as seeds of a schedule: read anew at each slot, from where its owner may have files read.

Whoever has `code:run` may name any file but those in the data directory: their code could read it as well. Others only
files of the project, the folder beside `pipelines_dir`; what leaves it by a link is refused as what leaves it by name.
"""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from po_jupyter.config import Settings
from po_jupyter.errors import Forbidden, InvalidInput, InvalidSeed, Violation
from po_jupyter.model.values.csv_rows import DELIMITERS, read_rows
from po_jupyter.model.values.json import JsonObject, JsonValue
from po_jupyter.orchestrator.environment.permission import SCOPE
from po_jupyter.orchestrator.inbox import seed_file
from po_jupyter.orchestrator.schedules.records import SeedSource

_LINES, _TEXTS = (".jsonl", ".ndjson"), (".txt", ".md")
SUFFIXES = (*DELIMITERS, ".json", *_LINES, *_TEXTS)
MOST_FILES = 1000  # of one slot


class SeedFile(NamedTuple):
    """A file that a slot has: its path, and the digest of its name and content."""

    name: str
    digest: str


class SlotSeed(NamedTuple):
    """The data of a slot's seed, and the files that are not to be had again."""

    data: JsonObject
    files: tuple[SeedFile, ...] = ()


class SeedFiles:
    """Reads what the source of a seed names. Every method blocks: call them in a thread."""

    def __init__(self, settings: Settings) -> None:
        """Files of the project that `settings` name, or any."""
        self._project = settings.pipelines_dir.parent.resolve() if settings.pipelines_dir is not None else None
        self._data_dir = settings.data_dir.resolve()
        self._most = settings.inbox_max_bytes

    @property
    def most(self) -> int:
        """The bytes that one slot takes."""
        return self._most

    def check(self, files: str, *, code_allowed: bool) -> None:
        """Raises InvalidInput for what names no file that can be read, Forbidden for one that may not be."""
        pattern = self._pattern(files)
        if pattern.suffix.lower() not in SUFFIXES:
            problem = f"{files!r:.200} is no file of rows: the name ends in {', '.join(SUFFIXES)}"
            raise InvalidInput(violations=[Violation("seed.files", problem)])
        if "**" in files:
            problem = "`**` is not read: name the folders, with one `*` for each"
            raise InvalidInput(violations=[Violation("seed.files", problem)])
        self._permit(Path(os.path.normpath(pattern)), files, code_allowed)

    def read(
        self, source: SeedSource, *, code_allowed: bool, has_file: Callable[[str], bool]
    ) -> SlotSeed | None:
        """The seed of a slot; None when there is no new file. InvalidInput, Forbidden.

        One file is the seed as `po run --seed @FILE` has it. A pattern, or `only_new`, is `{rows, files}`: the rows of
        all files in the order of their names, and of which files. With `only_new` what does not fit is left for the
        next slot.
        """
        files = source.get("files")
        if files is None:
            return SlotSeed(source.get("data", {}))
        self.check(files, code_allowed=code_allowed)
        only_new = source.get("only_new", False)
        if not only_new and not self._is_pattern(files):
            content = self._content(self._pattern(files), files, code_allowed)
            value = _parse(content, files)
            return SlotSeed(value if isinstance(value, dict) else {"rows": value})
        return self._rows(files, code_allowed, only_new, has_file)

    def _rows(
        self, files: str, code_allowed: bool, only_new: bool, has_file: Callable[[str], bool]
    ) -> SlotSeed | None:
        room = self._most
        rows: list[JsonValue] = []
        found: list[SeedFile] = []
        listed: list[JsonValue] = []
        for name in self._names(files):
            content = self._content(Path(name), name, code_allowed)
            sha256 = hashlib.sha256(content).hexdigest()
            file = SeedFile(name, file_digest(name, sha256))
            if only_new and has_file(file.digest):
                continue
            room -= len(content)
            if room < 0 or len(found) == MOST_FILES:
                if only_new and found:
                    break
                raise InvalidSeed(
                    f"the files of {files!r:.200} are more than {MOST_FILES} or {self._most:,} bytes",
                    hint="The limit of bytes is the setting inbox_max_bytes. With only_new they are read in parts.",
                )
            value = _parse(content, name)
            of_file = value if isinstance(value, list) else [value]
            rows += of_file
            found.append(file)
            listed.append({"name": name, "sha256": sha256, "rows": len(of_file)})
        if not found:
            if only_new:
                return None
            raise InvalidSeed(f"there is no file {files!r:.200}")
        return SlotSeed({"rows": rows, "files": listed}, tuple(found) if only_new else ())

    def _names(self, files: str) -> Iterable[str]:
        """The file of a name, or those of a pattern; of these none that is a folder or a dead link, or was removed
        meanwhile."""
        path = str(self._pattern(files))
        if not self._is_pattern(files):
            return [path]
        if not Path(files).is_absolute():  # the project's own path may have signs of patterns
            path = os.path.join(glob.escape(str(self._project)), files)
        return filter(os.path.isfile, sorted(islice(glob.iglob(path), 100 * MOST_FILES)))

    def _is_pattern(self, files: str) -> bool:
        """Whether it has signs of patterns, and is no file that is called so."""
        return glob.has_magic(files) and not self._pattern(files).is_file()

    def _pattern(self, files: str) -> Path:
        """The absolute path of a file or pattern; a relative one is of the project. InvalidInput."""
        path = Path(files)
        if not files or "\0" in files:
            raise InvalidInput(violations=[Violation("seed.files", "it names no file")])
        if path.is_absolute():
            return path
        if self._project is None:
            problem = (
                "a relative path is one of the project, and this orchestrator has none; give an absolute one"
            )
            raise InvalidInput(violations=[Violation("seed.files", problem)], hint="`po init` makes a project.")
        return self._project / path

    def _permit(self, path: Path, name: str, code_allowed: bool) -> None:
        """Raises Forbidden unless the file may be read."""
        if path.is_relative_to(self._data_dir):
            raise Forbidden(f"{name!r:.200} is in the orchestrator's data directory, of which nothing is read")
        if code_allowed:
            return
        project = self._project
        if project is None or not path.is_relative_to(project) or _is_hidden(path.relative_to(project)):
            raise Forbidden(
                f"{name!r:.200} is a file where the orchestrator runs, outside of its project: that needs {SCOPE}",
                hint="Name a file of the project, or ask the administrator of this server for the scope.",
                details={"scope": SCOPE},
            )

    def _content(self, path: Path, name: str, code_allowed: bool) -> bytes:
        try:
            real = path.resolve(strict=True)
            self._permit(real, name, code_allowed)
            if real.suffix.lower() not in SUFFIXES:
                raise InvalidSeed(f"{name!r:.200} is a link to a file of another kind")
            with seed_file.opened(real) as file:
                content = file.read(self._most + 1)
        except FileNotFoundError:
            raise InvalidSeed(f"there is no file {name!r:.200}") from None
        except (OSError, RuntimeError) as error:  # a circle of links is the latter before Python 3.13
            reason = error.strerror if isinstance(error, OSError) else "it is a circle of links"
            raise InvalidSeed(f"{name!r:.200} cannot be read: {reason}") from None
        if len(content) > self._most:
            raise InvalidSeed(
                f"{name!r:.200} is larger than {self._most:,} bytes",
                hint="The limit is the setting inbox_max_bytes.",
            )
        return content


def file_digest(name: str, sha256: str) -> str:
    """The digest of a file's name and content."""
    return hashlib.sha256(f"{name}\0{sha256}".encode("utf-8", "surrogateescape")).hexdigest()


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _parse(content: bytes, name: str) -> JsonObject | list[JsonValue]:
    """A list of rows, or an object. Raises InvalidInput that names the file."""
    suffix = Path(name).suffix.lower()
    if suffix == ".json":
        value = seed_file.parse(content, name)
        if not isinstance(value, dict | list):
            raise InvalidSeed(f"{name} is {type(value).__name__}, not an object or a list")
        return value
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidSeed(f"{name} is not UTF-8 text: byte {error.start}", hint="Save it as UTF-8.") from None
    if suffix in DELIMITERS:
        return list(read_rows(text, name, DELIMITERS[suffix]))
    if suffix in _LINES:
        lines = enumerate(text.split("\n"), 1)
        return [seed_file.parse(line.encode(), f"line {n} of {name}") for n, line in lines if line.strip()]
    return {"file": name, "text": text}
