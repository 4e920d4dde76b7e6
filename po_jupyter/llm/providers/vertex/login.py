"""The login of Google Cloud's own tools (Application Default Credentials), exchanged for a token by google-auth:
service accounts, `gcloud auth application-default login`, federated identities, the accounts of Google's machines.

It runs where the orchestrator runs. A worker gets the token that comes out of it, which ends within an hour: no key of
a service account and no refresh token.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC

from po_jupyter.errors import ModelKeyError
from po_jupyter.llm.providers.short_lived import EXPIRES

TOKEN, PROJECT, QUOTA_PROJECT = "VERTEX_ACCESS_TOKEN", "VERTEX_LOGIN_PROJECT", "VERTEX_LOGIN_QUOTA_PROJECT"
"""The variables of the token, of the project that is asked, and of the one that the quota of a person's login is."""
_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_HINT = (
    "Log in with Google's tools where the orchestrator runs (gcloud auth application-default login), or set "
    "GOOGLE_APPLICATION_CREDENTIALS to the file of a service account."
)
_DETAILS = {"provider": "vertex", "variable": "GOOGLE_APPLICATION_CREDENTIALS"}


def obtain(environ: Mapping[str, str]) -> dict[str, str]:
    """A token with its project, as variables. Asks the network. Raises ModelKeyError with what to do.

    Files and variables of the process are google-auth's own affair: `environ` is that of this process.
    """
    try:
        import google.auth
        from google.auth.exceptions import GoogleAuthError
        from google.auth.transport.requests import Request
    except ImportError:
        raise ModelKeyError(
            "vertex needs the extra `vertex`", hint="pip install 'po_jupyter[vertex]'", details=_DETAILS
        ) from None
    try:
        credentials, found = google.auth.default(scopes=[_SCOPE])
        credentials.refresh(Request())  # type: ignore[no-untyped-call]  # google-auth has no types
    except GoogleAuthError as error:
        reason = " ".join(str(error.args[0] if error.args else error).split())
        raise ModelKeyError(
            f"the login of Google Cloud cannot be used: {reason[:300]}",
            hint=_HINT,
            details=_DETAILS,
        ) from None
    project = environ.get("GOOGLE_CLOUD_PROJECT", "").strip() or found or ""
    if not project:
        raise ModelKeyError(
            "vertex needs a project of Google Cloud, and neither GOOGLE_CLOUD_PROJECT nor the login names one",
            hint="Set GOOGLE_CLOUD_PROJECT where the orchestrator starts.",
            details={"provider": "vertex", "variable": "GOOGLE_CLOUD_PROJECT"},
        )
    variables = {TOKEN: str(credentials.token), PROJECT: project}
    if quota := getattr(credentials, "quota_project_id", None):
        variables[QUOTA_PROJECT] = str(quota)
    if credentials.expiry is not None:
        variables[EXPIRES] = str(credentials.expiry.replace(tzinfo=UTC).timestamp())
    return variables
