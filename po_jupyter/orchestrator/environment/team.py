"""What the gateway of a hub says of a user's models and budgets, asked now and then and kept meanwhile."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TypedDict

import httpx
import structlog

from po_jupyter.llm.credentials.team import TeamCatalogue
from po_jupyter.model.values.json import JsonObject
from po_jupyter.orchestrator.environment.kept_prices import KeptPrices

log = structlog.get_logger(__name__)

_FRESH = 30.0  # s that an answer is good for
_FRESH_USAGE = 5.0
_RETRY = 5.0  # s until a gateway that did not answer is asked again
_PATIENCE = 4.0  # s of one request
_MOST_BYTES = 8 * 1024**2  # of an answer: ten thousand models are 2 MB


class TeamUsage(TypedDict):
    """A user's use of the gateway: its windows as `api/usage` has them; `problem` is why nothing newer is known."""

    url: str
    user: str
    groups: list[str]
    windows: list[JsonObject]
    problem: str


class Team:
    """The gateway as one user sees it. Its methods block for seconds at most, and raise nothing: call them in a thread.

    `token` is asked for at each request: that of a server ends with it.
    """

    def __init__(
        self,
        url: str,
        token: Callable[[], str],
        *,
        kept: KeptPrices | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nothing is asked or read yet. `kept` has the last prices until the gateway answers."""
        self._kept = kept
        self.url = url
        self._token = token
        self._clock = clock
        self._lock = threading.Lock()
        self._catalogue: TeamCatalogue | None = None
        self._catalogue_until = float("-inf")
        self._usage: TeamUsage = {"url": url, "user": "", "groups": [], "windows": [], "problem": ""}
        self._usage_until = float("-inf")

    def catalogue(self) -> TeamCatalogue:
        """The user's models; the last ones that are known while the gateway is away."""
        with self._lock:
            known = self._catalogue
            if known is None:
                known = TeamCatalogue(prices=self._kept.read() if self._kept is not None else {})
            if self._clock() >= self._catalogue_until:
                body, problem = self._ask("api/models")
                if not problem:
                    try:
                        known = TeamCatalogue.from_json(body)
                        if self._kept is not None:
                            self._kept.write(known.prices)
                    except ValueError as error:
                        problem = f"the gateway's list of models cannot be read: {error}"
                known = replace(known, problem=problem)
                self._catalogue_until = self._clock() + (_RETRY if problem else _FRESH)
            self._catalogue = known
            return known

    def usage(self) -> TeamUsage:
        """The user's use and limits; the last that are known while the gateway is away."""
        with self._lock:
            if self._clock() >= self._usage_until:
                body, problem = self._ask("api/usage")
                if isinstance(body, dict) and not problem:
                    windows = body.get("windows")
                    self._usage = {
                        "url": self.url,
                        "user": str(body.get("user") or ""),
                        "groups": [str(group) for group in body.get("groups") or ()],
                        "windows": [w for w in windows if isinstance(w, dict)]
                        if isinstance(windows, list)
                        else [],
                        "problem": "",
                    }
                else:
                    self._usage = {**self._usage, "problem": problem or "the gateway's usage cannot be read"}
                self._usage_until = self._clock() + _FRESH_USAGE
            return self._usage

    def _ask(self, path: str) -> tuple[object, str]:
        """(the JSON at a path, why there is none)."""
        token = self._token()
        if not token:
            return None, "there is no token of the hub here: po keys set hub"
        try:
            with httpx.stream(
                "GET",
                f"{self.url}/{path}",
                headers={"authorization": f"Bearer {token}", "accept": "application/json"},
                timeout=_PATIENCE,
                follow_redirects=False,
            ) as response:
                body = bytearray()
                for piece in response.iter_bytes():
                    body += piece
                    if len(body) > _MOST_BYTES:
                        return None, "the hub's gateway does not answer now (far too much)"
            if response.status_code == 401:
                return None, "the hub does not know this token (any more)"
            if response.status_code == 403 and "x-po-error" in response.headers:
                return None, "you may not use the team's models: the hub's admin decides"
            if response.status_code != 200:
                return None, f"the hub's gateway does not answer now ({response.status_code})"
            return json.loads(body), ""
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return None, f"the hub's gateway cannot be reached ({type(error).__name__})"
        except ValueError:
            return None, "the hub's gateway does not answer now (no JSON)"


def today_of(usage: TeamUsage) -> JsonObject | None:
    """The user's own day in US dollars as `{used, limit}`, None where the gateway limits and counts none."""
    for window in usage["windows"]:
        scope = str(window.get("scope")).partition(":")[0]
        if (scope, window.get("window"), window.get("unit")) == ("user", "day", "usd"):
            used = float(window.get("used") or 0.0) + float(window.get("reserved") or 0.0)
            limit = window.get("limit")
            return {"used": used, "limit": float(limit) if limit is not None else None}
    return None
