"""The file around the bodies."""

import base64
import hashlib
import re

from markupsafe import Markup

from kaiwa.report.html import tag
from kaiwa.report.page import STYLES, page, static


def test_only_the_pages_own_script_may_run() -> None:
    html = page("t", {"en": "x"}, "en")
    (script,) = re.findall(r"<script>(.*?)</script>", html, re.S)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', html)
    assert policy
    assert f"script-src &#39;sha256-{digest}&#39;" in policy[1]
    assert policy[1].startswith("default-src &#39;none&#39;")


def test_one_language_is_shown_and_the_other_hidden() -> None:
    html = page("t", {"en": "English", "ja": tag("p", "日本語")}, "ja")
    assert '<html lang="ja">' in html
    assert '<main lang="en" data-language="en" hidden>English</main>' in html
    assert '<main lang="ja" data-language="ja"><p>日本語</p></main>' in html
    assert re.findall(r'data-show="(\w+)" aria-pressed="(\w+)"', html) == [("en", "false"), ("ja", "true")]


def test_title_and_bodies_are_escaped() -> None:
    html = page("<b>", {"en": "<script>alert(1)</script>"}, "en", Markup("<i>extra</i>"))
    assert "<title>&lt;b&gt;</title>" in html
    assert "&lt;script&gt;alert(1)" in html
    assert "<i>extra</i>" in html


def test_the_styles_are_inside_as_they_are() -> None:
    html = page("t", {"en": ""}, "en")
    assert html.startswith("<!doctype html>\n<html")
    for name in STYLES:
        assert static(name) in html
