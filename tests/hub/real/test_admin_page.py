"""The page of the gateway after a login at a real hub: an admin sees everybody's use there, a user their own."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from po_jupyter.testing.model_server import ModelServer
from tests.support.jupyterhub import PASSWORD, RealHub, real_hub

pytestmark = pytest.mark.acceptance

PEOPLE = {"biologists": ["alice", "bob"], "chemists": ["carol"], "po-admins": ["ada"]}


@pytest.fixture(scope="module")
def hub(vendor: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealHub]:
    folder = tmp_path_factory.mktemp("hub")
    with real_hub(folder, upstream=vendor.root_url, people=PEOPLE) as hub:
        yield hub


def test_an_admin_who_logs_in_sees_everybodys_use_and_a_user_does_not(hub: RealHub):
    """The token of a login has only the scopes that the service's entry in the configuration allows."""
    for user, sees in (("ada", True), (hub.alice, False)):
        with httpx.Client(trust_env=False, follow_redirects=True, timeout=60) as browser:
            page = logged_in(hub, browser, user)
            assert f"<strong>{user}</strong>" in page
            assert ("usage?by=user" in page) is sees, user
            table = browser.get(f"{hub.gateway_url}/api/admin/usage?by=user&format=csv")
            assert (table.status_code == 200) is sees, user


def logged_in(hub: RealHub, browser: httpx.Client, user: str) -> str:
    """The page, by way of the hub's form."""
    form = browser.get(f"{hub.gateway_url}/")
    assert form.url.path == "/hub/login"
    xsrf = next(cookie.value for cookie in browser.cookies.jar if cookie.name == "_xsrf")
    page = browser.post(str(form.url), data={"username": user, "password": PASSWORD, "_xsrf": xsrf})
    assert page.status_code == 200
    return page.text
