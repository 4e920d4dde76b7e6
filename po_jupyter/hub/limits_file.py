"""The file with the configuration: read whole, and its limits written again whole or not at all."""

from __future__ import annotations

import io
from collections.abc import Mapping
from itertools import zip_longest
from pathlib import Path

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from po_jupyter.errors import InvalidSettings, Violation
from po_jupyter.hub.config import GatewayConfig, LimitBook
from po_jupyter.platform.private_file import write_private


class LimitsFile:
    """`limits.yaml` of a gateway."""

    def __init__(self, path: Path) -> None:
        """Nothing is read yet."""
        self.path = path.absolute()
        self._seen: list[tuple[int, int] | None] = []
        self._files = [self.path]

    def read(self) -> GatewayConfig:
        """The configuration. Raises InvalidSettings with every violation."""
        try:
            self._seen = [_version(path) for path in self._files]
            data = YAML(typ="safe").load(self.path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidSettings(f"{self.path} cannot be read ({type(error).__name__})") from None
        except YAMLError as error:
            raise InvalidSettings(f"{self.path} is no YAML: {str(error).splitlines()[0]}") from None
        config = checked(data, str(self.path))
        keys = sorted({provider.key_file for provider in config.providers.values() if provider.key_file})
        self._files = [self.path, *(self.path.parent / key for key in keys)]
        self._seen = [self._seen[0], *map(_version, self._files[1:])]
        return config

    def has_changed(self) -> bool:
        """Whether the file, or one of the key files that it names, is another than the one that was read. Each change
        is told once."""
        seen = [_version(path) for path in self._files]
        changed = any(now is not None and now != then for now, then in zip_longest(seen, self._seen))
        self._seen = seen
        return changed

    def check_limits(self, book: LimitBook) -> str:
        """The text of the file with other limits in it; its other lines and comments stay. Blocks.

        Raises InvalidSettings when they do not fit to the rest, OSError.
        """
        yaml = YAML()  # the one that keeps comments; it makes plain values, and no objects of what a tag names
        yaml.preserve_quotes = True
        document = yaml.load(self.path.read_text(encoding="utf-8"))
        document["limits"] = book.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
        checked(document, str(self.path))
        text = io.StringIO()
        yaml.dump(document, text)
        return text.getvalue()

    def write_limits(self, book: LimitBook) -> None:
        """Put other limits into the file, whole or not at all. Blocks. Raises InvalidSettings, OSError."""
        write_private(self.path, self.check_limits(book))


def _version(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino


def checked(data: object, source: str) -> GatewayConfig:
    """The configuration in what a file holds. Raises InvalidSettings; what is wrong is named without its value, which
    may be a key that stands in the wrong place."""
    if not isinstance(data, Mapping):
        raise InvalidSettings(f"{source}: providers, models and limits are missing")
    try:
        return GatewayConfig.model_validate(data)
    except ValidationError as error:
        violations = [Violation(f"{source}: {v.where}", v.message) for v in violations_in(error)]
        raise InvalidSettings(violations=violations) from None


def violations_in(error: ValidationError) -> list[Violation]:
    """The violations of a configuration, by their place."""
    return [
        Violation(
            ".".join(map(str, found["loc"])) or "limits.yaml", str(found["msg"]).removeprefix("Value error, ")
        )
        for found in error.errors(include_input=False, include_url=False)
    ]
