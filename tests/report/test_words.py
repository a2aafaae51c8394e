"""The dictionaries of both languages."""

import re
from pathlib import Path

import pytest

import kaiwa.report
from kaiwa.core.stages import STAGES
from kaiwa.report.words import LANGUAGES, Words, dictionary


def test_languages_have_the_same_keys_and_blanks() -> None:
    english, japanese = (dictionary("kaiwa.report", language) for language in ("en", "ja"))
    assert set(english) == set(japanese)
    for key, text in english.items():
        blanks = [sorted(set(re.findall(r"\{(\w*)\}", each))) for each in (text, japanese[key])]
        assert blanks[0] == blanks[1], key


def test_blanks_are_filled_only_when_values_are_given() -> None:
    words = Words("en")
    assert words("time.minutes", m=3, s=9) == "3 min 9 s"
    assert words("time.minutes") == "{m} min {s} s"
    with pytest.raises(KeyError):
        words("time.minutes", m=3)


def test_a_missing_key_shows_as_itself() -> None:
    words = Words("en")
    assert words("no.such.key") == "no.such.key"
    assert not words.has("no.such.key")
    assert words.first("no.such.key", "axis.helpful", "axis.harmless") == "helpful"
    assert words.first("no.such.key") == ""


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_stage_has_its_texts(language: str) -> None:
    words = Words(language)
    for stage in STAGES:
        assert words.has(f"stage.{stage.name}")
        assert words.has(f"model.{stage.name}") == stage.is_model


def test_other_packages_put_theirs_on_top() -> None:
    web, plain = Words("en", "kaiwa.web"), Words("en")
    assert set(plain.texts) < set(web.texts)


def test_every_key_that_the_code_names_is_there() -> None:
    folder = Path(kaiwa.report.__file__).parent
    words = Words("en", "kaiwa.web")  # a docstring's example is of the pages
    named = {key for file in folder.glob("*.py") for key in re.findall(r'words\("([a-z_.]+)"', file.read_text())}
    assert len(named) > 50
    assert sorted(key for key in named if not words.has(key)) == []
