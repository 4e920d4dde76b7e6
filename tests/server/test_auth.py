"""Who owns a run, and how often one may ask."""

from __future__ import annotations

import pytest
from jupyter_server.auth import User
from jupyter_server.auth.identity import IdentityProvider, LegacyIdentityProvider, PasswordIdentityProvider

from po_jupyter.errors import RateLimited
from po_jupyter.server.auth import RequestLimiter, owner_of
from tests.support.two_people import Named

RANDOM = User(username="5f0e3a", name="Anonymous Callisto")


@pytest.mark.parametrize("provider", [IdentityProvider, PasswordIdentityProvider, LegacyIdentityProvider])
def test_a_random_user_is_never_an_owner(
    provider: type[IdentityProvider], monkeypatch: pytest.MonkeyPatch
) -> None:
    """FINDINGS: a standalone token user gets a new random id on every request."""
    monkeypatch.delenv("JUPYTERHUB_USER", raising=False)
    assert owner_of(provider(), RANDOM) == "local"
    monkeypatch.setenv("JUPYTERHUB_USER", "ada")
    assert owner_of(provider(), RANDOM) == "ada"


def test_a_provider_that_knows_people_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub's server may be shared: the owner is who asks, not whose server it is."""
    monkeypatch.setenv("JUPYTERHUB_USER", "ada")
    assert owner_of(Named(), User(username="grace")) == "grace"


def test_a_bucket_refills_evenly() -> None:
    """DESIGN: so many a minute, told when to come back; each token has its own."""
    now = 0.0
    limiter = RequestLimiter(60, clock=lambda: now)
    for _ in range(60):
        limiter.count("a")
    limiter.count("b")
    with pytest.raises(RateLimited) as caught:
        limiter.count("a")
    assert caught.value.details == {"retry_after": 1}
    now = 2.0
    limiter.count("a")
    limiter.count("a")
    with pytest.raises(RateLimited):
        limiter.count("a")
    now = 1e6
    for _ in range(60):
        limiter.count("a")
    with pytest.raises(RateLimited):
        limiter.count("a")


def test_many_tokens_do_not_fill_the_memory() -> None:
    """Only so many buckets are kept."""
    limiter = RequestLimiter(60)
    for i in range(5000):
        limiter.count(str(i))
    assert len(limiter._buckets) <= 1000
