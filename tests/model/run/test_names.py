"""Names of runs and people."""

from po_jupyter.model.run.names import actor_of, short_id


def test_people_see_the_end_of_a_runs_id() -> None:
    assert short_id("01hx5zzkbkactav9wevgemmvry") == "emmvry"
    assert short_id("ab") == "ab"


def test_who_sees_everybodys_runs_acts_as_admin() -> None:
    assert actor_of("ada") == "ada"
    assert actor_of(None) == actor_of("") == "admin"
