"""The validator of schemas is there when it is needed, and costs what it is worth."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.integration


def _python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.strip()


def test_the_grammar_of_iris_is_not_built_for_those_who_check_none() -> None:
    """B8: a schema is checked without a second of imports before it."""
    code = (
        "import sys\nfrom po_jupyter.model.pipeline import json_schema\njson_schema.load()\n"
        "from jsonschema import Draft202012Validator as V\n"
        "V.check_schema({'type': 'object'})\n"
        "print(*[name in sys.modules for name in ('lark', 'rfc3987_syntax', 'arrow', 'isoduration')])"
    )
    assert _python(code) == "False False False False"


def test_who_checks_an_iri_gets_the_check() -> None:
    """B8: what user code asks of jsonschema in a worker is answered as ever."""
    code = (
        "from po_jupyter.model.pipeline import json_schema\njson_schema.load()\n"
        "from jsonschema import Draft202012Validator as V, FormatChecker\n"
        "v = V({'format': 'iri'}, format_checker=FormatChecker())\n"
        "print(v.is_valid('http://example.org/\\u00fc'), v.is_valid('no iri'))\n"
        "import rfc3987_syntax\nprint(hasattr(rfc3987_syntax, 'is_valid_syntax_iri'))"
    )
    assert _python(code) == "True False\nTrue"


def test_who_checks_a_duration_gets_the_check() -> None:
    """B8: so too for what brings arrow along."""
    code = (
        "from po_jupyter.model.pipeline import json_schema\njson_schema.load()\n"
        "from jsonschema import Draft202012Validator as V, FormatChecker\n"
        "v = V({'format': 'duration'}, format_checker=FormatChecker())\n"
        "print(*map(v.is_valid, ('P1DT2H', 'P1', 'a day', 3)))\n"
        "import isoduration\nprint(isoduration.parse_duration('P1D').date.days)"
    )
    assert _python(code) == "True False False True\n1"
