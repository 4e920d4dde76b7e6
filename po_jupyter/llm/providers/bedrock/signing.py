"""Signatures of requests (AWS Signature Version 4), made by botocore. Importing it takes botocore's time."""

from __future__ import annotations

from collections.abc import Mapping

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

_SERVICE = "bedrock"


def signature(url: str, body: bytes, credentials: Mapping[str, str], region: str) -> dict[str, str]:
    """The headers that sign a POST of `body` to `url`. Content type and host are signed, and no header beside: a proxy
    may add its own."""
    request = AWSRequest("POST", url, headers={"content-type": "application/json"}, data=body)
    keys = Credentials(
        credentials["AWS_ACCESS_KEY_ID"],
        credentials["AWS_SECRET_ACCESS_KEY"],
        credentials.get("AWS_SESSION_TOKEN") or None,
    )
    SigV4Auth(keys, _SERVICE, region).add_auth(request)
    return {name.lower(): str(value) for name, value in request.headers.items()}
