"""Which model a request means, and whose it is."""

from __future__ import annotations

import pytest

from po_jupyter.hub.identity import HubUser
from po_jupyter.hub.limits_file import checked
from po_jupyter.hub.problems import GatewayProblem
from po_jupyter.hub.team_models import TeamModels

A, B, C = "openai:gpt-5-mini", "openai:gpt-5", "openrouter:openai/gpt-5"


def team(**limits: object) -> TeamModels:
    return TeamModels(
        checked(
            {
                "providers": {"openai": {}, "openrouter": {}, "gemini": {}},
                "models": [A, B, C, "gemini:gemini-2.5-flash"],
                "aliases": {"Small": A, "openai:big": B},
                "limits": limits,
            },
            "x",
        )
    )


ALICE = HubUser("alice", ("red", "blue"))


@pytest.mark.parametrize(
    ("provider", "name", "ref"),
    [
        ("openai", "gpt-5", B),
        ("openai", "GPT-5 ", B),
        ("openai", "openai:gpt-5", B),
        ("openai", "openai/gpt-5", B),
        ("openai", "small", A),
        ("openai", "big", B),
        ("openrouter", "openai/gpt-5", C),
        ("gemini", "models/gemini-2.5-flash", "gemini:gemini-2.5-flash"),
    ],
)
def test_names_are_the_teams_or_none(provider: str, name: str, ref: str) -> None:
    assert team().resolve(ALICE, provider, name) == ref


@pytest.mark.parametrize(
    "name", ["gpt-4", "gpt-5-mini-2025-08-07", "", "models/models/gpt-5", "openai:openai:gpt-5", "small:x"]
)
def test_another_name_is_refused_with_the_list(name: str) -> None:
    with pytest.raises(GatewayProblem) as refused:
        team().resolve(ALICE, "openai", name)
    assert refused.value.code == "model_not_allowed" and A in refused.value.message


@pytest.mark.parametrize(
    ("limits", "allowed"),
    [
        ({}, {A, B, C, "gemini:gemini-2.5-flash"}),
        ({"each_user": {"models": ["Small"]}}, {A}),
        ({"each_user": {"models": [A]}, "groups": {"red": {"models": [B]}, "blue": {"models": [C]}}}, {B, C}),
        ({"groups": {"red": {"models": [B]}}, "users": {"alice": {"models": ["Small"]}}}, {A}),
        ({"all": {"models": [A, B]}, "users": {"alice": {"models": [B, C]}}}, {B}),
        ({"users": {"alice": {"models": []}}}, set()),
        ({"users": {"alice": {"usd_per_day": 1}}, "groups": {"red": {"models": [B]}}}, {B}),
        ({"groups": {"green": {"models": [B]}}, "each_user": {"models": [A]}}, {A}),
    ],
)
def test_a_users_models(limits: dict[str, object], allowed: set[str]) -> None:
    assert set(team(**limits).of_user(ALICE)) == allowed
