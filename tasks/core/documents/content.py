"""What a document says, apart from how it is shown: Markdown, HTML and PDF are made from the same content, so they cannot differ.

How figures are written stands here too, for every document.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd


@dataclass(frozen=True)
class Text:
    """A paragraph. `missing` is one that a person has yet to write."""

    text: str
    kind: Literal["plain", "quiet", "missing"] = "plain"


@dataclass(frozen=True)
class Heading:
    """A heading within a section."""

    text: str


@dataclass(frozen=True)
class Bullets:
    """A list of sentences."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """Rows of text below a header; the first column names the row. Columns whose place is in `numbers` stand to the right."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: frozenset[int] = frozenset()
    widths: tuple[float, ...] = ()  # shares of the page's width; all alike unless given


@dataclass(frozen=True)
class Tile:
    """One thing to see at a glance."""

    name: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Tiles:
    """A few things to see at a glance."""

    items: tuple[Tile, ...]


@dataclass(frozen=True)
class Bar:
    """One line of a chart: a figure with its interval. `worse` is told by the mark's form as well as its colour."""

    label: str
    value: float
    low: float | None
    high: float | None
    worse: bool = False


@dataclass(frozen=True)
class Chart:
    """Figures side by side, and a line to hold them against. Markdown leaves it out: a table beside it has the same figures."""

    bars: tuple[Bar, ...]
    reference: float
    caption: str

    @property
    def scale(self) -> tuple[float, float]:
        """The ends of the axis: all figures, intervals and the reference, with a little room."""
        known = [self.reference, *(one for bar in self.bars for one in (bar.value, bar.low, bar.high) if one is not None)]
        room = (max(known) - min(known)) * 0.04 or 1.0
        return min(known) - room, max(known) + room

    def place(self, value: float) -> float:
        """Where a figure is on the axis, 0 to 1."""
        low, high = self.scale
        return (value - low) / (high - low)

    def share(self, value: float) -> str:
        """The same as a percentage."""
        return f"{self.place(value):.2%}"


Part = Text | Heading | Bullets | Table | Tiles | Chart


@dataclass(frozen=True)
class Section:
    """A titled part of a document."""

    title: str
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Document:
    """A document: title, a sentence or two on top, and its sections."""

    title: str
    lead: str
    sections: tuple[Section, ...]


def figure(value: object, low: object, high: object) -> str:
    """A value with its interval, or a dash where there is none.

    >>> figure(0.5, 0.25, 0.75)
    '0.500 [0.250, 0.750]'
    """
    numbers = [float("nan") if part is None else float(part) for part in (value, low, high)]  # type: ignore[arg-type]  # whatever float() takes
    if numbers[0] != numbers[0]:
        return "–"
    shown = [f"{number:.3g}" if abs(number) >= 100 else f"{number:.3f}" for number in numbers]
    return shown[0] if numbers[1] != numbers[1] else f"{shown[0]} [{shown[1]}, {shown[2]}]"


def count(n: object) -> str:
    """A number of rows, or a dash where it may not be told.

    >>> count(1234), count(12.0), count(None)
    ('1,234', '12', '–')
    """
    return "–" if pd.isna(n) else f"{int(n):,}"  # type: ignore[call-overload]  # pandas types isna for arrays and scalars apart


def cut(text: str, longest: int) -> str:
    """Text in one line, and no longer than that; what was cut is shown to be.

    >>> cut("a long  name", 8)
    'a long …'
    """
    line = " ".join(text.split())
    return line if len(line) <= longest else line[: longest - 1] + "…"


def short(name: str, longest: int) -> str:
    """A name in one line, cut in its middle where it is longer: names of a kind often differ at their ends.

    >>> short("region=North, age=(20, 30]", 16)
    'region=N…20, 30]'
    """
    line = " ".join(name.split())
    if len(line) <= longest:
        return line
    head = longest // 2
    return line[:head] + "…" + line[len(line) - (longest - head - 1) :]


def listed(items: Iterable[str], most: int) -> str:
    """The first few names, and how many more there are.

    >>> listed(["a", "b", "c"], 2)
    'a, b and 1 more'
    """
    names = list(items)
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def stated(text: str, where: str) -> Text:
    """What a person wrote, or that they have yet to, and `where`."""
    return Text(text) if text.strip() else Text(f"Not stated yet. Promotion waits for it: to be written by a person in {where}.", "missing")


def rows(items: Iterable[Sequence[object]]) -> tuple[tuple[str, ...], ...]:
    """Rows of a table as text."""
    return tuple(tuple(str(cell) for cell in row) for row in items)
