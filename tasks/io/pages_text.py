"""Text that Evidently's pages show: names and categories would run as script in them, so they are made safe before it sees them."""

import hashlib
import unicodedata

LOOKALIKES = {"<": "‹", ">": "›", "&": "＆", '"': "”", "'": "’", "`": "ˋ", "\\": "⧵", "{": "❴", "}": "❵"}


def safe_text(text: str, longest: int = 80) -> str:
    """`text` with nothing in it that a page could run or that a label template could fill in.

    Each dangerous character becomes one that looks like it; other control characters become spaces. Different texts stay
    different: where they could meet (a lookalike in the original, a control character, a long text), a digest is added.

    >>> safe_text("<=50K")
    '‹=50K'
    """
    plain = "".join(" " if unicodedata.category(c)[0] == "C" or unicodedata.category(c) in ("Zl", "Zp") else c for c in text)[:longest]
    shown = "".join(LOOKALIKES.get(c, c) for c in plain)
    if plain == text and text.strip() and not set(text) & set(LOOKALIKES.values()):
        return shown
    return f"{shown}~{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"
