"""The page's own files. They hold no secret and are served to everybody; all that they show comes by `/api`."""

from __future__ import annotations

from importlib.resources import files

from .server import Answer, Page

FILES = {
    "/": ("page.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/cards.js": ("cards.js", "text/javascript; charset=utf-8"),
    "/alarms.js": ("alarms.js", "text/javascript; charset=utf-8"),
    "/charts.js": ("charts.js", "text/javascript; charset=utf-8"),
    "/colours.js": ("colours.js", "text/javascript; charset=utf-8"),
    "/heat.js": ("heat.js", "text/javascript; charset=utf-8"),
    "/evidence.js": ("evidence.js", "text/javascript; charset=utf-8"),
    "/evidence_charts.js": ("evidence_charts.js", "text/javascript; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
SAFE = (
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)
API_HEADERS = (*SAFE, ("Cache-Control", "no-store"))
"""Of what tells of the machines."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src blob:; connect-src 'self'; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
PAGE_HEADERS = (
    *SAFE,
    ("Content-Security-Policy", POLICY),
    ("X-Frame-Options", "DENY"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cache-Control", "no-cache"),
)


def make_web_pages(*, needs_token: bool) -> dict[str, Page]:
    """The files by path. The page is told whether to ask for a token."""

    def page(name: str, content_type: str) -> Page:
        body = (files(__package__) / "web" / name).read_bytes()
        body = body.replace(b'data-token="unknown"', b'data-token="needed"' if needs_token else b'data-token="none"')
        answer = Answer(200, body, content_type, PAGE_HEADERS)
        return lambda request: answer

    return {path: page(name, content_type) for path, (name, content_type) in FILES.items()}
