"""Names of runs and people."""

import pytest

from po_jupyter.model.run.names import actor_of, group_in_header, group_of_header, short_id


def test_people_see_the_end_of_a_runs_id() -> None:
    assert short_id("01hx5zzkbkactav9wevgemmvry") == "emmvry"
    assert short_id("ab") == "ab"


def test_who_sees_everybodys_runs_acts_as_admin() -> None:
    assert actor_of("ada") == "ada"
    assert actor_of(None) == actor_of("") == "admin"


@pytest.mark.parametrize("group", ["ops", "größe", "a/b c", "100%", "%2F", "a\nb", "日本", "group:x"])
def test_any_group_can_be_named_in_a_header(group: str) -> None:
    text = group_in_header(group)
    assert text.isascii()
    assert text.isprintable()
    assert group_of_header(text) == group


def test_the_groups_that_most_hubs_have_are_named_as_they_are() -> None:
    assert group_in_header("/ops/team-a (all)") == "/ops/team-a (all)"
