"""How the evaluation page writes numbers and places marks. page.js writes numbers by the same rules."""

import math
from collections.abc import Iterable, Sequence
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

WIDTH, INSET = 140.0, 6.0  # of an interval drawing, in pixels; the inset leaves room for the dot
MINUS = "\N{MINUS SIGN}"


def number(value: Any) -> float | None:
    """A finite number with seven significant digits, or None.

    >>> number("a"), number(float("nan")), number(1 / 3)
    (None, None, 0.3333333)
    """
    try:
        found = float(value)
    except (TypeError, ValueError):
        return None
    return float(f"{found:.7g}") if math.isfinite(found) else None


def figure(value: Any) -> str:
    """A value to read: three decimals up to 10, fewer for larger ones, a power of ten for tiny ones, a dash for none.

    >>> [figure(one) for one in (0.5, -12.345, 123.456, 48842, 0.00012, 0, 0.0625, None)]
    ['0.500', '−12.35', '123.5', '48,842', '1.2e−4', '0.000', '0.063', '–']
    """
    found = number(value)
    if found is None:
        return "–"
    size = abs(found)
    if 0 < size < 0.0005:
        digits, _, power = f"{size:.1e}".partition("e")
        text = f"{digits}e{MINUS}{abs(int(power))}"
    else:
        text = f"{_rounded(size, 3 if size < 10 else 2 if size < 100 else 1 if size < 1000 else 0):,}"
    return MINUS + text if found < 0 else text


def _rounded(size: float, digits: int) -> Decimal:
    """Halves away from zero, as a browser rounds them: 0.0625 to 0.063."""
    return Decimal(repr(size)).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP)


def signed(value: Any) -> str:
    """A difference to read, with its sign.

    >>> signed(0.25), signed(-0.25), signed(None)
    ('+0.250', '−0.250', '–')
    """
    found = number(value)
    return f"+{figure(found)}" if found is not None and found > 0 else figure(found)


def whole(value: Any) -> str:
    """A number of rows to read; a dash for one that is not published.

    >>> whole(48842), whole(None)
    ('48,842', '–')
    """
    found = number(value)
    return "–" if found is None else f"{found:,.0f}" if found == round(found) else f"{found:,.1f}"


def interval(low: Any, high: Any, write: Any = figure) -> str:
    """Both limits to read, or a dash.

    >>> interval(0.25, 0.75)
    '0.250 to 0.750'
    """
    return "–" if number(low) is None or number(high) is None else f"{write(low)} to {write(high)}"


def probability(value: Any) -> str:
    """A p-value to read.

    >>> probability(0.0002), probability(0.05)
    ('< 0.001', '0.050')
    """
    found = number(value)
    return "–" if found is None else "< 0.001" if found < 0.001 else f"{found:.3f}"


def percent(value: Any) -> str:
    r"""A share to read.

    >>> percent(0.074)
    '7.4\xa0%'
    """
    found = number(value)
    return "–" if found is None else f"{100 * found:.1f}\N{NO-BREAK SPACE}%"


def step(value: Any, top: float) -> int | None:
    """Which of the eleven shades, 0 to 10, a value between 0 and `top` has."""
    found = number(value)
    return None if found is None else round(10 * min(max(found / top, 0), 1)) if top > 0 else 0


class Scale:
    """Values to horizontal places in an interval drawing."""

    def __init__(self, values: Iterable[Any], *, low: float | None = None) -> None:
        found = [one for one in map(number, values) if one is not None]
        self.low = low if low is not None else min(found, default=0.0)
        self.high = max(found, default=1.0)
        if not self.high > self.low:
            self.high = self.low + 1.0

    def place(self, value: Any) -> float | None:
        """Pixels from the left; None for no value."""
        found = number(value)
        if found is None:
            return None
        share = min(max((found - self.low) / (self.high - self.low), 0.0), 1.0)
        return round(INSET + share * (WIDTH - 2 * INSET), 1)

    def marks(self, value: Any, low: Any, high: Any, reference: Any = None) -> dict[str, float | None]:
        """Places of a value, its limits and a line of reference."""
        return {"at": self.place(value), "low": self.place(low), "high": self.place(high), "reference": self.place(reference)}


def rows_of(table: Any) -> list[dict[str, Any]]:
    """A data frame, something with a `frame()`, or a list of mappings as a list of dictionaries; none for None."""
    if table is None:
        return []
    if callable(getattr(table, "frame", None)):
        table = table.frame()
    if hasattr(table, "columns") and hasattr(table, "to_dict"):
        names = [str(name) for name in table.columns]
        return [dict(zip(names, values, strict=True)) for values in table.itertuples(index=False, name=None)]
    return [{str(name): value for name, value in row.items()} for row in table]


def columns_of(rows: Sequence[dict[str, Any]], wanted: Iterable[str]) -> list[str]:
    """Those of the wanted names that the rows have."""
    return [name for name in wanted if rows and name in rows[0]]
