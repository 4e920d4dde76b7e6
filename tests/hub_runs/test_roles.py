"""What members of groups may do with shared runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from po_jupyter.errors import InvalidSettings
from po_jupyter.hub_runs.roles import OWN, GroupRoles


def test_members_of_a_group_that_is_not_written_down_have_every_role() -> None:
    roles = GroupRoles()
    assert roles.scopes("red", ["red", "blue"]) == OWN
    assert roles.scopes("green", ["red"]) == frozenset()
    assert roles.groups_of(["red", "blue"]) == ["blue", "red"]


def test_roles_that_are_written_down_are_those_of_the_hubs_groups_alone(tmp_path: Path) -> None:
    path = tmp_path / "roles.yaml"
    path.write_text("red: {viewer: [guests], runner: [red], approver: [leads]}\nclosed: {}\n")
    roles = GroupRoles.read(path)
    assert roles.scopes("red", ["guests"]) == {"runs:read"}
    assert roles.scopes("red", ["red"]) == {"runs:read", "runs:write"}
    assert roles.scopes("red", ["leads"]) == {"runs:read", "gates"}
    assert roles.scopes("red", ["red", "leads"]) == OWN
    assert roles.scopes("closed", ["closed"]) == frozenset()
    assert roles.groups_of(["guests", "closed"]) == ["guests", "red"]
    assert not any(
        "code" in scope or scope == "admin" for scope in roles.scopes("red", ["red", "leads", "guests"])
    )


@pytest.mark.parametrize(
    "text", ["red: [x]", "red: {owner: [x]}", "red: {viewer: x}", "[", "red: {viewer: [1]}"]
)
def test_a_file_that_is_no_table_of_roles_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "roles.yaml"
    path.write_text(text)
    with pytest.raises(InvalidSettings, match="no table of roles"):
        GroupRoles.read(path)
    with pytest.raises(InvalidSettings, match="cannot be read"):
        GroupRoles.read(tmp_path / "missing")
