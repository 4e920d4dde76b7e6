"""The loader of settings: every setting in one frozen value (`settings.py`), read here and nowhere else.

Weight grows from left to right: defaults < file < `PO_*` environment < traitlets at the Jupyter edge, or a command's
options.
The file is `PO_CONFIG`, else `po.yaml`, `po.toml` or `po.json` in the data directory; a path in it is relative
to it. The data directory is `PO_DATA_DIR`, else that of the project (`po init`) that the current directory is in,
else the user's. An environment variable is the setting's name in capitals behind `PO_` (`PO_MAX_RUNNING=8`); one
that is set to nothing counts as not set where a directory is meant, or where unset is a value.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from platformdirs import user_data_path
from pydantic import ValidationError

from po_jupyter.config.notifications import NotificationChannel
from po_jupyter.config.prices import Price
from po_jupyter.config.settings import McpServer, Settings
from po_jupyter.errors import InvalidSettings, StoreUnusable, Violation
from po_jupyter.model.pipeline.violations import did_you_mean, violations_of
from po_jupyter.model.run.rate_limit import RateLimit
from po_jupyter.platform import users

__all__ = ["McpServer", "NotificationChannel", "Price", "Settings", "load", "project_data"]

PREFIX = "PO_"
# Read by clients and by tests, or set for a worker; not settings of the orchestrator.
OTHER_VARIABLES = frozenset({
    "PO_CONFIG", "PO_JUPYTER_URL", "PO_JUPYTER_TOKEN", "PO_TEST_STRICT", "PO_TESTING", "PO_CRASHPOINT",
    "PO_HUB_TOKEN", "PO_FULL_TRACEBACK",
})  # fmt: skip

# Settings that a variable holds as JSON, with an example.
_AS_JSON = {
    "prices": '{"openai:my-model": {"input": 0.5, "output": 1.5}}',
    "mcp_servers": '{"files": {"command": ["npx", "files-server"]}}',
    "notifications": '{"ops": {"webhook": "https://ops.example/hook", "secret": "whsec_..."}}',
    "rate_limits": '{"openai": {"requests": 500, "tokens": 200000}}',
}
PROJECT_DATA = "pipeline-data"  # a folder of this name with a settings file in it makes its parent a project
_KINDS = ("yaml", "toml", "json")


def load(
    environ: Mapping[str, str] | None = None,
    *,
    file: Path | None = None,
    jupyter: Mapping[str, Any] | None = None,
    options: Mapping[str, tuple[str, Any]] | None = None,
) -> Settings:
    """The settings of this process. `options` are those of a command: by setting, the option's name and its value.

    Raises InvalidSettings with every violation, each naming the file or the variable it came from.
    """
    environ = os.environ if environ is None else environ
    collected = _Collected()
    collected.read_file(environ, file)
    collected.read_variables(environ)
    for name, value in (jupyter or {}).items():
        collected.add(name, value, "jupyter")
    for name, (option, value) in (options or {}).items():
        collected.add(name, value, option)
    return collected.settings()


class _Collected:
    """The values of the settings from all sources, a later one over an earlier one, and what is wrong with them."""

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}
        self._sources: dict[str, str] = {}
        self._violations: list[Violation] = []
        self._names = list(Settings.model_fields)

    def add(self, name: str, value: Any, source: str) -> None:
        """A value that `source` (a file, a variable, an option, `jupyter`) gives."""
        if name in self._names:
            self._values[name], self._sources[name] = value, source
        else:
            message = f"`{name}` is not a setting{did_you_mean(name, self._names)}"
            self._violations.append(Violation(source, message))

    def read_file(self, environ: Mapping[str, str], file: Path | None) -> None:
        """The settings file: `file`, or the one that the environment, the project or the user has."""
        is_chosen = file or _value(environ, "PO_CONFIG") or _value(environ, "PO_DATA_DIR")
        start = None if is_chosen else _working_directory()
        project = project_data(start) if start is not None else None
        path = file or (_file_in(project) if project is not None else _file_of(environ))
        if path is None:
            return
        if project is not None:
            self.add("data_dir", str(project), str(path))
        for name, value in _read(path).items():
            self.add(name, _beside(path, name, value), str(path))

    def read_variables(self, environ: Mapping[str, str]) -> None:
        """The `PO_*` variables; one that names no setting is passed over."""
        for variable, text in environ.items():
            if variable.startswith(PREFIX) and variable not in OTHER_VARIABLES:
                name = variable.removeprefix(PREFIX).lower()
                if name in self._names and (text.strip() or not _may_be_unset(name)):
                    self.add(name, _from_text(name, text, variable), variable)

    def settings(self) -> Settings:
        """The validated settings. Raises InvalidSettings with every violation."""
        try:
            settings = Settings.model_validate(self._values)
        except ValidationError as error:
            for violation in violations_of(error, known=_known, what="the settings"):
                name = violation.where.split(".")[0].split("[")[0]
                self._violations.append(violation._replace(where=self._sources.get(name, "")))
        if self._violations:
            raise InvalidSettings(
                "the settings cannot be used:",
                violations=self._violations,
                hint="Correct it there, or remove it: then the default holds.",
            )
        settings._sources.update(self._sources)
        return settings


def _known(loc: tuple[int | str, ...]) -> tuple[list[str], str]:
    if loc[:1] == ("rate_limits",):
        return list(RateLimit.model_fields), "a rate limit"
    for setting, fields in (
        ("prices", Price.model_fields),
        ("mcp_servers", McpServer.model_fields),
        ("notifications", NotificationChannel.model_fields),
    ):
        if loc[:1] == (setting,):
            return list(fields), ".".join(map(str, loc))
    return list(Settings.model_fields), "the settings"


def _file_of(environ: Mapping[str, str]) -> Path | None:
    if chosen := _value(environ, "PO_CONFIG"):
        return _expanded("PO_CONFIG", chosen)
    data_dir = _value(environ, "PO_DATA_DIR")
    return _file_in(
        _expanded("PO_DATA_DIR", data_dir) if data_dir else user_data_path("po_jupyter", appauthor=False)
    )


def _may_be_unset(name: str) -> bool:
    """Whether a variable of this setting that is set to nothing counts as not set. As a directory it would be the
    current one."""
    return name.endswith("_dir") or Settings.model_fields[name].default is None


def _value(environ: Mapping[str, str], variable: str) -> str:
    """The value of a variable; empty for one that is not set, or set to nothing."""
    return environ.get(variable, "").strip() and environ[variable]


def _expanded(variable: str, text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError as error:  # ~somebody, who has no home here
        raise InvalidSettings(violations=[Violation(variable, f"{text!r:.100}: {error}")]) from None


def _file_in(directory: Path) -> Path | None:
    """The settings file of a data directory, or None. Raises StoreUnusable for a directory that cannot be read."""
    try:
        return next((p for p in (directory / f"po.{kind}" for kind in _KINDS) if p.is_file()), None)
    except (OSError, ValueError) as error:
        raise StoreUnusable(
            f"the data directory {directory} cannot be used: {getattr(error, 'strerror', None) or error}",
            hint="Set PO_DATA_DIR to a directory of your own.",
            details={"path": str(directory)},
        ) from None


def project_data(start: Path) -> Path | None:
    """The data directory of the project that `start` is in: `pipeline-data` with a settings file, or None.

    One that belongs to somebody else is not taken: its settings would say what this user's orchestrator does.
    """
    for at in (start, *start.parents):
        directory = at / PROJECT_DATA
        try:
            if _file_in(directory) is not None:
                mine = users.is_mine(directory.stat())
                return directory if mine else None
        except (StoreUnusable, OSError):
            continue  # what cannot be read is somebody else's
    return None


def _working_directory() -> Path | None:
    try:
        return Path.cwd()
    except OSError:  # it was removed
        return None


def _beside(path: Path, name: str, value: Any) -> Any:
    """A path in a settings file is relative to the file, wherever the process was started."""
    if not isinstance(value, str) or not name.endswith("_dir") or not value.strip() or value.startswith("~"):
        return value
    return os.path.normpath(path.absolute().parent / value)


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text("utf-8")
        if path.suffix == ".toml":
            import tomllib

            data: Any = tomllib.loads(text)
        elif path.suffix == ".json":
            data = json.loads(text)
        else:
            from ruamel.yaml import YAML

            data = YAML(typ="safe", pure=True).load(text)
    except OSError as error:
        raise InvalidSettings(f"the settings file {path} cannot be read: {error.strerror}") from None
    except Exception as error:  # each of the three readers has errors of its own
        raise InvalidSettings(
            f"the settings file {path} cannot be read: {str(error).splitlines()[0]}"
        ) from None
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise InvalidSettings(f"the settings file {path} must hold a mapping of settings")
    return data


def _from_text(name: str, text: str, variable: str) -> Any:
    if name in ("worker_env", "node_labels"):
        return [part.strip() for part in text.split(",") if part.strip()]
    if name in _AS_JSON:
        try:
            return json.loads(text) if text.strip() else {}
        except ValueError:
            raise InvalidSettings(f"{variable} is not JSON", hint=f"For example {_AS_JSON[name]}") from None
    return text
