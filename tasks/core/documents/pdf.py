"""Documents as PDF. It needs the extra `pdf` (fpdf2); the fonts are those that matplotlib brings along."""

import datetime as dt
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tasks.core.documents.content import Bullets, Chart, Document, Heading, Part, Table, Text, Tiles

PAGES = 3
SIZES = (9.0, 8.6, 8.2, 7.4, 6.6)  # points: smaller ones where the pages would otherwise be too many
INK, QUIET, LINE, BETTER, WORSE = (27, 37, 48), (90, 102, 114), (200, 205, 210), (11, 95, 158), (168, 65, 11)
REST = 55  # millimetres: a last page with less on it is saved by a smaller type
UNKNOWN = "\N{WHITE SQUARE}"
FONT = "DejaVu"


def render(document: Document, made: str, pages: int = PAGES) -> bytes:
    """The document as PDF bytes, the same for the same content, in at most so many pages where its smallest type allows it.

    made: ISO 8601, the time that the file bears. Characters that the font lacks are shown as a white square.
    """
    data = b""
    for size in SIZES:
        pdf = _laid_out(document, size, made)
        nearly_empty = size == SIZES[0] and pdf.page_no() > 1 and pdf.get_y() < REST
        if (pdf.page_no() <= pages and not nearly_empty) or size == SIZES[-1]:
            data = bytes(pdf.output())
        for font in pdf.fonts.values():
            font.ttfont.close()  # fpdf2 leaves the files open
        if data:
            break
    return data


def _laid_out(document: Document, size: float, made: str) -> Any:
    from fpdf import FPDF
    from fpdf.enums import XPos, YPos

    class Page(FPDF):  # type: ignore[misc, unused-ignore]  # fpdf2 is an extra
        def footer(self) -> None:
            self.set_y(-12)
            self.set_font(FONT, size=7)
            self.set_text_color(*QUIET)
            self.cell(0, 5, f"{_safe(document.title, self)[:90]} · page {self.page_no()} of {{nb}}", align="C")

    pdf = Page(format="A4")
    fonts = _fonts()
    pdf.add_font(FONT, "", fonts / "DejaVuSans.ttf")
    pdf.add_font(FONT, "B", fonts / "DejaVuSans-Bold.ttf")
    pdf.set_creation_date(dt.datetime.fromisoformat(made))
    pdf.set_lang("en")
    pdf.set_title(document.title)
    pdf.set_creator("Equipoise")
    pdf.set_margins(15, 13, 15)
    pdf.set_auto_page_break(True, margin=15)
    pdf.set_draw_color(*LINE)
    pdf.add_page()

    def words(text: str, *, points: float = size, bold: bool = False, colour: tuple[int, int, int] = INK, indent: float = 0.0) -> None:
        pdf.set_font(FONT, "B" if bold else "", points)
        pdf.set_text_color(*colour)
        pdf.set_x(pdf.l_margin + indent)
        pdf.multi_cell(0, points * 0.48, _safe(text, pdf), align="L", new_x=XPos.LMARGIN, new_y=YPos.NEXT)

    words(document.title, points=size + 8, bold=True)
    pdf.ln(1)
    words(document.lead, points=size + 1)
    for section in document.sections:
        if pdf.will_page_break(28):
            pdf.add_page()
        pdf.ln(size * 0.3)
        pdf.start_section(_safe(section.title, pdf), level=0)
        words(section.title, points=size + 3, bold=True, colour=BETTER)
        pdf.ln(0.8)
        for part in section.parts:
            _draw(pdf, part, words, size)
            pdf.ln(1.1)
    return pdf


def _draw(pdf: Any, part: Part, words: Any, size: float) -> None:
    if isinstance(part, Text):
        if part.kind == "missing":
            words("To be written: " + part.text, colour=WORSE, bold=True)
        else:
            words(part.text, colour=QUIET if part.kind == "quiet" else INK)
    elif isinstance(part, Heading):
        words(part.text, bold=True)
    elif isinstance(part, Bullets):
        for item in part.items:
            words(f"• {item}", indent=2)
    elif isinstance(part, Table):
        _table(pdf, part, size)
    elif isinstance(part, Tiles):
        _tiles(pdf, part, size)
    else:
        _chart(pdf, part, size)


def _table(pdf: Any, part: Table, size: float) -> None:
    from fpdf.fonts import FontFace

    pdf.set_font(FONT, size=size - 0.8)
    pdf.set_text_color(*INK)
    aligned = tuple("RIGHT" if place in part.numbers else "LEFT" for place in range(len(part.header)))
    with pdf.table(
        col_widths=part.widths or None,
        text_align=aligned,
        borders_layout="HORIZONTAL_LINES",
        line_height=size * 0.46,
        headings_style=FontFace(emphasis="BOLD", color=QUIET),
        padding=(0.5, 1, 0.5, 1),
        v_align="TOP",
    ) as table:
        for line in (part.header, *part.rows):
            row = table.row()
            for cell in line:
                row.cell(_safe(cell, pdf))


def _tiles(pdf: Any, part: Tiles, size: float) -> None:
    """Boxes side by side; each text is cut to its box."""
    width, gap, height = pdf.epw / len(part.items), 2.0, size * 2.1
    top = pdf.get_y()
    for place, tile in enumerate(part.items):
        left = pdf.l_margin + place * width
        pdf.rect(left, top, width - gap, height)
        for text, style, points, colour, offset in (
            (tile.name, "", size - 1.8, QUIET, 1.2),
            (tile.value, "B", size + 0.6, INK, size * 0.72),
            (tile.note, "", size - 1.8, QUIET, size * 1.4),
        ):
            pdf.set_font(FONT, style, points)
            pdf.set_text_color(*colour)
            pdf.set_xy(left + 1.5, top + offset)
            pdf.cell(width - gap - 3, points * 0.42, _fitting(_safe(text, pdf), width - gap - 4, pdf))
    pdf.set_xy(pdf.l_margin, top + height + 1)


def _chart(pdf: Any, part: Chart, size: float) -> None:
    """A line for each figure: its interval, its mark, and the dashed line that it is held against."""
    line, labels = size * 0.47, pdf.epw * 0.36
    if pdf.will_page_break(line * (len(part.bars) + 3)):
        pdf.add_page()
    pdf.set_font(FONT, size=size - 1)
    pdf.set_text_color(*QUIET)
    pdf.multi_cell(0, line, _safe(part.caption, pdf), align="L", new_x="LMARGIN", new_y="NEXT")
    top, left, width = pdf.get_y() + 0.5, pdf.l_margin + labels, pdf.epw - labels
    pdf.set_text_color(*INK)
    for place, bar in enumerate(part.bars):
        middle = top + (place + 0.5) * line
        pdf.set_xy(pdf.l_margin, top + place * line)
        pdf.cell(labels, line, _fitting(_safe(bar.label, pdf), labels - 3, pdf))
        colour, at = WORSE if bar.worse else BETTER, left + part.place(bar.value) * width
        pdf.set_draw_color(*BETTER)
        pdf.set_fill_color(*colour)
        pdf.set_line_width(0.5)
        if bar.low is not None and bar.high is not None:
            pdf.line(left + part.place(bar.low) * width, middle, left + part.place(bar.high) * width, middle)
        if bar.worse:
            pdf.rect(at - 1.1, middle - 1.1, 2.2, 2.2, style="F")
        else:
            pdf.ellipse(at - 1.1, middle - 1.1, 2.2, 2.2, style="F")
    pdf.set_draw_color(*QUIET)
    pdf.set_line_width(0.2)
    pdf.set_dash_pattern(dash=0.8, gap=0.8)
    across = left + part.place(part.reference) * width
    pdf.line(across, top, across, top + len(part.bars) * line)
    pdf.set_dash_pattern()
    pdf.set_draw_color(*LINE)
    pdf.set_fill_color(255)  # which tables would take up
    pdf.set_xy(pdf.l_margin, top + len(part.bars) * line + 1)


def _fitting(text: str, width: float, pdf: Any) -> str:
    """Text cut to a width in the font at hand."""
    if pdf.get_string_width(text) <= width:
        return text
    while text and pdf.get_string_width(text + "…") > width:
        text = text[:-1]
    return text + "…"


def _safe(text: str, pdf: Any) -> str:
    """Text that the font can show: control characters become spaces, unknown characters a white square."""
    known: Mapping[int, Any] = pdf.fonts[FONT.lower()].cmap
    plain = "".join(" " if unicodedata.category(sign)[0] == "C" or unicodedata.category(sign) in ("Zl", "Zp") else sign for sign in text)
    return "".join(sign if ord(sign) in known else UNKNOWN for sign in plain)


def _fonts() -> Path:
    import matplotlib

    return Path(matplotlib.get_data_path()) / "fonts" / "ttf"
