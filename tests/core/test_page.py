"""The evaluation page as a document: what it holds, what it leaves out, and that nothing in it is live but its own."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from tasks.core.error_tree import heatmap, tree
from tasks.core.errors import DataError
from tasks.core.evaluation import evaluate
from tasks.core.page import render
from tasks.core.slices import find
from tasks.core.suppression import publish
from tasks.core.tables import calibration, confusion

VOID = {"meta", "link", "input", "wbr", "br", "img", "hr"}


class Document(HTMLParser):
    """Elements with their attributes and text, and whether every one is closed in its place."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[dict] = []
        self.open: list[dict] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs) -> None:
        element = {"tag": tag, "text": ""} | dict(attrs)
        self.elements.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag, attrs) -> None:
        self.elements.append({"tag": tag, "text": ""} | dict(attrs))

    def handle_endtag(self, tag) -> None:
        assert self.open.pop()["tag"] == tag

    def handle_data(self, data) -> None:
        for element in self.open:
            element["text"] += data

    def all(self, tag: str, **wanted: str) -> list[dict]:
        return [one for one in self.elements if one["tag"] == tag and all(one.get(key) == value for key, value in wanted.items())]

    def by_id(self, name: str) -> dict:
        return next(one for one in self.elements if one.get("id") == name)


def table(rows: int = 2000) -> pd.DataFrame:
    """Predictions that err more in the south, and a region of four rows."""
    random = np.random.default_rng(5)
    region = random.choice(["north", "south", "east"], rows)
    region[:4] = "isle"
    y_true = random.integers(0, 2, rows)
    wrong = random.random(rows) < np.where(region == "south", 0.4, 0.1)
    y_pred = np.where(wrong, 1 - y_true, y_true)
    score = np.where(y_pred == 1, 0.75, 0.25) + random.random(rows) / 5 - 0.1
    return pd.DataFrame({"y_true": y_true, "y_pred": y_pred, "y_score": score, "region": region, "size": random.normal(size=rows)})


@pytest.fixture(scope="module")
def whole() -> str:
    """A page with every section."""
    frame = table()
    baseline = frame.assign(y_pred=1 - frame["y_pred"])
    metrics = ["accuracy", "recall", "log_loss", "expected_calibration_error", "equal_opportunity"]
    report = publish(evaluate(frame, task="binary", by=["region"], where={"Large": "size > 1"}, metrics=metrics, baseline=baseline))
    maps = {"region": heatmap(frame, "region"), ("region", "size"): heatmap(frame, ["region", "size"])}
    return render(
        report.to_dict(), title="Every section", slices=find(frame), tree=tree(frame), heatmap=maps, curves=calibration(report), confusion=confusion(report)
    )


def minimal(name: str = "overall", *, n: int | None = 100, metric: str = "accuracy", value: float | None = 0.5, kind: str = "overall", verdict: str = "ok"):
    limits = {"low": None if value is None else value - 0.01, "high": None if value is None else value + 0.01}
    return {"cohort": name, "kind": kind, "metric": metric, "value": value, "n": n, "support": n, "verdict": verdict} | limits


def test_every_section_is_there_and_well_formed(whole: str) -> None:
    """Tags nest, ids are unique, links lead somewhere, and each section has a heading that names it."""
    document = Document(whole)
    ids = [one["id"] for one in document.elements if "id" in one]
    assert len(ids) == len(set(ids))
    sections = [one["id"] for one in document.all("section")]
    assert sections == ["summary", "gaps", "cohorts", "slices", "tree", "heatmap", "calibration", "confusion", "reading"]
    assert all(one["aria-labelledby"] in ids for one in document.all("section"))
    assert {one["href"][1:] for one in document.all("a")} <= set(ids)
    assert document.all("html")[0]["lang"] == "en"
    assert document.all("title")[0]["text"] == "Every section"


def test_sections_without_data_are_left_out() -> None:
    """A report alone makes a summary, the cohorts and how to read them; no heading stands over nothing."""
    document = Document(render({"rows": [minimal()], "gaps": []}, title="Bare"))
    assert [one["id"] for one in document.all("section")] == ["summary", "cohorts", "reading"]
    empty = {"slices": pd.DataFrame(), "tree": [], "heatmap": {}, "curves": pd.DataFrame(), "confusion": None}
    again = Document(render({"rows": [minimal()], "gaps": []}, title="Bare", **empty))
    assert [one["id"] for one in again.all("section")] == ["summary", "cohorts", "reading"]


def test_tables_can_be_sorted_by_buttons_and_have_captions(whole: str) -> None:
    """Sortable headers say aria-sort and hold a button; every wide table has a caption, and its scroller can be focused."""
    document = Document(whole)
    headers = [one for one in document.all("th") if "aria-sort" in one]
    assert len(headers) >= 12
    assert all(one["scope"] == "col" and one["text"].strip() for one in headers)
    assert whole.count('aria-sort="none"') == len(re.findall(r'aria-sort="none"[^>]*><button type="button">', whole))
    scrollers = document.all("div", **{"class": "scroll"})
    assert scrollers
    assert all(one["tabindex"] == "0" and one["role"] == "region" and one["aria-label"] for one in scrollers)
    assert len(document.all("caption")) >= len(scrollers)
    assert all(one.get("aria-label") for one in document.all("svg"))
    assert all(one["text"].strip() for one in document.all("button"))


def test_the_figures_are_those_of_the_report() -> None:
    """A value, its interval, its rows and its verdict stand in the table and in the data of the script, to seven digits."""
    rows = [
        minimal(value=0.61803398),
        minimal("city=A", n=1234, value=0.75, kind="group"),
        minimal("city=B", n=20, value=0.4, kind="group", verdict="insufficient"),
    ]
    text = render({"rows": rows, "gaps": []}, title="Figures")
    lines = re.findall(r"<tr><th scope=\"row\"><bdi>(.*?)</bdi></th><td>(.*?)</td><td class=\"number\">(.*?)</td><td class=\"number\">(.*?)</td></tr>", text)
    assert lines == [
        ("overall", "overall", "100", "0.618<small>0.608 to 0.628</small>"),
        ("city=A", "group", "1,234", '0.750 <b class="better">▲ better</b><small>0.740 to 0.760</small>'),
        ("city=B", "group", "20", "0.400<small>0.390 to 0.410</small><i>insufficient</i>"),
    ]
    data = json.loads(Document(text).by_id("data")["text"])
    assert data["cohorts"] == ["overall", "city=A", "city=B"]
    assert data["value"] == [[0.618034, 0.75, 0.4]]
    assert [data["words"]["verdict"][place] for place in data["verdict"][0]] == ["ok", "ok", "insufficient"]


@pytest.mark.parametrize(
    ("metric", "overall", "value", "word"),
    [
        ("recall", 0.5, 0.7, "better"),
        ("recall", 0.5, 0.3, "worse"),
        ("false_positive_rate", 0.5, 0.7, "worse"),
        ("false_positive_rate", 0.5, 0.3, "better"),
        ("selection_rate", 0.5, 0.7, "higher"),
        ("mean_error", 0.1, -0.5, "worse"),
        ("mean_error", -0.5, 0.1, "better"),
        ("recall[cat]", 0.5, 0.7, "better"),
        ("of another house", 0.5, 0.3, "lower"),
        ("recall", 0.5, 0.505, ""),
    ],
)
def test_what_stands_out_is_told_by_the_metrics_own_direction(metric: str, overall: float, value: float, word: str) -> None:
    """Better and worse follow which way is better; where neither is, or nothing is known of the metric, higher and lower."""
    text = render({"rows": [minimal(metric=metric, value=overall), minimal("a=b", metric=metric, value=value, kind="group")], "gaps": []}, title="One")
    assert re.findall(r"<b class=\"(\w+)\">[▲▼] \1</b>", text) == ([word] if word else [])


def test_gaps_are_ordered_by_what_matters_and_told_in_words() -> None:
    """Clear gaps come before those that may be chance, and wide ones, in proportion, before narrow ones; the summary names them."""
    gaps = [
        {"metric": metric, "grouping": "sex", "difference": 0.2, "ratio": ratio, "worst": "sex=m", "best": "sex=f", "low": 0.1, "high": 0.3, "p_value": p}
        | {"verdict": "ok"}
        for metric, ratio, p in (("accuracy", 0.9, 0.001), ("log_loss", 0.1, 0.4), ("recall", 0.5, 0.01))
    ]
    rows = [minimal(metric=metric) for metric in ("accuracy", "log_loss", "recall")]
    document = Document(render({"rows": rows, "gaps": gaps}, title="Gaps"))
    section = document.by_id("gaps")["text"]
    assert section.index("recall") < section.index("accuracy") < section.index("log_loss")
    assert section.count("may be chance") == 1
    summary = document.by_id("summary")["text"]
    assert "recall differs by 0.200 across sex (0.100 to 0.300, p = 0.010)" in re.sub(r"\s+", " ", summary)
    assert "log_loss differs" not in summary


HOSTILE = ("</script><script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "<!-- ]]> -->", "{{ 7 * 7 }}", "a & b < c > d", "\ud800\0\u2028\r\n'")


def test_every_value_is_escaped() -> None:
    """Whatever a title, name, category or condition holds, the document has the elements and attributes of a harmless one."""

    def page(names: tuple[str, ...]) -> Document:
        rows = [minimal(name, metric=metric, kind=name) for name in ("overall", *names) for metric in names]
        gap = {"difference": 0.2, "ratio": 0.5, "low": 0.1, "high": 0.3, "p_value": 0.01, "verdict": "ok"}
        gaps = [gap | {"metric": name, "grouping": name, "worst": name, "best": name} for name in names]
        slices = [
            {"condition": name, "n": 60, "value": 0.4, "overall": 0.2, "effect": 0.2, "low": 0.1, "high": 0.3, "p_value": 0.1, "confirmed": True}
            for name in names
        ]
        nodes = [{"node": place, "parent": None, "condition": name, "n": 60, "value": 0.4} for place, name in enumerate(names)]
        cells = {(names[0], names[1]): [{"row": name, "column": name, "n": 60, "value": 0.4} for name in names]}
        curves = [{"cohort": name, "bin": name, "n": 60, "score": 0.4, "positive": 0.4, "low": 0.3, "high": 0.5} for name in names]
        matrix = [{"cohort": name, "true": name, "predicted": name, "n": 60} for name in names]
        report = {"rows": rows, "gaps": gaps, "comparison": [row | {"delta": 0.1, "baseline": 0.4, "verdict": "better"} for row in rows]}
        return Document(render(report, title=names[0], slices=slices, tree=nodes, heatmap=cells, curves=curves, confusion=matrix))

    hostile, harmless = page(HOSTILE), page(tuple(f"name {place}" for place in range(len(HOSTILE))))
    assert [(one["tag"], sorted(one)) for one in hostile.elements] == [(one["tag"], sorted(one)) for one in harmless.elements]
    assert hostile.all("title")[0]["text"] == HOSTILE[0]
    codes = [one["text"] for one in hostile.all("code")]
    assert codes[:5] == list(HOSTILE[:5])
    assert codes[5] == "?\N{REPLACEMENT CHARACTER}\u2028\r\n'"
    assert not any(one["text"] == "49" for one in hostile.elements)
    assert not re.search("[<>&\u2028]", hostile.by_id("data")["text"])


def test_the_policy_names_the_digests_of_script_and_style(whole: str) -> None:
    """Nothing loads or runs but one script and one style sheet, named by SHA-256; no element carries code, style or an address."""
    document = Document(whole)
    policy = document.all("meta", **{"http-equiv": "Content-Security-Policy"})[0]["content"]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    for name, element in (("script-src", next(one for one in document.all("script") if "type" not in one)), ("style-src", document.all("style")[0])):
        assert rules[name] == f"'sha256-{base64.b64encode(hashlib.sha256(element['text'].encode()).digest()).decode()}'"
    assert len(document.all("script")) == 2
    attributes = {name for one in document.elements for name in one}
    assert not {name for name in attributes if name.startswith("on")} | (attributes & {"style", "src", "srcset", "srcdoc", "action", "formaction"})
    assert {one["href"] for one in document.elements if "href" in one and not one["href"].startswith("#")} == {"data:,"}
    outside = set(re.findall(r"https?://[^\"'\s<]+", whole))
    assert outside == {"http://www.w3.org/2000/svg"}  # the name of a language, not an address


def test_small_cohorts_do_not_reach_the_page(whole: str) -> None:
    """What suppression hides is a dash, and a report that has not been published is refused."""
    isle = re.search(r"<bdi>region=isle</bdi></th><td>group</td><td class=\"number\">(.*?)</td><td class=\"number\">(.*?)</td>", whole)
    assert isle is not None
    assert isle.groups() == ("–", "–<i>insufficient</i>")
    frame = table()
    with pytest.raises(DataError, match=r"region=isle shows only 4 rows.*publish"):
        render(evaluate(frame, task="binary", by=["region"]).to_dict(), title="Raw")
    raw = evaluate(frame, task="binary", by=["region"])
    with pytest.raises(DataError, match="publish"):
        render(publish(raw).to_dict(), title="Raw", confusion=confusion(raw))
    with pytest.raises(DataError, match="no rows"):
        render({"rows": []}, title="Nothing")


def cells_of(text: str) -> list[str]:
    return re.findall(r"<td class=\"(?:none|h\d+)\">(.*?)</td>", text)


def test_heatmap_cells_do_not_give_small_ones_away() -> None:
    """A cell of 4 rows is hidden, and with it the smallest other of its line and of its column, so that totals do not tell it."""
    n = {("a", "x"): 4, ("a", "y"): 50, ("a", "z"): 30, ("b", "x"): 40, ("b", "y"): 60, ("b", "z"): 70}
    rows = [{"row": row, "column": column, "n": count, "value": 0.25} for (row, column), count in n.items()]
    text = render({"rows": [minimal()], "gaps": []}, title="Heat", heatmap=rows)
    shown = ["not published" not in cell for cell in cells_of(text)]
    assert shown == [False, True, False, False, True, False]
    one = [{"row": label, "column": None, "n": count, "value": 0.25} for label, count in (("a", 4), ("b", 50), ("c", 20), ("d", 0))]
    text = render({"rows": [minimal()], "gaps": []}, title="Heat", heatmap=one)
    assert cells_of(text) == ["<small>not published</small>", "0.250<small>50 rows</small>", "<small>not published</small>", "<small>no rows</small>"]


def test_tree_nodes_nest_and_small_ones_are_left_out() -> None:
    """Children stand inside their parent, labelled by what they add; siblings of a node of 4 rows go with it."""
    nodes = pd.DataFrame(
        [
            (0, None, None, 100, 0.3, 1.0),
            (1, 0, "a = 1", 60, 0.4, 0.8),
            (2, 1, "a = 1 AND b = 2", 4, 0.9, 0.12),
            (3, 1, "a = 1 AND b = 3", 56, 0.36, 0.68),
            (4, 0, "a = 2", 40, 0.15, 0.2),
            (5, 4, "a = 2 AND c > 7", 20, 0.2, 0.13),
            (6, 4, "a = 2 AND c <= 7", 20, 0.1, 0.07),
        ],
        columns=["node", "parent", "condition", "n", "value", "coverage"],
    ).astype({"parent": "Int64"})
    document = Document(render({"rows": [minimal()], "gaps": []}, title="Tree", tree=nodes))
    assert [one["text"] for one in document.all("code")] == ["all rows", "a = 1", "a = 2", "c > 7", "c <= 7"]
    assert len(document.all("details", open=None)) == 2  # the root and a = 2
    assert "80.0\xa0% of all errors" in document.by_id("tree")["text"]


def test_curves_and_matrices_are_of_the_largest_cohorts() -> None:
    """Of many cohorts the whole table and the eleven largest are drawn, and the page says so; a matrix shares out its true class."""
    names = ["overall", *(f"c={place:02}" for place in range(30))]
    matrix = [
        {"cohort": name, "true": true, "predicted": told, "n": 1000.0 + place + (3000 if true == told else 0)}
        for place, name in enumerate(names)
        for true in (0, 1)
        for told in (0, 1)
    ]
    document = Document(render({"rows": [minimal()], "gaps": []}, title="Many", confusion=matrix))
    assert [one["text"] for one in document.all("caption")][1:13] == ["overall", *(f"c={place:02}" for place in range(29, 18, -1))]
    text = document.by_id("confusion")["text"]
    assert "the 11 largest of 30 cohorts" in text
    assert "80.0\xa0%" in text  # 4,000 of 5,000


def test_one_thousand_cohorts_make_a_small_file() -> None:
    """1,000 cohorts by 7 metrics with a comparison stay under 3 MB."""
    metrics = ("accuracy", "precision", "recall", "false_positive_rate", "false_negative_rate", "selection_rate", "log_loss")
    rows = [minimal(f"race=Group {place}, country=Land {place % 50}", metric=metric, value=0.3 + place / 3001) for place in range(1000) for metric in metrics]
    compared = [row | {"baseline": 0.51234567, "delta": row["value"] - 0.51234567, "verdict": "better", "btc": 0.9123456, "bec": 0.8123456} for row in rows]
    assert len(render({"rows": rows, "gaps": [], "comparison": compared}, title="Large").encode()) < 3_000_000
