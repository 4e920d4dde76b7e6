"""Why each lower bound of pyproject.toml is there. `python -m tests.lowest` shows that the tests pass with them.

A security floor is the release that mends what an outsider could do with the version before it: the advisory is
named. The others are the oldest versions that are tested. Read in November 2026.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

import pytest
from packaging.specifiers import SpecifierSet

from tests.lowest import lower_bound, requirements

# By name: the floor, and why. What reads somebody's input comes first.
FLOORS = {
    # -- requests to the server
    "jupyter-server": ("2.20", "CVE-2026-44727: stored XSS in nbconvert's pages, with the user's token; before it "
                       "CVE-2026-35397, -40110, -40934 (2.18): paths outside the root, origins, redirects"),
    "tornado": ("6.6.1", "parsing of percent-encoded URLs that holds the loop before anybody is known, open redirects; "
                "before it 6.5.8 and 6.5.9 (limits of forms, links out of static folders), CVE-2026-31958 (6.5.5), "
                "CVE-2025-67724 (6.5.3: a reason phrase as HTML)"),
    "jupyterlab": ("4.5.10", "PYSEC-2026-3670; before it CVE-2026-40171 (4.5.7: a notebook that steals the token). "
                   "4.6.0 and 4.6.1 are without it"),
    # -- answers of models and of MCP servers
    "aiohttp": ("3.14.4", "PYSEC-2026-4369 and -4371; before it the client's CVE-2026-34993, -47265 (3.14.0: cookies "
                "after a redirect), CVE-2026-54273 to -54280 (3.14.1: no bound of what is read)"),
    "certifi": ("2024.7.4", "CVE-2024-39689: authorities that are trusted no more are gone from it"),
    "mcp": ("2.2", "CVE-2026-116686: a server's outputSchema has the client fetch any URL or file"),
    "httpx": ("0.28", "no advisory; the oldest that is tested"),
    # -- pipelines, seeds, schemas, templates
    "jinja2": ("3.1.6", "CVE-2025-27516: a way out of the sandbox by `attr`; before it CVE-2024-56201, -56326 (3.1.5)"),
    "pydantic": ("2.12.5", "no advisory (CVE-2024-3772 ended with 2.4); the oldest that the extras take"),
    "jsonschema": ("4.21", "no advisory; the oldest that is tested"),
    "genson": ("1.3", "no advisory; the oldest that is tested"),
    "regex": ("2024.4.16", "no advisory; the oldest that is tested, for patterns with a time limit"),
    "ruamel-yaml": ("0.18", "no advisory; the oldest that is tested"),
    "watchfiles": ("1", "no advisory; the oldest that is tested"),
    "diskcache": ("5.6.3", "CVE-2025-69872 (it unpickles what it finds) has no release without it: "
                  "`store.disk.json_disk` refuses every row that it did not write itself"),
    # -- the terminal and the notebook
    "click": ("8.3.3", "CVE-2026-7246: `click.edit` runs a command that is in a file's name"),
    "ipython": ("8.24", "no advisory (CVE-2023-24816 ended with 8.10); the oldest that is tested"),
    "ipykernel": ("6.29", "no advisory; the oldest that is tested"),
    "ipywidgets": ("8.1", "no advisory; the oldest that is tested"),
    "rich": ("13.7", "no advisory; the oldest that is tested"),
    "nest-asyncio": ("1.6", "no advisory; the oldest that is tested"),
    "apprise": ("1.9", "no advisory; the oldest that is tested"),
    "keyring": ("25", "no advisory since 0.10; the oldest that is tested"),
    # -- a hub
    "jupyterhub": ("6.1.1", "no advisory for 6 (5.4.4 and 5.5.1 are security releases); PKCE of a login came with 6.0, "
                   "and this is the oldest that is tested"),
    "pypdf": ("7.1", "the oldest that is tested; a process of its own bounds what files can do"),
    # -- logins of vendors
    "botocore": ("1.40", "no advisory since 1.0; the first with Converse's service tiers and bearer keys of Bedrock "
                 "is 1.39, and this is the oldest that is tested"),
    "google-auth": ("2.40", "no advisory; the oldest that is tested"),
    # -- messages of a broker
    "celery": ("5.7", "no advisory since 5.2.2 (CVE-2021-23727); kombu 5.7 comes with it, the oldest that is tested"),
    # -- tests of prompts
    "python-jsonpath": ("1.1", "no advisory; the oldest that is tested. RFC 9535 with its test suite, typed, without "
                        "dependencies, several releases a year; jsonpath-ng has a grammar of its own"),
    # -- schedules
    "cronsim": ("2.6", "no advisory; the oldest that is tested. Kept for Healthchecks, used by Home Assistant, without "
                "dependencies, typed, a release a year (2.8: November 2026), and it does what Debian's cron does where "
                "clocks change. croniter was declared abandoned before pallets-eco took it over in 2025, is at its "
                "seventh major version (November 2026), and needs dateutil; APScheduler's trigger comes with a "
                "scheduler of its own, counts weekdays from Monday, and its version 4 is an alpha since 2022"),
    "tzdata": ("2024.1", "no advisory; where the system has no time zones (Windows, small containers)"),
    "sqlalchemy": ("2.0.40", "no advisory since 1.3; the oldest that is tested"),
    # -- inside
    "bpe-openai": ("0.1.4", "no advisory; the only one with the vocabularies that prices are counted by"),
    "genai-prices": ("0.2", "no advisory; the format of its list"),
    "prometheus-client": ("0.20", "no advisory; the oldest that is tested"),
    "opentelemetry-sdk": ("1.27", "no advisory; the oldest that is tested"),
    "opentelemetry-exporter-otlp-proto-http": ("1.27", "no advisory; the oldest that is tested"),
    "platformdirs": ("4", "no advisory; the oldest that is tested"),
    "obstore": ("0.12", "no advisory; the oldest that is tested"),
    "polars": ("1.30", "no advisory; the oldest that is tested"),
    "psycopg": ("3.2", "no advisory; the oldest that is tested"),
    "psutil": ("5.9", "no advisory (CVE-2019-18874 ended with 5.6.6); the oldest that is tested"),
    "structlog": ("24.1", "no advisory; the oldest that is tested"),
    "tenacity": ("9", "no advisory; the oldest that is tested"),
    "xllamacpp": ("2026.10.11549", "no advisory for its binding; the oldest that is tested, with a current llama.cpp"),
}  # fmt: skip


def test_every_lower_bound_has_a_reason() -> None:
    """C6: a new dependency, or another bound, says here why."""
    found = {name: lower_bound(specifiers) for name, specifiers in requirements().items()}
    assert found == {name: floor for name, (floor, _) in FLOORS.items()}


@pytest.mark.parametrize("name", FLOORS)
def test_what_is_installed_is_not_below_its_floor(name: str) -> None:
    """C6: an older one must not be kept by `pip install -U`."""
    try:
        installed = version(name)
    except PackageNotFoundError:
        pytest.skip(f"not installed here: pip install {name}")
    assert installed in SpecifierSet(requirements()[name], prereleases=True)


def test_versions_with_a_known_hole_are_not_taken() -> None:
    """C6: the last versions before a security floor, and those of a later branch that have the same hole."""
    holes = {
        "jupyter-server": ("2.14.0", "2.19.0"), "jupyterlab": ("4.2.0", "4.5.9", "4.6.0", "4.6.1"),
        "aiohttp": ("3.10.0", "3.14.3"), "jinja2": ("3.1.5",), "tornado": ("6.5.10", "6.6.0"),
        "click": ("8.2.0", "8.3.2"), "mcp": ("1.29.1", "2.1.1"),
    }  # fmt: skip
    taken = [
        f"{name} {old}"
        for name, versions in holes.items()
        for old in versions
        if old in SpecifierSet(requirements()[name])
    ]
    assert taken == []
