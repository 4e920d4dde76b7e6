"""`po help`: the documentation that comes with the package, read offline.

The pages are the Markdown files of `po_jupyter/docs/`, in the order in which the index there (`README.md`) links
them. A topic is a page's file name without its ending, the name of a section, or a verb of `po`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from shutil import get_terminal_size

import click

from po_jupyter.cli import base
from po_jupyter.errors import NotFound

_WIDTH = 100  # columns at most; longer lines are tiring to read
_FENCED = re.compile(r"^(```|~~~).*?^\1[ ]*$", re.M | re.S)
_COMMENT = re.compile(r"<!--.*?-->\n?", re.S)
_IMAGE = re.compile(r"^!\[([^]]*)\]\([^)]*\)\n?", re.M)
_LINK = re.compile(r"\[([^]]+)\]\(([^)\s]+)\)")
_LINKED_PAGE = re.compile(r"\]\((\w+)/([\w-]+)\.md\)")


@dataclass(frozen=True, slots=True)
class DocPage:
    """One page: its topic, its section (the folder: `start`, `guide`, ...), title and first sentence."""

    topic: str
    section: str
    title: str
    summary: str


def _folder() -> Traversable:
    return files("po_jupyter") / "docs"


def _source(page: DocPage) -> str:
    return (_folder() / page.section / f"{page.topic}.md").read_text("utf-8")


@cache
def pages() -> tuple[DocPage, ...]:
    """Every page, in the order of the index."""
    index = (_folder() / "README.md").read_text("utf-8")
    return tuple(_page(section, topic) for section, topic in _LINKED_PAGE.findall(index))


def _page(section: str, topic: str) -> DocPage:
    text = _COMMENT.sub("", (_folder() / section / f"{topic}.md").read_text("utf-8"))
    heading, _, rest = text.strip().partition("\n")
    paragraph = " ".join(rest.strip().partition("\n\n")[0].split())
    summary = re.split(r"(?<=\.)\s", _linkless(paragraph), maxsplit=1)[0].replace("`", "")
    return DocPage(topic, section, heading.lstrip("# "), summary)


def _linkless(text: str) -> str:
    return _LINK.sub(lambda link: link[1], text)


def page_text(page: DocPage) -> str:
    """The page as Markdown that stands alone: links to other pages become commands, pictures their captions."""
    parts = []
    text = _COMMENT.sub("", _source(page))
    position = 0
    for fenced in _FENCED.finditer(text):
        parts += [_standing_alone(text[position : fenced.start()]), fenced[0]]
        position = fenced.end()
    return "".join([*parts, _standing_alone(text[position:])]).strip() + "\n"


def _standing_alone(text: str) -> str:
    return _LINK.sub(_as_command, _IMAGE.sub(r"*(Picture: \1)*\n", text))


def _as_command(link: re.Match[str]) -> str:
    title, target = link[1], link[2]
    if "://" in target:
        return link[0]
    path = target.partition("#")[0]
    topic = path.rpartition("/")[2].removesuffix(".md")
    is_page = path.endswith(".md") and topic in {page.topic for page in pages()}
    return f"{title} (`po help {topic}`)" if is_page else title


def _find(topic: str) -> DocPage | None:
    section, _, name = topic.strip("/").removesuffix(".md").rpartition("/")
    slug = name.lower().replace("_", "-").replace(" ", "-")
    return next((p for p in pages() if p.topic == slug and section in ("", p.section)), None)


def _sections() -> Iterator[tuple[str, list[DocPage]]]:
    for section in dict.fromkeys(page.section for page in pages()):
        yield section, [page for page in pages() if page.section == section]


def _print_topics(section: str | None, as_json: bool) -> None:
    chosen = [(name, listed) for name, listed in _sections() if section in (None, name)]
    if as_json:
        base.print_json({"topics": [asdict(page) for _, listed in chosen for page in listed]})
        return
    width = max(len(page.topic) for _, listed in chosen for page in listed)
    room = max(40, get_terminal_size().columns - width - 4) if sys.stdout.isatty() else sys.maxsize
    for name, listed in chosen:
        base.print_line(name, bold=True)
        for page in listed:
            base.print_line(f"  {page.topic:<{width}}  {base.one_line(page.summary, room)}")
        base.print_line()
    base.print_line("po help TOPIC shows one of them, po VERB --help what a verb takes.")


def _notebook_shown(text: str) -> bool:
    """Show Markdown as the output of a notebook cell; False where there is no notebook."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if getattr(shell, "kernel", None) is None:
        return False
    from IPython.display import Markdown, display

    display(Markdown(text))  # type: ignore[no-untyped-call]  # IPython has no types for them
    return True


def show_page(text: str) -> None:
    """The Markdown as a page in a terminal or a notebook; as it is in a pipe."""
    if _notebook_shown(text):
        return
    if not sys.stdout.isatty():
        click.echo(text, nl=False)
        return
    from rich.console import Console
    from rich.markdown import Markdown

    console = Console()
    console.print(Markdown(text), width=min(_WIDTH, console.width))


def _verb_help(context: click.Context, name: str) -> str | None:
    """The text of `po NAME --help`, or None when there is no such verb."""
    root = context.find_root()
    if not isinstance(root.command, click.Group) or name not in root.command.list_commands(root):
        return None
    command = root.command.get_command(root, name)
    return None if command is None else command.get_help(click.Context(command, info_name=name, parent=root))


@click.command()
@click.argument("topic", required=False)
@base.JSON
@click.pass_context
def help(context: click.Context, topic: str | None, as_json: bool) -> int:
    """Show a page of the documentation, or list the pages.

    TOPIC is a page (gates), a section (guide) or a verb. Nothing is started, and nothing is asked of the network.
    """
    if topic is None or topic in {page.section for page in pages()}:
        _print_topics(topic, as_json)
        return 0
    page = _find(topic)
    if page is not None:
        text = page_text(page)
        if as_json:
            base.print_json({**asdict(page), "text": text})
        else:
            show_page(text)
        return 0
    text_of_verb = _verb_help(context, topic)
    if text_of_verb is None:
        from po_jupyter.model.pipeline.violations import did_you_mean  # pydantic: only for a mistake

        topics = [page.topic for page in pages()]
        raise NotFound(
            f"there is no help on {base.one_line(topic, 60)!r}{did_you_mean(topic, topics)}",
            hint="`po help` lists the topics.",
        )
    if as_json:
        base.print_json({"topic": topic, "section": "verb", "title": f"po {topic}", "text": text_of_verb})
    else:
        base.print_line(text_of_verb)
    return 0
