"""Documents as one HTML file that needs nothing but itself. No script is in it, and its policy lets none run."""

from markupsafe import Markup

from tasks.core.documents.content import Document
from tasks.core.page import _asset, _digest, _environment

POLICY = "default-src 'none'; style-src '{style}'; img-src data:; base-uri 'none'; form-action 'none'"


def render(document: Document, kind: str) -> str:
    """The document as HTML; `kind` stands beside the name on top. Everything that comes from data or people is escaped."""
    style = _asset("page.css") + _asset("document.css")
    text: str = (
        _environment()
        .get_template("document.html.j2")
        .render(
            document=document,
            kind=kind,
            policy=POLICY.format(style=_digest(style)),
            style=Markup(style),  # noqa: S704  # assets of ours
            names=[f"part-{place}" for place in range(1, len(document.sections) + 1)],
        )
    )
    # A lone surrogate cannot be written, NUL is no character of HTML, and a bare CR would be read as a line feed.
    return text.encode("utf-8", "replace").decode("utf-8").replace("\0", "\N{REPLACEMENT CHARACTER}").replace("\r", "&#13;")
