"""Elements as strings. Text is escaped unless already Markup, so a model's words can never become a tag."""

from __future__ import annotations

from collections.abc import Iterable

from markupsafe import Markup, escape

VOID = {"meta", "img", "input", "br", "hr", "line", "circle", "rect", "path", "polyline", "polygon"}
Child = str | Markup | int | float | None


def tag(name: str, /, *children: Child, **attributes: str | int | float | bool | None) -> Markup:
    """Return an element: `tag("td", "a<b", class_="figures", colspan=2)`.

    In an attribute's name a trailing `_` is dropped and an inner one becomes `-`. None and False leave the attribute
    out, True writes the name alone.
    """
    parts = [name]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        label = key.rstrip("_").replace("_", "-")
        parts.append(label if value is True else f'{label}="{escape(value)}"')
    head = " ".join(parts)
    if name in VOID and not children:
        return Markup(f"<{head}/>")
    return Markup(f"<{head}>{join(children)}</{name}>")


def join(children: Iterable[Child], between: str = "") -> Markup:
    """Join children, escaping plain text; None is left out."""
    return Markup(between).join(Markup(escape(child)) for child in children if child is not None)
