"""A model's Markdown as safe HTML: markdown-it-py, then nh3, code coloured by Pygments' classes.

Model output is untrusted: raw HTML is text, pictures are links (a picture's address could carry the chat away), links
open elsewhere without a referrer, and the sanitiser has the last word.
"""

from __future__ import annotations

from functools import lru_cache

import nh3
from markdown_it import MarkdownIt
from pygments import highlight as colour
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from pygments.util import ClassNotFound

TAGS = {
    "p", "br", "hr", "em", "strong", "s", "code", "pre", "blockquote", "ul", "ol", "li", "a", "span", "div",
    "h1", "h2", "h3", "h4", "h5", "h6", "table", "thead", "tbody", "tr", "th", "td",
}  # fmt: skip
ATTRIBUTES = {"a": {"href", "title"}, "span": {"class"}, "ol": {"start"}, "code": {"class"}}
SCHEMES = {"http", "https", "mailto"}
CACHED = 512  # messages
OPEN, CLOSE = "<think>", "</think>"  # around a reasoning model's thoughts, whatever tags the model has


def _highlight(code: str, language: str, _attributes: str) -> str:
    """Return code as spans with classes, or "" for plain escaping."""
    if not language:
        return ""
    try:
        lexer = get_lexer_by_name(language)
    except ClassNotFound:
        return ""
    return str(colour(code, lexer, HtmlFormatter(nowrap=True)))


@lru_cache(maxsize=1)
def _parser() -> MarkdownIt:
    options = {"html": False, "linkify": False, "breaks": True, "highlight": _highlight}
    return MarkdownIt("commonmark", options).enable(["table", "strikethrough"]).disable("image")


def parts(text: str) -> tuple[str, str]:
    """Return an answer's reasoning, "" where it has none, and the rest."""
    if not text.startswith(OPEN):
        return "", text
    reasoning, _, rest = text.removeprefix(OPEN).partition(CLOSE)
    return reasoning.strip(), rest.lstrip()


@lru_cache(maxsize=CACHED)
def render(text: str) -> str:
    """Return a message as safe HTML."""
    return nh3.clean(
        _parser().render(text),
        tags=TAGS,
        attributes=ATTRIBUTES,
        url_schemes=SCHEMES,
        link_rel="noopener noreferrer nofollow",
        set_tag_attribute_values={"a": {"target": "_blank"}},
    )
