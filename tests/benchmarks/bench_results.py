"""What the mitigation steps do on adult and boston, as JSON lines; `--write` puts the tables into docs/mitigation-results.md.

    python tests/benchmarks/bench_results.py [--only rebalancing libraries fairness views promises boston proxies backward] [--write]

Models are fitted on training rows; steps after fitting and the choice between candidates use validation rows; figures are of
test rows. A section yields rows, and `SECTIONS` says how a row stands in its table. All of them take ten minutes on one core.
"""

import argparse
import json
import re
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from tasks.io.home import PROJECT
from tests.benchmarks import results_adult as adult
from tests.benchmarks import results_boston as boston
from tests.benchmarks import results_promises as promises
from tests.benchmarks import results_rebalancing as rebalanced

PAGE = PROJECT / "docs/mitigation-results.md"
PICTURE = PROJECT / "docs/images/backward-compatible.svg"
Row = dict[str, Any]

PUBLISHED = {rebalanced.AS_TEXT: ".79", "all, to parity": ".82–.83", "married, 24,463 a class": ".85", "both, married 24,463 a class": ".79–.80"}
ONE, TWO = ("#0072B2", "o"), ("#D55E00", "s")  # Okabe and Ito's blue and vermilion, and a shape of each


def number(value: float, digits: int = 3, sign: bool = False) -> str:
    """A number as tables have it."""
    text = f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}"
    return text.replace("-", "−") if float(text) else text.lstrip("+-")


def limits(found: Iterable[float], digits: int = 3, sign: bool = False) -> str:
    """A value with its 95 % interval."""
    value, low, high = (number(one, digits, sign) for one in found)
    return f"{value} ({low} to {high})"


def delta(found: list[float], digits: int = 3) -> str:
    """A difference to the baseline with its paired interval; a dash for the baseline itself."""
    return "–" if len(found) == 1 else limits(found[1:], digits, sign=True)


def between(found: Iterable[float], digits: int = 3) -> str:
    """The least and the greatest."""
    ordered = sorted(found)
    low, high = number(ordered[0], digits), number(ordered[-1], digits)
    return low if low == high else f"{low} to {high}"


def percent(found: list[float] | None) -> str:
    """A share that was cut, with its interval, in per cent."""
    return "–" if found is None else "{} % ({} to {})".format(*(number(100 * one, 0) for one in found))


def yes(value: bool) -> str:
    """yes or no."""
    return "yes" if value else "no"


def small(value: float) -> str:
    """A figure that may be the last bit of rounding."""
    return "0" if value == 0 else f"{value:.0e}".replace("e-0", "e−").replace("e-", "e−") if abs(value) < 1e-6 else number(value)


Section = tuple[Callable[[], Iterator[Row]], dict[str, Callable[[Row], str]]]
SECTIONS: dict[str, Section] = {
    "rebalancing": (
        rebalanced.rebalancing,
        {
            "training rows rebalanced": lambda r: r["model"],
            "cohort": lambda r: r["cohort"],
            "n": lambda r: f"{r['n']:,}",
            "accuracy": lambda r: number(r["accuracy"][0]),
            "delta": lambda r: delta(r["accuracy"]),
            "recall": lambda r: number(r["recall"][0]),
            "delta of recall": lambda r: delta(r["recall"]),
            "precision": lambda r: number(r["precision"][0]),
            "delta of precision": lambda r: delta(r["precision"]),
        },
    ),
    "libraries": (
        rebalanced.libraries,
        {
            "training rows rebalanced": lambda r: r["model"],
            "published": lambda r: PUBLISHED.get(r["model"], "–"),
            "libraries alone": lambda r: between(r["alone"]),
            "the same, numbers standardised": lambda r: between(r["standardised"]),
            "our steps": lambda r: between(r["smote"]),
            "our steps, rows drawn again": lambda r: between(r["drawn"]),
        },
    ),
    "fairness": (
        adult.fairness,
        {
            "candidate": lambda r: f"{r['estimator']}, {r['model']}",
            "on validation": lambda r: f"{number(r['validation'][0])}, {number(r['validation'][1])}",
            "accuracy": lambda r: number(r["accuracy"][0]),
            "delta": lambda r: delta(r["accuracy"]),
            "equalized odds difference": lambda r: limits(r["equalized_odds"]),
            "cut by": lambda r: percent(r["cut"]),
            "with other seeds": lambda r: "–" if r["cut"] is None else f"{between([100 * one for one in r['other_seeds']], 0)} %",
            "halved: validation, test": lambda r: "–" if r["cut"] is None else ", ".join(map(yes, r["halved"])),
        },
    ),
    "views": (
        adult.views,
        {
            "features": lambda r: r["columns"],
            "unmitigated": lambda r: r["estimator"],
            "accuracy": lambda r: number(r["accuracy"]),
            "equalized odds difference": lambda r: number(r["equalized_odds"]),
        },
    ),
    "promises": (
        promises.promises,
        {
            "step": lambda r: f"`{r['step']}`",
            "rows": lambda r: r["rows"],
            "what": lambda r: r["what"].replace("_", " "),
            "before": lambda r: number(r["before"]),
            "after": lambda r: small(r["after"]),
            "at most": lambda r: small(r["at_most"]),
        },
    ),
    "boston": (
        boston.boston,
        {
            "candidate": lambda r: f"{r['estimator']}, {r['model']}",
            "MAE": lambda r: number(r["mae"][0], 2),
            "delta": lambda r: delta(r["mae"], 2),
            "gap by LSTAT": lambda r: limits(r["LSTAT"], 2),
            "gap by B": lambda r: limits(r["B"], 2),
        },
    ),
    "proxies": (
        boston.proxies,
        {
            "sensitive": lambda r: r["sensitive"],
            "told from": lambda r: r["told_from"],
            "R²": lambda r: number(r["r2"], 2),
            "suspected": lambda r: yes(r["suspected"]),
        },
    ),
    "backward": (
        adult.backward,
        {
            "old model": lambda r: f"{r['old_model']}, {number(r['old'], 4)}",
            "penalty": lambda r: r["penalty"],
            "strength": lambda r: f"{r['strength']:g}",
            "accuracy": lambda r: number(r["accuracy"], 4),
            "delta to the old": lambda r: limits(r["delta"], 4, sign=True),
            "BTC": lambda r: number(r["btc"], 4),
        },
    ),
}


def markdown(section: str, rows: list[Row]) -> str:
    """The section's table, and what follows from it in a sentence."""
    columns = SECTIONS[section][1]
    lines = [list(columns), ["---"] * len(columns), *([shown(row) for shown in columns.values()] for row in rows)]
    return "\n".join(["| " + " | ".join(line) + " |" for line in lines] + (["", chosen(rows)] if section == "fairness" else []))


def chosen(rows: list[Row]) -> str:
    """Which remedies the rule chooses on validation, what test says of them, and how many halve the difference there."""
    remedies = [row for row in rows if row["halved"]]
    found = []
    for estimator in dict.fromkeys(row["estimator"] for row in remedies):
        best = max((row for row in remedies if row["estimator"] == estimator and row["halved"][0]), key=lambda row: row["validation"][0])
        found.append(f"**{estimator}, {best['model']}**, which on test cuts it by {percent(best['cut'])} for {delta(best['accuracy'])} of accuracy")
    halved = sum(row["halved"][1] for row in remedies)
    return f"Chosen on validation: {'; '.join(found)}. On test {halved} of the {len(remedies)} halve it for under 2 points of accuracy."


def written(page: str, section: str, content: str) -> str:
    """The page with new content between the section's markers."""
    begin, end = f"<!-- {section} -->", f"<!-- end of {section} -->"
    found, count = re.subn(rf"(?s){re.escape(begin)}.*?{re.escape(end)}", lambda _: f"{begin}\n{content}\n{end}", page)
    if count != 1:
        raise SystemExit(f"{PAGE} has the markers of {section} {count} times, and once is needed")
    return found


def picture(rows: list[Row]) -> None:
    """Accuracy against backward trust compatibility: a panel for each old model, a line for each penalty, a point for each strength."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.hashsalt": "equipoise", "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 9}):
        figure = Figure(figsize=(8, 3.4), layout="constrained")
        panels = figure.subplots(1, 2, sharey=True)
        for panel, name in zip(panels, adult.OLD, strict=True):
            for penalty, (colour, marker) in zip(("new_error", "strict_imitation"), (ONE, TWO), strict=True):
                line = [row for row in rows if (row["old_model"], row["penalty"]) == (name, penalty)]
                panel.plot([row["btc"] for row in line], [row["accuracy"] for row in line], color=colour, marker=marker, label=penalty)
                panel.annotate(f"{line[-1]['strength']:g}", (line[-1]["btc"], line[-1]["accuracy"]), xytext=(5, 5), textcoords="offset points", color=colour)
            plain = next(row for row in rows if row["old_model"] == name)
            panel.annotate("0", (plain["btc"], plain["accuracy"]), xytext=(-10, 5), textcoords="offset points")
            panel.axhline(plain["old"], color="#555555", linestyle="--", linewidth=1, label="the old model's accuracy")
            panel.set(title=f"old model: {name}", xlabel="backward trust compatibility")
            panel.grid(color="#dddddd", linewidth=0.6)
        panels[0].set_ylabel("accuracy")
        panels[0].legend(loc="lower left")
        PICTURE.parent.mkdir(exist_ok=True)
        figure.savefig(PICTURE, format="svg", metadata={"Date": None})


def main() -> None:
    """Run the sections asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=[*SECTIONS], default=[*SECTIONS])
    parser.add_argument("--write", action="store_true", help="rewrite the tables of docs/mitigation-results.md, and its picture")
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    for section in asked.only:
        start, rows = time.perf_counter(), []
        for row in SECTIONS[section][0]():
            rows.append(row)
            print(json.dumps({"work": section, **row}), flush=True)  # noqa: T201
        print(json.dumps({"work": f"seconds of {section}", "seconds": round(time.perf_counter() - start, 1)}), flush=True)  # noqa: T201
        if asked.write:
            PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), section, markdown(section, rows)), encoding="utf-8")
            if section == "backward":
                picture(rows)


if __name__ == "__main__":
    main()
