"""Pictures of reports, as PNG bytes: the values, their intervals, and the counts in the labels."""

import io
from typing import Any

import pandas as pd

from tasks.core.card import count
from tasks.core.case import Case

INK, GRID, MARK, OUTSIDE = "#1b1f24", "#d0d7de", "#0b62a4", "#8a8f98"  # blue on grey reads in every common colour-vision deficiency


def cohort_chart(report: pd.DataFrame, metric: str, *, title: str, most: int = 30) -> bytes:
    """One metric for every cohort, a dot with its 95 % interval; cohorts without enough evidence are hollow and say so.

    report: a cohort report's frame. most: at most so many cohorts, the largest ones.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = report[report["metric"] == metric].sort_values("n", ascending=False, kind="stable", na_position="last").head(most).iloc[::-1]
    figure = Figure(figsize=(8, 1.4 + 0.34 * max(len(rows), 1)), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for place, row in enumerate(rows.to_dict("records")):
        enough = row["verdict"] == "ok"
        if pd.notna(row["low"]) and pd.notna(row["high"]):
            axes.plot([row["low"], row["high"]], [place, place], color=MARK if enough else OUTSIDE, linewidth=2, solid_capstyle="butt")
        if pd.notna(row["value"]):
            axes.plot([row["value"]], [place], "o", color=MARK if enough else OUTSIDE, markerfacecolor=MARK if enough else "white")
    overall = rows[rows["cohort"] == "overall"]["value"]
    if len(overall) and pd.notna(overall.iloc[0]):
        axes.axvline(float(overall.iloc[0]), color=INK, linewidth=1, linestyle=":")
    # A dollar sign would start mathematics in a label.
    labels = [
        f"{row['cohort']}  (n={count(row['n'])}{'' if row['verdict'] == 'ok' else ', ' + row['verdict']})".replace("$", r"\$")
        for row in rows.to_dict("records")
    ]
    axes.set_yticks(range(len(rows)), labels)
    axes.set_ylim(-0.7, len(rows) - 0.3)
    axes.set_xlabel(f"{metric}, with 95 % intervals; dotted: overall")
    axes.set_title(title.replace("$", r"\$"), loc="left")
    axes.grid(axis="x", color=GRID)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    return _png(figure)


def sweep_chart(table: pd.DataFrame, chosen: str, case: Case) -> bytes:
    """A sweep's finished candidates: the chosen gap (or the worst cohort) across, performance upwards, both with intervals. The front
    is filled and joined, the chosen one a star with its name; all others are hollow.

    table: what tasks.core.sweep.table gives.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    across = "gap" if table["gap"].notna().any() else "worst_cohort"
    rows = table[(table["outcome"] == "finished") & table["performance"].notna() & table[across].notna()].sort_values(across)
    figure = Figure(figsize=(8, 5.5), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for row in rows.to_dict("records"):
        mine, best = row["candidate"] == chosen, bool(row["front"])
        axes.plot([row[f"{across}_low"], row[f"{across}_high"]], [row["performance"]] * 2, color=GRID, linewidth=1, zorder=1)
        axes.plot([row[across]] * 2, [row["performance_low"], row["performance_high"]], color=GRID, linewidth=1, zorder=1)
        colour = MARK if best or mine else OUTSIDE
        form, size = ("*", 15) if mine else ("o", 6)
        fill = colour if best or mine else "white"
        axes.plot([row[across]], [row["performance"]], form, color=colour, markersize=size, markerfacecolor=fill, zorder=3)
        if mine:
            axes.annotate(str(row["candidate"]), (row[across], row["performance"]), xytext=(8, 8), textcoords="offset points", color=INK)
    what = "gap between cohorts" if across == "gap" else f"{case.metrics.primary} of the worst cohort"
    axes.set_xlabel(f"{what}, on validation, with 95 % intervals")
    axes.set_ylabel(f"{case.metrics.primary} overall, on validation")
    axes.set_title(f"{case.case}: {len(rows)} candidates; filled: none is better in everything; star: chosen".replace("$", r"\$"), loc="left", fontsize=10)
    axes.grid(color=GRID, linewidth=0.5)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return _png(figure)


def _png(figure: Any) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()
