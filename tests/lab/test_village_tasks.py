"""Tasks over the village: facts that are in its texts, formats that a program can check."""

import json
import re

import pytest

from kaiwa.lab.grading.graders import grade
from kaiwa.lab.tasks.extract import extract
from kaiwa.lab.tasks.village import code_prefix, extraction, fact_texts, facts, length, lists, sentiment


@pytest.mark.parametrize("language", ["en", "ja"])
def test_labels_are_balanced_and_choices(language: str) -> None:
    task = sentiment(language, 100)
    labels = [item.answer for item in task.items]
    assert set(labels) == set(task.items[0].choices)
    assert 30 < labels.count(labels[0]) < 70


@pytest.mark.parametrize("language", ["en", "ja"])
def test_facts_hold_their_answer_in_the_knowledge_and_the_texts(language: str) -> None:
    task = facts(language, 30)
    texts = fact_texts(language)
    for item in task.items:
        assert len(set(item.choices)) == 4
        assert item.answer in item.choices
        assert item.answer in item.knowledge
        assert any(item.knowledge in text for text in texts), "the true sentence is in a villager's text"
        assert item.columns["asked"] in item.input
        assert not any(choice in item.columns["asked"] for choice in item.choices)
        assert item.cluster
    assert len({item.cluster for item in task.items}) < 30, "one villager's questions are a cluster"


@pytest.mark.parametrize("language", ["en", "ja"])
def test_extraction_holds_all_values_and_its_answer_fits_the_schema(language: str) -> None:
    task = extraction(language, 20)
    for item in task.items:
        values = json.loads(item.answer)
        assert list(values) == ["name", "home", "trade"]
        assert all(value in item.input for value in values.values())
        assert grade(task, item, item.answer).score == 1.0
        assert grade(task, item, item.answer.replace('"home"', '"house"')).score == 0.0
        assert grade(task, item, "name: x").valid is False


def test_lengths_are_counted_in_sentences() -> None:
    task = length(low=2, high=2, n=5)
    item = task.items[0]
    assert grade(task, item, item.answer).score == 1.0
    assert grade(task, item, "One sentence.").score == 0.0


@pytest.mark.parametrize("kind", ["python", "sql"])
def test_code_parses(kind: str) -> None:
    task = code_prefix(kind=kind, n=20)
    for item in task.items:
        assert grade(task, item, item.answer).score == 1.0
    assert grade(task, task.items[0], "def f(:").score == 0.0
    assert re.search("function f" if kind == "python" else "SQL query", task.items[0].input)


def test_lists_are_sorted() -> None:
    task = lists(n=20)
    for item in task.items:
        words = item.answer.split(", ")
        assert words == sorted(words)
        assert sorted(item.input.split()) == words
        answer = extract(task.kind, f"Sure!\n{item.answer}.")
        assert grade(task, item, answer).score == 1.0
        assert grade(task, item, extract(task.kind, ", ".join(reversed(words)))).score == 0.0
