"""Limits of the corpus configuration, names of sources, and how problems of reading are told."""

from typing import Any

import pytest

from kaiwa.core.config import from_json
from kaiwa.core.errors import UserError
from kaiwa.corpus.config import CorpusConfig, Dedup, Filters, Source, from_paths
from kaiwa.corpus.problems import Problems
from kaiwa.corpus.split import group_of, place


@pytest.mark.parametrize(
    ("cls", "changes", "message"),
    [
        (Source, {"name": "", "path": "x"}, "source name '': it becomes a file name"),
        (Source, {"name": "a/b", "path": "x"}, "source name 'a/b'"),
        (Source, {"name": ".a", "path": "x"}, "source name '.a'"),
        (Source, {"name": "a", "path": "x", "weight": -0.1}, "weight -0.1 is below 0; give a share such as 0.3"),
        (Source, {"name": "a", "path": "builtin:doc"}, "'builtin:doc' is unknown; there is builtin:docs and"),
        (Source, {"name": "a", "path": "x", "kind": "poem"}, "'poem' is not possible"),
        (Filters, {"mean_word": [3.0]}, "must be two numbers, the smaller first"),
        (Filters, {"mean_word": [3.0, 3.0]}, "must be two numbers, the smaller first"),
        (Filters, {"max_symbol_ratio": 1.1}, "filters.max_symbol_ratio: 1.1 is not a ratio between 0 and 1"),
        (Dedup, {"bands": 0}, "dedup.bands: 0 is below 1"),
        (Dedup, {"threshold": 0.0}, "dedup.threshold: 0.0 is no similarity between 0 and 1"),
        (CorpusConfig, {"sources": []}, "sources: none given; use --source PATH or the built-in ones"),
        (CorpusConfig, {"sources": [{"name": "a", "path": "x"}] * 2}, "'a' is named twice"),
        (
            CorpusConfig,
            {"sources": [{"name": "a", "path": "x", "weight": 1}, {"name": "b", "path": "y"}]},
            "b has no weight but others have; give a weight to all sources or to none",
        ),
        (CorpusConfig, {"validation_share": 0.5}, "validation_share: 0.5 must be above 0 and below 0.5"),
        (CorpusConfig, {"workers": -1}, "workers: -1 is below 0; use 0 for all cores"),
        (CorpusConfig, {"split_chars": 199}, "split_chars: 199 is below 200"),
    ],
)
def test_a_limit_names_field_and_value(cls: type, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        from_json(cls, changes)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("texts/village.jsonl.gz", "village"), ("texts/", "texts"), ("builtin:docs", "docs"), ("hf:me/set", "set"),
        ("hf:me/set:en:train", "set"), ("records:runs/a/documents.jsonl", "documents"), ("/a:b/c.txt", "c"),
    ],
)  # fmt: skip
def test_a_source_is_named_after_its_file(path: str, name: str) -> None:
    (source,) = from_paths((path,))
    assert (source.name, source.path) == (name, path)


def test_equal_names_are_numbered_and_builtins_know_what_they_are() -> None:
    sources = from_paths(("a/x.txt", "b/x.txt", "c/x.txt", "builtin:code", "builtin:docs"))
    assert [s.name for s in sources] == ["x", "x-2", "x-3", "code", "docs"]
    assert [(s.kind, s.language) for s in sources[3:]] == [("code", "code"), ("prose", "en")]
    assert CorpusConfig(sources=sources).sources == sources


def test_the_first_of_each_kind_in_a_file_is_told_and_the_rest_counted() -> None:
    lines: list[str] = []
    problems = Problems(lines.append)
    for number in (3, 7, 9):
        problems.report("bad_json_line", "a.jsonl", f"a.jsonl:{number}", "not JSON")
    problems.report("no_text", "a.jsonl", "a.jsonl:8", "no text")
    problems.report("bad_json_line", "b.jsonl", "b.jsonl:1", "not JSON")
    assert lines == [
        "a.jsonl:3: not JSON; counted, reading continues",
        "a.jsonl:8: no text; counted, reading continues",
        "b.jsonl:1: not JSON; counted, reading continues",
    ]
    problems.finish_file("a.jsonl")
    problems.finish_file("b.jsonl")
    assert lines[3:] == ["a.jsonl: 3 problems of this kind (bad json line)"]
    assert problems.counts == {"bad_json_line": 4, "no_text": 1}


def test_strict_stops_at_the_first_problem() -> None:
    problems = Problems(pytest.fail, strict=True)
    with pytest.raises(UserError, match="a:3: not JSON; correct the file, or leave out --strict to skip such places"):
        problems.report("bad_json_line", "a", "a:3", "not JSON")


def test_what_goes_together_into_one_split() -> None:
    assert group_of("code/json::loads") == group_of("code/json::dumps") == "code/json"
    assert group_of("notes.txt") == "notes.txt"
    assert group_of("docs/topics::if") == "docs/topics::if"  # each topic by itself
    assert place("code/json::loads") == place("code/json::dumps") != place("code/re::match")
    places = [place(f"d{i}") for i in range(4000)]
    assert all(0 <= p < 1 for p in places)
    for tenth in range(10):
        assert sum(tenth / 10 <= p < (tenth + 1) / 10 for p in places) == pytest.approx(400, abs=95)  # five deviations
