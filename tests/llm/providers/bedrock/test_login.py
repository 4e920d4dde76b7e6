"""The login of AWS's own tools."""

from __future__ import annotations

from pathlib import Path

import pytest

from po_jupyter.errors import ModelKeyError
from po_jupyter.llm.providers.bedrock import login

SECRET = "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY00"


def test_a_login_comes_from_aws_own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    file = tmp_path / "credentials"
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(ModelKeyError, match="there is none") as caught:
        login.obtain({})
    assert "po keys set bedrock" in caught.value.hint and "aws sso login" in caught.value.hint
    file.write_text(f"[default]\naws_access_key_id = AKIAX\naws_secret_access_key = {SECRET}\n")
    assert login.obtain({}) == {"AWS_ACCESS_KEY_ID": "AKIAX", "AWS_SECRET_ACCESS_KEY": SECRET}
    monkeypatch.setenv("AWS_PROFILE", "of-nobody")
    with pytest.raises(ModelKeyError, match="of-nobody"):
        login.obtain({})
