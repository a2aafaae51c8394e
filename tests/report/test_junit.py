"""JUnit XML, read back with a parser that is not ours."""

import xml.etree.ElementTree as ElementTree

from hypothesis import given
from hypothesis import strategies as st

from kaiwa.report.junit import JUnitCase, JUnitSuite, junit_xml

SUITES = [
    JUnitSuite(
        name='lab "a" & b',
        cases=[
            JUnitCase(classname="lab.x", name="passes"),
            JUnitCase(classname="lab.x", name="fails", failure="below < 0.5", detail="a & b\nsecond line"),
            JUnitCase(classname="lab.x", name="prints", output="<said>"),
        ],
    ),
    JUnitSuite(
        name="red",
        cases=[
            JUnitCase(classname="red", name="skips", skipped="no key"),
            JUnitCase(classname="red", name="breaks", error="not reached", output="tried"),
        ],
    ),
]


def counts(element: ElementTree.Element) -> list[int]:
    return [int(element.attrib[key]) for key in ("tests", "failures", "errors", "skipped")]


def test_counts_of_the_whole_and_of_every_suite() -> None:
    root = ElementTree.fromstring(junit_xml(SUITES).encode())
    assert root.tag == "testsuites"
    assert counts(root) == [5, 1, 1, 1]
    assert [counts(suite) for suite in root] == [[3, 1, 0, 0], [2, 0, 1, 1]]
    assert [suite.attrib["name"] for suite in root] == ['lab "a" & b', "red"]


def test_cases_say_how_they_ended() -> None:
    root = ElementTree.fromstring(junit_xml(SUITES).encode())
    ends = {
        case.attrib["name"]: [(child.tag, child.attrib.get("message"), child.text) for child in case]
        for case in root.iter("testcase")
    }
    assert ends == {
        "passes": [],
        "fails": [("failure", "below < 0.5", "a & b\nsecond line")],
        "prints": [("system-out", None, "<said>")],
        "skips": [("skipped", "no key", None)],
        "breaks": [("error", "not reached", None), ("system-out", None, "tried")],
    }
    assert [case.attrib["classname"] for case in root.iter("testcase")] == ["lab.x"] * 3 + ["red"] * 2


def test_the_file_declares_its_encoding_and_no_suites_are_none() -> None:
    text = junit_xml([])
    assert text.startswith('<?xml version="1.0" encoding="UTF-8"?>\n')
    assert counts(ElementTree.fromstring(text.encode())) == [0, 0, 0, 0]
    assert "会話" in junit_xml([JUnitSuite(name="会話", cases=[])])


def test_characters_that_xml_cannot_hold_are_replaced() -> None:
    case = JUnitCase(classname="a", name="b", failure="bell \x07", output="\x1b[1m\x00\ud800\tü 🙂")
    (read,) = ElementTree.fromstring(junit_xml([JUnitSuite(name="s", cases=[case])]).encode()).iter("testcase")
    assert read[0].attrib["message"] == "bell \ufffd"
    assert read[1].text == "\ufffd[1m\ufffd\ufffd\tü 🙂"


@given(st.text())
def test_any_text_of_a_model_is_read_back(text: str) -> None:
    case = JUnitCase(classname="a", name="b", failure=text or "x", detail=text, output=text or "x")
    (read,) = ElementTree.fromstring(junit_xml([JUnitSuite(name="s", cases=[case])]).encode()).iter("testcase")
    assert len(read[0].text or "") == len(text.replace("\r\n", "\n"))
