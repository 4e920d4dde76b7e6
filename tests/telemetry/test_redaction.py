"""P10: never a secret in a line, by its value or by the name of its field."""

from __future__ import annotations

from po_jupyter.config import Settings
from po_jupyter.telemetry.redaction import STARS, Redactor, fingerprint, fingerprints_of, secrets_of


def test_short_values_are_no_secrets() -> None:
    redactor = Redactor(["yes", "a-long-secret"])
    assert redactor.text("yes, a-long-secret") == "yes, ********"
    assert redactor.value({"prompt_tokens": 3, "api_key": "k", "list": ["a-long-secret"]}) == {
        "prompt_tokens": 3, "api_key": "********", "list": ["********"],
    }  # fmt: skip


def test_the_longest_secret_goes_first() -> None:
    redactor = Redactor(["sk-secret-1", "sk-secret-1-and-more"])
    assert redactor.text("x sk-secret-1-and-more y") == f"x {STARS} y"


def test_an_output_is_scrubbed_by_value_only() -> None:
    """The names of a row's fields are the user's."""
    redactor = Redactor(["a-long-secret"])
    assert redactor.scrub({"token": "mine", "a-long-secret": [{"x": "a-long-secret!"}]}) == {
        "token": "mine", STARS: [{"x": f"{STARS}!"}],
    }  # fmt: skip
    value = {"deep": [[[[[[[["a-long-secret"]]]]]]]]}
    assert STARS in str(redactor.scrub(value))
    assert Redactor().scrub(value) is value


def test_secrets_are_found_by_the_names_of_variables() -> None:
    environ = {"OPENAI_API_KEY": "sk-1", "MONKEY": "no", "HF_TOKEN": "hf", "DB_PASSWORD": "pw"}
    assert sorted(secrets_of(environ, Settings(auth_token="token-of-the-door"))) == [
        "hf",
        "pw",
        "sk-1",
        "token-of-the-door",
    ]


def test_a_secret_is_recognized_by_its_fingerprint() -> None:
    """C5: a worker takes out of its texts what it does not have."""
    secrets = ["sk-planted-0123456789", "sk-planted-0123456789-and-more", "s.k.8chr", "ünïcödé-secret"]
    knows = Redactor()
    knows.learn_fingerprints(fingerprints_of([*secrets, "short"]))
    for secret in secrets:
        assert (
            knows.text(f"a {secret}{secret[:3]} b, sk-sk-{secret}.")
            == f"a {STARS}{secret[:3]} b, sk-sk-{STARS}."
        )
        assert knows.scrub({secret: [secret]}) == {STARS: [STARS]}
        assert knows.bytes(b"\xff " + secret.encode()) == b"\xff " + STARS.encode()
        assert all(secret not in str(known) for known in fingerprints_of(secrets))
    harmless = "sk-planted-0123456780 is another, short is a word"
    assert knows.text(harmless) == harmless
    assert fingerprint(secrets[0]) != fingerprint(secrets[0]), "salted"
