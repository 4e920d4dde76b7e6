"""The pages of the documentation are found, linked and true: what they name exists."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from po_jupyter.cli.main import VERBS, po
from po_jupyter.cli.verbs.help import page_text, pages
from po_jupyter.config import OTHER_VARIABLES, Settings
from po_jupyter.testing.conformance.provider import ProviderConformance
from tests.docs.snippets import DOCS, PAGES, name_of, snippets_of
from tests.support.paths import ROOT

WRITTEN = [page for page in PAGES if "reference" not in page.parts]  # by hand


def anchor(title: str) -> str:
    """How GitHub links to a heading."""
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


def headings(path: Path) -> list[str]:
    text = re.sub(r"^```.*?^```$", "", path.read_text("utf-8"), flags=re.M | re.S)
    return re.findall(r"^#+ (.*)$", text, re.M)


def commands() -> Iterator[tuple[str, click.Command]]:
    context = po.make_context("po", [], resilient_parsing=True)
    for name in VERBS:
        command = po.get_command(context, name)
        assert command is not None
        yield name, command
        if isinstance(command, click.Group):
            yield from command.commands.items()


def test_the_index_has_every_page_once() -> None:
    listed = [f"{page.section}/{page.topic}" for page in pages()]
    there = [name_of(path) for path in DOCS.rglob("*.md") if path.parent != DOCS]
    assert sorted(listed) == sorted(there)


def test_a_topic_names_one_page() -> None:
    topics = [page.topic for page in pages()]
    assert len(topics) == len(set(topics))
    assert not {page.section for page in pages()} & set(topics)


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.topic)
def test_a_page_begins_with_a_title_and_a_sentence(page: object) -> None:
    """What `po help` lists: one sentence that says what is there."""
    assert page.title and page.summary
    assert 20 < len(page.summary) < 140, page.summary


def test_the_readme_links_every_page() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    for page in pages():
        assert f"](po_jupyter/docs/{page.section}/{page.topic}.md)" in text, page


@pytest.mark.parametrize("path", [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"], ids=name_of)
def test_every_link_leads_somewhere(path: Path) -> None:
    text = re.sub(r"^```.*?^```$|`[^`\n]*`", "", path.read_text("utf-8"), flags=re.M | re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        name, _, fragment = target.partition("#")
        file = (path.parent / name).resolve() if name else path
        assert file.exists(), f"{path.name}: {target}"
        if fragment:
            assert fragment in {anchor(title) for title in headings(file)}, f"{path.name}: {target}"


def test_pages_stand_alone_in_the_terminal() -> None:
    """Comments are for tests, and a link to a file leads nowhere there."""
    for page in pages():
        text = page_text(page)
        assert "<!--" not in text
        assert not re.search(r"\]\((?!https?:)[^)]*\.md", text), page


def test_verbs_and_options_named_exist() -> None:
    known = {o for _, c in commands() for p in c.params for o in (*p.opts, *p.secondary_opts)} | {"--help"}
    magics = {"--run", "--try", "--out", "--wait", "--po-live"}  # and of pytest
    for path in WRITTEN:
        text = path.read_text("utf-8")
        quoted = " ".join(re.findall(r"`([^`\n]+)`", text))
        shell = "\n".join(s.code for s in snippets_of(path) if s.language in ("bash", "console"))
        for verb in [*re.findall(r"`%?po ([a-z]+)", text), *re.findall(r"^po ([a-z]+)", shell, re.M)]:
            assert verb in VERBS, f"{path.name}: po {verb}"
        lines = [line for line in shell.splitlines() if line.startswith(("po ", "$ po "))]
        options = re.findall(r"(?<![\w-])--[a-z][a-z-]+", " ".join([quoted, *lines]))
        assert set(options) - known - magics == set(), path.name


def test_the_overview_of_verbs_is_whole() -> None:
    (overview,) = [s.code for s in snippets_of(DOCS / "start" / "terminal.md") if s.language == "text"]
    named: set[str] = set()
    for line in overview.splitlines():
        named |= set(re.findall(r"\b[a-z]+\b", re.split(r"\s{3,}", line)[0])) - {"po"}
    assert named == set(VERBS)


def test_settings_named_exist() -> None:
    variables = {f"PO_{name.upper()}" for name in Settings.model_fields} | OTHER_VARIABLES
    for path in WRITTEN:
        for name in re.findall(r"\bPO_[A-Z_]*[A-Z]\b", path.read_text("utf-8")):
            known = name in variables or any(v.startswith(f"{name}_") for v in variables)
            assert known, f"{path.name}: {name}"


def test_defaults_named_are_those_of_the_settings() -> None:
    """Numbers that pages give behind a setting's name in a table."""
    rows = [
        (path.name, name, default)
        for path in WRITTEN
        for name, default in re.findall(
            r"^\| `PO_(\w+)`[^|]* \| `?([\w.:-]+)`? \|", path.read_text("utf-8"), re.M
        )
        if name.lower() in Settings.model_fields
    ]
    assert len(rows) >= 3
    for page, name, default in rows:
        assert str(Settings.model_fields[name.lower()].default).removesuffix(".0") == default, (page, name)


def test_the_extras_are_those_of_the_package() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    text = (DOCS / "start" / "install.md").read_text("utf-8")
    table = text.partition("## Extras")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.M)) == set(extras)


def test_the_number_of_conformance_cases_is_right() -> None:
    cases = [name for name in dir(ProviderConformance) if name.startswith("test_")]
    assert f"has {len(cases)} cases" in (DOCS / "design" / "writing-a-provider.md").read_text("utf-8")


def test_each_page_that_a_hint_names_is_there() -> None:
    sources = [path.read_text("utf-8") for path in (ROOT / "po_jupyter").rglob("*.py")]
    named = {topic for text in sources for topic in re.findall(r"po help ([a-z][a-z-]+)", text)}
    assert "several-machines" in named
    assert named <= {page.topic for page in pages()}
