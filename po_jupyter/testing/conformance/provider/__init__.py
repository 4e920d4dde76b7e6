"""What every provider must do, as tests that any implementation can be put through.

    from po_jupyter.testing.conformance.provider import ProviderConformance

    class TestMine(ProviderConformance):
        exchanges = Path(__file__).parent / "mine.json"    # or the name of a file in `exchanges/`
        model = "mine:model-1"

        def make(self, server, http):
            return MyProvider(Endpoint(server.base_url, server.key), http)

        def accept(self, request):        # optional: raise unless the vendor would take this request
            ...

The exchanges are what a vendor's server answers, replayed by a real server on loopback. Each file says which
reference it was written after and when that was read; an exchange is `{status, headers, body}` or
`{status, headers, events}`, `like` names another file that fills in what is not there. A case whose exchange is
missing is skipped: the API does not have it. `{key}` in a body is replaced by the key: an error that shows it
must not be passed on.

Each case makes one call, so each also checks that one HTTP request was made, that the vendor would accept it
(`accept`), and that the key went into a header and nowhere else.
"""

from __future__ import annotations

from po_jupyter.testing.conformance.provider.answers import AnswerCases
from po_jupyter.testing.conformance.provider.failures import FailureCases
from po_jupyter.testing.conformance.provider.requests import RequestCases
from po_jupyter.testing.conformance.provider.stage import KEY, found, load, reply_of, words

__all__ = [
    "KEY",
    "AnswerCases",
    "FailureCases",
    "ProviderConformance",
    "RequestCases",
    "found",
    "load",
    "reply_of",
    "words",
]


class ProviderConformance(AnswerCases, RequestCases, FailureCases):
    """All of it; see the module for what to override."""
