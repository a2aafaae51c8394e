"""The words are complete, and every key that a template or module asks for exists."""

import re
import string
from pathlib import Path

import pytest

from kaiwa.core.stages import stage_names
from kaiwa.report.words import Words, dictionary
from kaiwa.web.words import preferred_language

ROOT = Path(__file__).parents[2] / "kaiwa"
PACKAGES = ("kaiwa.report", "kaiwa.web")


@pytest.mark.parametrize("package", PACKAGES)
def test_both_languages_have_the_same_keys_and_blanks(package: str) -> None:
    english, japanese = dictionary(package, "en"), dictionary(package, "ja")
    assert english.keys() == japanese.keys()
    for key in english:
        blanks = [{name for _, name, _, _ in string.Formatter().parse(d[key]) if name} for d in (english, japanese)]
        assert blanks[0] == blanks[1], key


def test_the_two_dictionaries_do_not_overlap() -> None:
    assert not dictionary("kaiwa.report", "en").keys() & dictionary("kaiwa.web", "en").keys()


def test_every_key_that_is_asked_for_exists() -> None:
    known = dictionary("kaiwa.report", "en").keys() | dictionary("kaiwa.web", "en").keys()
    templates = "".join(p.read_text(encoding="utf-8") for p in (ROOT / "web" / "templates").glob("*.html"))
    modules = "".join(p.read_text(encoding="utf-8") for p in (ROOT / "web" / "static").glob("*.js"))
    code = "".join(p.read_text(encoding="utf-8") for room in ("web", "report") for p in (ROOT / room).glob("*.py"))
    asked = set(re.findall(r"""\bt\(\s*["']([\w.-]+)["'][,)]""", templates))
    asked |= {f"js.{key}" for key in re.findall(r"""\bsay\(["']([\w.]+)["'][,)]""", modules)}
    asked |= set(re.findall(r"""\bwords\(["']([\w.]+)["'][,)]""", code))
    assert asked - known == set()
    for language in ("en", "ja"):
        assert {f"stage.{name}" for name in stage_names()} <= Words(language).texts.keys()


@pytest.mark.parametrize(
    ("header", "language"),
    [("ja,en;q=0.8", "ja"), ("en-US,en;q=0.9,ja;q=0.5", "en"), ("fr, ja;q=0.3", "ja"), ("", "en"), ("ja;q=0", "en"),
     ("*;q=x, ja", "ja")],
)  # fmt: skip
def test_accept_language(header: str, language: str) -> None:
    assert preferred_language(header) == language
