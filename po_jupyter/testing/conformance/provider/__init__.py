"""The conformance suite of providers: tests that any implementation can be put through.

    from po_jupyter.providers import Endpoint
    from po_jupyter.testing.conformance.provider import ProviderConformance

    class TestMine(ProviderConformance):
        exchanges = Path(__file__).parent / "mine.json"    # or the name of a file in `exchanges/`
        model = "mine:model-1"

        def make(self, server, http):
            return MyProvider(Endpoint(server.base_url, server.key), http)

        def accept(self, request):        # optional: raise unless the vendor would take this request
            ...

The exchanges are answers of a vendor's server, replayed by a real server on loopback. Each file names the reference
that it was written after and when that was read; an exchange is `{status, headers, body}` or
`{status, headers, events}`, `like` names another file for the exchanges that are missing. A case without an exchange
is skipped: the API does not have it. `{key}` in a body is replaced by the key: an error that shows it must not be
passed on.

Each case makes one call, so each also checks that one HTTP request was made, that the vendor would accept it
(`accept`), and that the key went into a header and nowhere else.
"""

from __future__ import annotations

from po_jupyter.llm.moved import moved_names
from po_jupyter.testing.conformance.provider.answers import AnswerCases
from po_jupyter.testing.conformance.provider.case_base import KEY, as_json_text, load, reply_of, values_under
from po_jupyter.testing.conformance.provider.failures import FailureCases
from po_jupyter.testing.conformance.provider.requests import RequestCases

__all__ = [
    "KEY",
    "AnswerCases",
    "FailureCases",
    "ProviderConformance",
    "RequestCases",
    "as_json_text",
    "load",
    "reply_of",
    "values_under",
]


class ProviderConformance(AnswerCases, RequestCases, FailureCases):
    """All cases; the module says what to override."""


_HOME = "po_jupyter.testing.conformance.provider"

# Two helpers have other names now; the old ones stay for one release.
__getattr__ = moved_names(
    __name__,
    {
        old: (f"{_HOME}.case_base:{new}", f"{_HOME}.{new}")
        for old, new in {"found": "values_under", "words": "as_json_text"}.items()
    },
)
