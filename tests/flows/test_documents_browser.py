"""Documents in a browser: they open clean, ask for nothing, run nothing that data brings along, and follow light and dark."""

import pytest

from tasks.core.documents import data_card, model_card, scorecard, web
from tests.core.conftest import build
from tests.core.test_documents import PAYLOADS, hostile
from tests.flows.test_page_browser import CHROMIUM, Browser

pytestmark = [pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"), pytest.mark.xdist_group("browser")]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """One browser for the module."""
    found = Browser(tmp_path_factory.mktemp("chromium"))
    yield found
    found.close()


def pages(dossier, folder):
    """The HTML documents of a dossier, as files."""
    made = {
        "scorecard": web.render(scorecard.document(dossier), "scorecard"),
        "model-card": model_card.to_html(dossier),
        "data-card": web.render(data_card.document(dossier), "data card"),
    }
    for name, text in made.items():
        path = folder / f"{name}.html"
        path.write_text(text, encoding="utf-8")
        yield path


def test_they_open_without_complaint_or_request(browser, tmp_path) -> None:
    """The console stays empty, nothing but the file is asked for, and nothing is wider than the window, a telephone's too."""
    for width in (1100, 380):
        browser.send("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        for path in pages(build(), tmp_path):
            browser.open(path)
            assert browser.complaints() == [], path.name
            assert [one for one in browser.requests() if not one.startswith("data:")] == [path.as_uri()]
            assert browser.run("document.documentElement.scrollWidth <= innerWidth"), (path.name, width)
    browser.send("Emulation.clearDeviceMetricsOverride")


def test_the_chart_shows_who_is_worse_by_form_as_well_as_colour(browser, tmp_path) -> None:
    """A square for a group that is clearly worse, a dot for others, each where its figure is."""
    path = next(pages(build(), tmp_path))
    browser.open(path)
    assert browser.run("[...document.querySelectorAll('.bar-row')].map((one) => one.querySelector('rect') ? 'square' : 'dot')") == ["square", "dot"]
    assert browser.run(
        "document.querySelector('.bar-row rect').getBoundingClientRect().left > document.querySelector('.reference').getBoundingClientRect().left"
    )


def test_hostile_names_and_notes_run_nothing(browser, tmp_path) -> None:
    """They are shown as they are; nothing runs, nothing is loaded, and no policy had to step in."""
    for path in pages(hostile(build), tmp_path):
        browser.open(path)
        for kind in ("mouseover", "focus", "error", "load"):
            browser.run(f"document.querySelectorAll('body *').forEach((one) => one.dispatchEvent(new Event({kind!r})))")
        assert browser.run("typeof window.ran") == "undefined", path.name
        assert browser.complaints() == [], path.name
        assert [one for one in browser.requests() if not one.startswith("data:")] == [path.as_uri()]
        assert PAYLOADS[0] in browser.run("document.body.textContent"), path.name


def test_light_dark_and_print(browser, tmp_path) -> None:
    """Colours follow the reader's theme; print is on paper's white whatever the theme."""
    path = next(pages(build(), tmp_path))
    browser.open(path)
    colours = {}
    for scheme in ("light", "dark"):
        browser.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        colours[scheme] = browser.run("[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color].join()")
    assert colours["light"] != colours["dark"]
    browser.send("Emulation.setEmulatedMedia", media="print", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    assert browser.run("getComputedStyle(document.documentElement).colorScheme") == "light"
    browser.send("Emulation.setEmulatedMedia", media="", features=[])
