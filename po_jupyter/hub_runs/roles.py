"""What members of a group may do with its runs, from groups of the hub."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal, TypeAlias

from pydantic import TypeAdapter, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from po_jupyter.errors import InvalidSettings

Role: TypeAlias = Literal["viewer", "runner", "approver"]
ROLE_SCOPES: Mapping[Role, frozenset[str]] = {
    "viewer": frozenset({"runs:read"}),
    "runner": frozenset({"runs:read", "runs:write"}),
    "approver": frozenset({"runs:read", "gates"}),
}
OWN = frozenset({"runs:read", "runs:write", "gates"})
ADMIN = frozenset({"admin", "metrics"})
_FILE: TypeAdapter[dict[str, dict[Role, list[str]]]] = TypeAdapter(dict[str, dict[Role, list[str]]])


class GroupRoles:
    """The roles in groups of runs. A group that is not written down is that of the hub, whose members have every
    role."""

    def __init__(self, groups: Mapping[str, Mapping[Role, Iterable[str]]] | None = None) -> None:
        """`groups`: by group of runs and role, the groups of the hub whose members have it."""
        self._groups = {
            name: {role: frozenset(members) for role, members in roles.items()}
            for name, roles in (groups or {}).items()
        }

    @classmethod
    def read(cls, path: Path) -> GroupRoles:
        """Those of a YAML file, `{GROUP: {viewer: [...], runner: [...], approver: [...]}}`. InvalidSettings."""
        try:
            return cls(_FILE.validate_python(YAML(typ="safe").load(path.read_text("utf-8")) or {}, strict=True))
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidSettings(f"{path} cannot be read ({type(error).__name__})") from None
        except (YAMLError, ValidationError) as error:
            raise InvalidSettings(
                f"{path} is no table of roles: {str(error).splitlines()[0]}",
                hint="It is {GROUP: {viewer: [HUB_GROUP], runner: [HUB_GROUP], approver: [HUB_GROUP]}}.",
            ) from None

    def scopes(self, group: str, member_of: Iterable[str]) -> frozenset[str]:
        """What a member of those groups of the hub may do with the runs of a group; nothing: they are not its."""
        mine = frozenset(member_of)
        roles = self._groups.get(group)
        if roles is None:
            return OWN if group in mine else frozenset()
        return frozenset().union(*(ROLE_SCOPES[role] for role, members in roles.items() if members & mine))

    def groups_of(self, member_of: Iterable[str]) -> list[str]:
        """The groups whose runs a member of those groups of the hub sees."""
        mine = frozenset(member_of)
        return sorted(name for name in mine | self._groups.keys() if self.scopes(name, mine))
