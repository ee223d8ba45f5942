"""The evaluation page in a browser: it opens clean, sorts, filters, copies, and runs nothing that data brings along."""

import contextlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest

from tasks.core.page import render

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update"]
FLAGS += ["--disable-sync", "--disable-dev-shm-usage", "--remote-debugging-port=0"]
METRICS = ("accuracy", "precision", "recall", "false_positive_rate", "false_negative_rate", "selection_rate", "log_loss")

pytestmark = [pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"), pytest.mark.xdist_group("browser")]


class Browser:
    """A headless Chromium spoken to through its DevTools protocol."""

    def __init__(self, folder: Path) -> None:
        assert CHROMIUM is not None
        self.process = subprocess.Popen(
            [CHROMIUM, *FLAGS, f"--user-data-dir={folder}", "about:blank"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        port = folder / "DevToolsActivePort"
        end = time.monotonic() + 60
        while not (port.exists() and port.read_text().count("\n")):
            assert time.monotonic() < end, "Chromium did not start"
            assert self.process.poll() is None, "Chromium ended"
            time.sleep(0.05)
        from websockets.sync.client import connect

        self.port = int(port.read_text().splitlines()[0])
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/json/list", timeout=30) as answer:
            page = next(one for one in json.load(answer) if one["type"] == "page")
        self.socket = connect(page["webSocketDebuggerUrl"], max_size=None, proxy=None)
        self.numbers, self.events = itertools.count(1), []
        self.send("Emulation.setFocusEmulationEnabled", enabled=True)
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **params):
        """Call a method and give its result; what happens meanwhile is kept in `events`."""
        number = next(self.numbers)
        self.socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            message = json.loads(self.socket.recv(timeout=60))
            if message.get("id") == number:
                assert "error" not in message, message
                return message["result"]
            self.events.append(message)

    def open(self, path: Path) -> None:
        """Open a file and wait until it has loaded."""
        self.events.clear()
        self.send("Page.navigate", url=path.as_uri())
        end = time.monotonic() + 60
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            assert time.monotonic() < end, "the page did not load"
            self.send("Runtime.evaluate", expression="1")
        time.sleep(0.1)

    def run(self, expression: str, *, gesture: bool = False):
        """The value of a JavaScript expression in the page."""
        answer = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True, userGesture=gesture)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def complaints(self) -> list[str]:
        """Errors and warnings of the console since the page was opened."""
        found = []
        for event in self.events:
            if event["method"] == "Runtime.exceptionThrown":
                found.append(event["params"]["exceptionDetails"]["text"])
            elif event["method"] == "Log.entryAdded" and event["params"]["entry"]["level"] in ("error", "warning"):
                found.append(event["params"]["entry"]["text"])
            elif event["method"] == "Runtime.consoleAPICalled":
                found.append(str(event["params"]["args"]))
        return found

    def requests(self) -> list[str]:
        """Addresses asked for since the page was opened."""
        return [event["params"]["request"]["url"] for event in self.events if event["method"] == "Network.requestWillBeSent"]

    def close(self) -> None:
        """End the browser and all it started."""
        self.socket.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(20)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """One browser for the module."""
    found = Browser(tmp_path_factory.mktemp("chromium"))
    yield found
    found.close()


def row(cohort, metric, value, *, n=100, kind="group", verdict="ok", half=0.05):
    return {
        "cohort": cohort,
        "kind": kind,
        "metric": metric,
        "value": value,
        "low": value - half,
        "high": value + half,
        "n": n,
        "support": n,
        "verdict": verdict,
    }


def gap(metric, grouping, difference, worst, best, p_value):
    limits = {"low": difference / 2, "high": difference * 1.5}
    return {
        "metric": metric,
        "grouping": grouping,
        "difference": difference,
        "ratio": 0.5,
        "worst": worst,
        "best": best,
        "p_value": p_value,
        "verdict": "ok",
    } | limits


def small_report():
    """Three cities and a condition; the order by accuracy is C (0.5), overall (0.7), B (0.72), A (0.9)."""
    values = {"overall": (0.7, 0.2, 300, "overall"), "city=A": (0.9, 0.1, 100, "group"), "city=B": (0.72, 0.3, 120, "group"), "city=C": (0.5, 0.4, 80, "group")}
    rows = [row(name, "accuracy", one, n=n, kind=kind) for name, (one, _, n, kind) in values.items()]
    rows += [row(name, "false_positive_rate", two, n=n, kind=kind) for name, (_, two, n, kind) in values.items()]
    rows += [row("Few", "accuracy", 0.6, n=20, kind="filter", verdict="insufficient"), row("Few", "false_positive_rate", 0.2, n=20, kind="filter")]
    gaps = [gap("accuracy", "city", 0.4, "city=C", "city=A", 0.001), gap("false_positive_rate", "city", 0.3, "city=C", "city=A", 0.2)]
    compared = [
        {"cohort": one["cohort"], "kind": one["kind"], "metric": one["metric"], "value": one["value"], "baseline": one["value"] - 0.1, "delta": 0.1}
        | {"low": 0.05, "high": 0.15, "p_value": 0.01, "n": one["n"], "support": one["n"], "verdict": "worse" if one["cohort"] == "city=C" else "no evidence"}
        | {"btc": 0.9, "bec": 0.8}
        for one in rows
    ]
    return {"rows": rows, "gaps": gaps, "comparison": compared}


def write(path, *arguments, **more):
    path.write_text(render(*arguments, **more), encoding="utf-8")
    return path


NAMES = "[...document.querySelectorAll('#cohort-table tbody th')].map((one) => one.textContent)"


def choose(browser, **fields):
    """Fill the filters of the cohort table as a person would."""
    for name, value in fields.items():
        browser.run(
            f"(() => {{ const one = document.getElementById('filters').elements[{name!r}]; one.value = {value!r}; "
            f"one.dispatchEvent(new Event('input', {{bubbles: true}})) }})()"
        )


def press(browser, text):
    """Click a column of the cohort table."""
    browser.run(f"[...document.querySelectorAll('#cohort-table thead button')].find((one) => one.textContent === {text!r}).click()", gesture=True)


def test_it_opens_without_complaint_or_request(browser, tmp_path) -> None:
    """The console stays empty, and nothing but the file itself is asked for."""
    path = write(tmp_path / "page.html", small_report(), title="Small")
    browser.open(path)
    assert browser.complaints() == []
    assert [one for one in browser.requests() if not one.startswith("data:")] == [path.as_uri()]
    assert browser.run("document.title") == "Small"
    assert browser.run(NAMES) == ["overall", "city=A", "city=B", "city=C", "Few"]
    assert browser.run("document.getElementById('count').textContent") == "5 of 5 cohorts"


def test_columns_sort_both_ways_and_say_so(browser, tmp_path) -> None:
    """A column sorts by its values, again the other way, and its header tells which."""
    browser.open(write(tmp_path / "page.html", small_report(), title="Small"))
    press(browser, "accuracy")
    assert browser.run(NAMES) == ["city=A", "city=B", "overall", "Few", "city=C"]
    assert browser.run("document.querySelector('#cohort-table th[aria-sort=descending]').textContent") == "accuracy"
    press(browser, "accuracy")
    assert browser.run(NAMES) == ["city=C", "Few", "overall", "city=B", "city=A"]
    assert browser.run("[...document.querySelectorAll('#cohort-table th[aria-sort]')].map((one) => one.ariaSort)") == [
        "none",
        "none",
        "none",
        "ascending",
        "none",
    ]
    gaps = "[...document.querySelectorAll('#gap-table tbody th')].map((one) => one.textContent)"
    assert browser.run(gaps) == ["accuracy", "false_positive_rate"]
    browser.run("document.querySelector('#gap-table th[data-key=p] button').click()")
    assert browser.run(gaps) == ["false_positive_rate", "accuracy"]


def test_filters_narrow_the_cohorts(browser, tmp_path) -> None:
    """Text, kind, rows and standing each leave what they say; reset brings all back."""
    browser.open(write(tmp_path / "page.html", small_report(), title="Small"))
    choose(browser, query="CITY b")
    assert browser.run(NAMES) == ["city=B"]
    choose(browser, query="", kind="filter")
    assert browser.run(NAMES) == ["Few"]
    choose(browser, kind="", least="100")
    assert browser.run(NAMES) == ["overall", "city=A", "city=B"]
    choose(browser, least="", standing="standing:worse")
    assert browser.run(NAMES) == ["city=B", "city=C"]  # B's false positives, C's accuracy too
    choose(browser, metric="0")
    assert browser.run(NAMES) == ["city=C"]
    choose(browser, standing="change:worse")
    assert browser.run(NAMES) == ["city=C"]
    choose(browser, standing="verdict:insufficient")
    assert browser.run(NAMES) == ["Few"]
    browser.run("document.querySelector('#filters [type=reset]').click()")
    browser.run("new Promise((done) => setTimeout(done, 30))")
    assert len(browser.run(NAMES)) == 5
    browser.run("(() => { const one = document.querySelector('[data-filters]'); one.value = 'positive'; one.dispatchEvent(new Event('input')) })()")
    assert browser.run("[...document.querySelectorAll('#gap-table tbody tr')].filter((one) => !one.hidden).length") == 1


def test_one_metric_is_drawn_with_the_figures_of_the_table(browser, tmp_path) -> None:
    """The script writes every value, interval and word as the document does."""
    awkward = (0.5, -12.345, 123.456, 48842.0, 0.00012, 0.0, 9.9996, -0.25, 0.0625, 12345678.9)
    rows = [row("overall", "mean_error", 0.1, n=1000, kind="overall"), *(row(f"g={place}", "mean_error", value, n=1234) for place, value in enumerate(awkward))]
    browser.open(write(tmp_path / "page.html", {"rows": rows, "gaps": []}, title="Awkward"))
    cell, word = "one.cells[3].firstChild.textContent.trim(), one.cells[3].querySelector('small').textContent", "querySelector('b')?.textContent ?? ''"
    rows_as = "[...document.querySelectorAll('#cohort-table tbody tr')].map((one) => [{}, one.cells[{}].{}])"
    told = browser.run(rows_as.format(cell, 3, word))
    choose(browser, metric="0")
    made = browser.run(rows_as.format(cell, 4, word))
    assert made == told
    assert browser.run("document.querySelectorAll('#cohort-table tbody svg circle').length") == len(rows)


PAYLOADS = (
    "<script>window.ran = 1</script>",
    "</script><script>window.ran = 2</script>",
    "<img src=x onerror='window.ran = 3'>",
    '"><svg onload=window.ran=4>',
    "<!--<script>",
    "' onmouseover='window.ran = 5' x='",
    "{{ 7 * 7 }}{% raw %}",
    "javascript:window.ran=6",
    "a\u202eb\u2028c\0d\r\ne",
    "<iframe srcdoc='<script>parent.ran = 7</script>'></iframe>",
    "<a href='https://example.org/'>link</a><link rel=stylesheet href=https://example.org/x.css>",
)


def hostile_page(path):
    """Every name, label, category and condition is an attempt to run a script."""
    names = ["overall", *PAYLOADS]
    report = {
        "rows": [row(name, metric, 0.5, kind=name) for name in names for metric in (*PAYLOADS, "accuracy")],
        "gaps": [gap(name, name, 0.1, name, name, 0.01) for name in PAYLOADS],
        "comparison": [
            {"cohort": name, "metric": "accuracy", "verdict": "worse", "delta": -0.1, "baseline": 0.6, "low": -0.2, "high": -0.01} for name in names
        ],
    }
    slices = [
        {"condition": one, "n": 60, "value": 0.4, "overall": 0.2, "effect": 0.2, "low": 0.1, "high": 0.3, "p_value": 0.01, "confirmed": True}
        for one in PAYLOADS
    ]
    tree = [{"node": place, "parent": place - 1 if place else None, "condition": one, "n": 100, "value": 0.1} for place, one in enumerate(PAYLOADS)]
    heat = {(PAYLOADS[0], PAYLOADS[1]): [{"row": one, "column": two, "n": 50, "value": 0.1} for one in PAYLOADS for two in PAYLOADS]}
    curves = [{"cohort": name, "bin": name, "n": 50, "score": 0.3, "positive": 0.3, "low": 0.2, "high": 0.4} for name in PAYLOADS]
    matrix = [{"cohort": name, "true": one, "predicted": two, "n": 50} for name in PAYLOADS[:3] for one in PAYLOADS for two in PAYLOADS]
    return write(path, report, title=PAYLOADS[1], slices=slices, tree=tree, heatmap=heat, curves=curves, confusion=matrix)


def test_hostile_names_stay_text(browser, tmp_path) -> None:
    """Names, categories and conditions that hold markup run nothing, load nothing and are shown as they are."""
    path = hostile_page(tmp_path / "hostile.html")
    browser.open(path)
    for metric in ("", "0", "1", str(len(PAYLOADS))):
        choose(browser, metric=metric)
        browser.run("document.querySelector('#cohort-table thead button').click()", gesture=True)
        for kind in ("mouseover", "focus", "error", "load"):
            browser.run(f"document.querySelectorAll('body *').forEach((one) => one.dispatchEvent(new Event({kind!r})))")
    browser.run("new Promise((done) => setTimeout(done, 200))")
    assert browser.run("typeof window.ran") == "undefined"
    assert browser.complaints() == []  # an attempt that the policy stopped would be told here
    assert {one for one in browser.requests() if not one.startswith("data:")} == {path.as_uri()}
    assert browser.run("document.querySelectorAll('main img, main script, main iframe, main a[href^=http], svg[onload]').length") == 0
    assert browser.run("document.title") == PAYLOADS[1]
    shown = set(browser.run(NAMES))
    assert set(PAYLOADS) <= shown


def test_a_policy_stops_what_is_not_ours(browser, tmp_path) -> None:
    """Were a name ever to reach the document as markup, its script would still not run, nor anything be loaded."""
    text = render(small_report(), title="Small")
    attack = "<script>window.ran = 1</script><img src='https://example.org/x.png' onerror='window.ran = 2'><body onload='window.ran = 3'>"
    path = tmp_path / "broken.html"
    path.write_text(text.replace("<main>", f"<main>{attack}"), encoding="utf-8")
    browser.open(path)
    assert browser.run("typeof window.ran") == "undefined"
    assert any("Content Security Policy" in one for one in browser.complaints())
    assert not [event for event in browser.events if event["method"] == "Network.responseReceived" and "example.org" in event["params"]["response"]["url"]]


def test_a_condition_is_copied_exactly(browser, tmp_path) -> None:
    """The button puts the condition, and nothing else, on the clipboard; the file needs no network for it."""
    condition = "\"a b\" = 'x''y' AND c <= 3 AND d = '<&>'"
    one = {"condition": condition, "n": 60, "value": 0.4, "overall": 0.2, "effect": 0.2, "low": 0.1, "high": 0.3, "p_value": 0.01, "confirmed": True}
    browser.open(write(tmp_path / "page.html", small_report(), title="Small", slices=[one]))
    browser.run("navigator.clipboard.writeText = () => Promise.reject(new Error('none'))")
    browser.run("document.querySelector('button.copy').click()", gesture=True)
    browser.run("new Promise((done) => setTimeout(done, 300))")
    assert browser.run("getSelection().toString()") == condition
    browser.run("navigator.clipboard.writeText = async (text) => { window.written = text }; document.querySelector('button.copy').click()", gesture=True)
    assert browser.run("window.written") == condition
    assert browser.run("document.getElementById('said').textContent") == "Condition copied"


def test_themes_and_keyboard(browser, tmp_path) -> None:
    """The theme follows the reader's and can be turned; every control is reached by Tab and shows it."""
    browser.open(write(tmp_path / "page.html", small_report(), title="Small"))
    dark = "getComputedStyle(document.body).backgroundColor"
    colours = {}
    for scheme in ("light", "dark"):
        browser.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        colours[scheme] = browser.run(dark)
    assert colours["light"] != colours["dark"]
    for expected in ("light", "dark"):
        browser.run("document.getElementById('theme').click()")
        assert browser.run(dark) == colours[expected]
    browser.send("Emulation.setEmulatedMedia", features=[])
    reached = set()
    for _ in range(60):
        for kind in ("keyDown", "keyUp"):
            browser.send("Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9)
        reached.add(
            browser.run(
                "(() => { const one = document.activeElement; return [one.tagName, one.id || one.name || one.textContent.slice(0, 20), "
                "getComputedStyle(one).outlineStyle !== 'none'].join('|') })()"
            )
        )
    assert {"BUTTON|theme|true", "INPUT|query|true", "SELECT|metric|true", "BUTTON|accuracy|true", "A|Skip to the summary|true"} <= reached
    assert not [one for one in reached if one.endswith("|false") and not one.startswith("BODY")]


def test_a_thousand_cohorts_are_quick_to_filter(browser, tmp_path) -> None:
    """1,000 cohorts by 7 metrics make less than 3 MB, and a keystroke in the filter costs at most a few layouts of the page."""
    names = ["overall", *(f"race=Group {place % 40}, country=Land {place // 40}, age=({place % 7}0, {place % 7 + 1}0]" for place in range(999))]
    rows = [row(name, metric, 0.5 + (hash((name, metric)) % 1000) / 2500, n=1000) for name in names for metric in METRICS]
    compared = [one | {"baseline": 0.5, "delta": one["value"] - 0.5, "p_value": 0.5, "verdict": "better", "btc": 0.9, "bec": 0.8} for one in rows]
    path = write(tmp_path / "large.html", {"rows": rows, "gaps": [], "comparison": compared}, title="Large")
    assert path.stat().st_size < 3_000_000
    browser.open(path)
    keystroke = """(async () => {
      const input = document.getElementById('filters').elements.query, times = [];
      for (const text of ['g', 'gr', 'gro', 'group 1', 'group 17', 'group 1', 'gro', '']) {
        input.value = text;
        const start = performance.now();
        input.dispatchEvent(new Event('input', {bubbles: true}));
        document.body.offsetHeight;
        times.push(performance.now() - start);
      }
      return times.sort((a, b) => a - b);
    })()"""
    layout = """(() => {
      const times = [], table = document.getElementById('cohort-table'), parent = table.parentNode;
      for (let turn = 0; turn < 8; turn++) {
        const start = performance.now();
        table.remove(); document.body.offsetHeight; parent.append(table); document.body.offsetHeight;
        times.push(performance.now() - start);
      }
      return times.sort((a, b) => a - b);
    })()"""
    for metric in ("", "2"):
        choose(browser, metric=metric)
        floor, times = browser.run(layout)[4], browser.run(keystroke)[4]
        assert times < 10 * floor + 5, f"a keystroke takes {times:.0f} ms, a layout {floor:.0f} ms"
    choose(browser, metric="")
    assert len(browser.run(NAMES)) == 50
    browser.run("document.getElementById('more').click()")
    assert len(browser.run(NAMES)) == 1000
