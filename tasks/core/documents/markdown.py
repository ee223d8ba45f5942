"""Documents as Markdown in which no name or note is live markup."""

import html
import re
from collections.abc import Iterable, Sequence

from tasks.core.documents.content import Bullets, Chart, Document, Heading, Part, Table, Text, Tiles

MARKUP = re.compile(r"([\\`*_{}\[\]|#!~])")


def plain(text: object) -> str:
    """Text made safe for Markdown and for the HTML that Markdown becomes: no markup in it is live.

    Angle brackets and ampersands become entities, since not every renderer knows them escaped by a backslash.

    >>> plain("<b>|x|")
    '&lt;b&gt;\\\\|x\\\\|'
    """
    return MARKUP.sub(r"\\\1", html.escape(str(text), quote=False)).replace("\n", " ").replace("\r", " ")


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; every cell is made safe."""
    lines = [" | ".join(header), " | ".join("---" for _ in header), *(" | ".join(plain(cell) for cell in row) for row in rows)]
    return "\n".join(f"| {line} |" for line in lines)


def render(document: Document) -> str:
    """The document in Markdown."""
    parts = [f"# {plain(document.title)}", plain(document.lead)]
    for section in document.sections:
        parts += [f"## {plain(section.title)}", *(_part(part) for part in section.parts if not isinstance(part, Chart))]
    return "\n\n".join(part for part in parts if part) + "\n"


def _part(part: Part) -> str:
    if isinstance(part, Text):
        return f"*{plain(part.text)}*" if part.kind == "missing" else _no_start(plain(part.text).strip())
    if isinstance(part, Heading):
        return f"### {plain(part.text)}"
    if isinstance(part, Bullets):
        return "\n".join(f"- {_no_start(plain(item).strip())}" for item in part.items)
    if isinstance(part, Table):
        return table([plain(name) for name in part.header], part.rows)
    assert isinstance(part, Tiles)
    return "\n".join(f"- {plain(tile.name)}: **{plain(tile.value)}**" + (f" ({plain(tile.note)})" if tile.note else "") for tile in part.items)


def _no_start(text: str) -> str:
    """A paragraph whose first sign starts no list, quote or rule.

    >>> _no_start("- one"), _no_start("0.25 Wh")
    ('\\\\- one', '0.25 Wh')
    """
    return re.sub(r"^(\s*)([-+](?=\s|$)|[-=:]{2,}|\d+[.)](?=\s|$))", lambda found: found[1] + found[2][:-1] + "\\" + found[2][-1], text)
