"""Generated reasoning tasks: their answers are worked out again from the question's words."""

import datetime
import re

import pytest

from kaiwa.lab.tasks.reasoning import coin_flip, dates, last_letters, word_sums
from kaiwa.lab.tasks.tools import calculate


@pytest.mark.parametrize("language", ["en", "ja"])
def test_equations_have_the_numbers_of_the_story_and_the_answer(language: str) -> None:
    for item in word_sums(language, 60).items:
        left, right = item.equation.rstrip(".").split(" = ")
        assert calculate(left) == right == item.answer
        assert sorted(re.findall(r"\d+", left)) == sorted(re.findall(r"\d+", item.input))
        assert item.reasoning.rstrip(".。").endswith(item.answer)


def test_last_letters() -> None:
    for item in last_letters(words=3, n=30).items:
        names = re.findall(r'"(.*?)"', item.input)[0].split()
        assert len(names) == 3
        assert item.answer == "".join(name[-1] for name in names)
        assert all(f'"{name}" is "{name[-1]}"' in item.reasoning for name in names)
    for item in last_letters("ja", n=20).items:
        assert item.answer == "".join(name[-1] for name in re.findall("「(.*?)」", item.input))


@pytest.mark.parametrize(
    ("language", "flip", "yes"), [("en", r"\bflips the coin", "yes"), ("ja", "裏返します", "はい")]
)
def test_coins(language: str, flip: str, yes: str) -> None:
    answers = set()
    for item in coin_flip(language, 40).items:
        flips = len(re.findall(flip, item.input))
        assert (item.answer == yes) == (flips % 2 == 0)
        assert str(flips) in item.reasoning
        assert item.answer in item.choices
        answers.add(item.answer)
    assert len(answers) == 2


def test_dates() -> None:
    for item in dates(n=40).items:
        day, days, way = re.search(r"Today is (\S+)\. What is the date (\d+) days (\w+)", item.input).groups()  # type: ignore[union-attr]
        delta = datetime.timedelta(days=int(days) * (1 if way == "later" else -1))
        assert item.answer == (datetime.date.fromisoformat(day) + delta).isoformat()
        assert item.answer in item.reasoning


@pytest.mark.parametrize("make", [word_sums, last_letters, coin_flip, dates])
def test_items_and_demonstrations_are_apart_and_drawn_from_the_seed(make) -> None:  # type: ignore[no-untyped-def]
    task = make(n=20, n_demos=5)
    assert (len(task.items), len(task.demos)) == (20, 5)
    inputs = [item.input for item in (*task.items, *task.demos)]
    assert len(set(inputs)) == 25
    assert make(n=20, n_demos=5) == task
    assert make(n=20, n_demos=5, seed=1).items != task.items
    assert make(n=10, n_demos=5).items == task.items[:10], "fewer items are the first ones"
