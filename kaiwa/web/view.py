"""Pages and fragments as responses: templates, words, and the headers common to all pages.

The content security policy allows only the server's own files: no inline script, no inline style, no other host.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from functools import cache
from importlib import resources

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from kaiwa.web import markdown
from kaiwa.web.services import ModelCard, PageServices
from kaiwa.web.words import for_client, words_of

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "font-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
# Addresses of this server in what a template has made, for a server under another's path (see `PageView.fragment`).
OWN_ADDRESS = re.compile(r'(\s(?:href|src|action|data-base)=")/(?!/)')
THEMES = ("light", "dark")
THEME_COOKIE = "kaiwa_theme"


class PageView:
    """The renderer of a server's pages: templates, filters, and the values shown on every page."""

    def __init__(self, services: PageServices) -> None:
        self.services = services
        self.environment = Environment(
            loader=PackageLoader("kaiwa.web", "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.environment.filters |= {
            "markdown": lambda text: Markup(markdown.render(text)),
            "parts": markdown.parts,
            "size": size,
            "figure": figure,
            "duration": duration,
            "json": script_json,
            "zip": lambda one, other: list(zip(one, other, strict=True)),
        }
        self.environment.globals |= {"asset": asset, "for_client": for_client}

    def fragment(self, request: Request, template: str, **values: object) -> str:
        """Return a rendered template. Its addresses begin with the path under which a proxy has the server, if any."""
        words, root = words_of(request), root_of(request)
        html = self.environment.get_template(template).render(t=words, language=words.language, root=root, **values)
        return OWN_ADDRESS.sub(rf"\1{root}/", html) if root else html

    def page(self, request: Request, template: str, *, status: int = 200, **values: object) -> HTMLResponse:
        """Return a whole page in the frame."""
        theme = request.cookies.get(THEME_COOKIE, "")
        html = self.fragment(
            request,
            template,
            theme=theme if theme in THEMES else "",
            engine=self.services.engine.status(),
            path=request.url.path,
            **values,
        )
        return HTMLResponse(html, status_code=status, headers=HEADERS)

    def part(self, request: Request, template: str, **values: object) -> HTMLResponse:
        return HTMLResponse(self.fragment(request, template, **values), headers=HEADERS)


def client_of(request: Request) -> str:
    """Return the client of a request: the key recognised by the server's guard, or without keys the address."""
    address = request.client.host if request.client is not None else ""
    return str(request.scope.get("kaiwa.who") or address)


def root_of(request: Request) -> str:
    """Return the path under which a proxy has the server (`--root-path`), or ""."""
    return str(request.scope.get("kaiwa.root", ""))


@cache
def asset(path: str) -> str:
    """Return the address of a static file, with a hash of its bytes, so browsers never use an old file.

    "report/…" are the files of the reports.
    """
    package, _, name = path.rpartition("/")
    folder = resources.files("kaiwa.report" if package == "report" else "kaiwa.web").joinpath("static")
    mark = hashlib.sha256(folder.joinpath(name).read_bytes()).hexdigest()[:10]
    return f"/static/{path}?{mark}"


def script_json(value: object) -> Markup:
    """Return JSON safe inside a <script type="application/json">."""
    text = json.dumps(value, ensure_ascii=False)
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def about(card: ModelCard, language: str) -> str:
    """Return a model's description in a language, or else in English."""
    return card.about.get(language) or card.about.get("en", "")


def starters(card: ModelCard, language: str) -> list[str]:
    """Return prompts to start with, in a language of the model: the page's language, if possible."""
    order: Mapping[str, object] = {language: None, **dict.fromkeys(card.languages), **dict.fromkeys(card.starters)}
    return next((list(card.starters[name]) for name in order if card.starters.get(name)), [])


def size(n_bytes: float) -> str:
    """Return bytes as text: 123456789 -> '123 MB'."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n_bytes >= scale:
            return f"{n_bytes / scale:.3g} {unit}"
    return f"{n_bytes:.0f} B"


def figure(value: float) -> str:
    """Return a count as text: 135e6 -> '135M'; below a thousand, three digits."""
    for unit, scale in (("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(value) >= scale:
            return f"{value / scale:.3g}{unit}"
    return f"{value:.3g}"


def duration(seconds: float) -> str:
    """Return seconds as text: 254 -> '4:14', 3905 -> '1:05:05'."""
    whole = max(0, round(seconds))
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"
