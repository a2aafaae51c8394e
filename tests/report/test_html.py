"""Elements as strings."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from kaiwa.report.html import VOID, join, tag


def test_children_are_escaped_unless_they_are_markup() -> None:
    assert tag("p", "a < b", Markup("<b>c</b>"), 3, None) == "<p>a &lt; b<b>c</b>3</p>"


def test_attributes() -> None:
    made = tag("td", "x", class_="figures", colspan=2, aria_label='say "no"', hidden=True, title=None, open=False)
    assert made == '<td class="figures" colspan="2" aria-label="say &#34;no&#34;" hidden>x</td>'


def test_zero_and_the_empty_text_are_values() -> None:
    assert tag("line", x1=0, class_="") == '<line x1="0" class=""/>'


@pytest.mark.parametrize("name", sorted(VOID))
def test_void_elements_close_themselves(name: str) -> None:
    assert tag(name) == f"<{name}/>"


def test_other_elements_close_even_when_empty() -> None:
    assert tag("td") == "<td></td>"
    assert tag("circle", tag("title", "n")) == "<circle><title>n</title></circle>"


def test_joining_escapes_the_separator_never_markup() -> None:
    assert join(["a", None, Markup("<i>b</i>"), "<"], between=" · ") == "a · <i>b</i> · &lt;"
    assert join([]) == ""


@given(st.text())
def test_no_text_opens_an_element_or_leaves_an_attribute(text: str) -> None:
    made = tag("p", text, title=text)
    assert made.count("<") == 2
    assert made.count('"') == 2
