"""The login of AWS's own tools: environment, profiles, SSO, roles of containers and machines, all found by botocore.

It runs where the orchestrator runs. A worker gets what comes out of it, which mostly ends within hours: no profile, no
role and no refresh token.
"""

from __future__ import annotations

from collections.abc import Mapping

from po_jupyter.errors import ModelKeyError
from po_jupyter.llm.providers.short_lived import EXPIRES

_HINT = (
    "Store a key of Bedrock's own: po keys set bedrock; or log in with AWS's tools (aws configure, aws sso login) "
    "where the orchestrator runs."
)


def obtain(environ: Mapping[str, str]) -> dict[str, str]:
    """Credentials as AWS's own variables. May ask the network. Raises ModelKeyError with what to do.

    Profiles and the variables of the process are botocore's own affair: `environ` is that of this process.
    """
    try:
        from botocore.exceptions import BotoCoreError
        from botocore.session import Session
    except ImportError:
        raise ModelKeyError(
            "bedrock needs the extra `bedrock`", hint="pip install 'po_jupyter[bedrock]'", details=_DETAILS
        ) from None
    try:
        found = Session().get_credentials()
        frozen = None if found is None else found.get_frozen_credentials()
    except BotoCoreError as error:
        raise ModelKeyError(
            f"the login of AWS cannot be used: {' '.join(str(error).split())[:300]}",
            hint=_HINT,
            details=_DETAILS,
        ) from None
    if found is None or frozen is None or not (frozen.access_key and frozen.secret_key):
        raise ModelKeyError(
            "bedrock needs a key or a login of AWS, and there is none", hint=_HINT, details=_DETAILS
        )
    variables = {"AWS_ACCESS_KEY_ID": frozen.access_key, "AWS_SECRET_ACCESS_KEY": frozen.secret_key}
    if frozen.token:
        variables["AWS_SESSION_TOKEN"] = frozen.token
    expires = getattr(found, "_expiry_time", None)  # of credentials that botocore renews; it has no public name
    if expires is not None:
        variables[EXPIRES] = str(expires.timestamp())
    return variables


_DETAILS = {"provider": "bedrock", "variable": "AWS_BEARER_TOKEN_BEDROCK"}
