"""A self-contained file around bodies in both languages: style and script inside, no address of anything outside."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from importlib import resources

from markupsafe import Markup

from kaiwa.report.html import Child, tag

POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{hash}'"  # models' words cannot run
STYLES = ("paper.css", "pieces.css", "report.css")


def page(title: str, bodies: Mapping[str, Child], language: str, extra: Child = None) -> str:
    """Return the whole file. `bodies`: language -> content; `language` is shown first, a switch shows the other."""
    mains = [tag("main", content, lang=n, data_language=n, hidden=n != language) for n, content in bodies.items()]
    switch = [
        tag("button", text, type="button", data_show=name, aria_pressed=str(name == language).lower(), lang=name)
        for name, text in (("en", "English"), ("ja", "日本語"))
    ]
    script = static("pieces.js")
    parts = [
        tag("header", tag("b", tag("span", "会話", lang="ja"), " kaiwa"), tag("div", *switch, class_="switch")),
        *mains,
        extra,
        tag("script", Markup(script)),
    ]
    style = tag("style", Markup("\n".join(static(name) for name in STYLES)))
    viewport = tag("meta", name="viewport", content="width=device-width, initial-scale=1")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = tag("meta", http_equiv="Content-Security-Policy", content=POLICY.format(hash=digest))
    head = tag("head", tag("meta", charset="utf-8"), policy, viewport, tag("title", title), style)
    return Markup("<!doctype html>\n") + tag("html", head, tag("body", *parts, class_="report"), lang=language)


def static(name: str) -> str:
    return resources.files("kaiwa.report").joinpath("static", name).read_text(encoding="utf-8")
