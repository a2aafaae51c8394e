"""Reading a build's folder, whole or half there."""

import json
import shutil
from pathlib import Path

import pytest

from kaiwa.report.read import MOST_DOCUMENT, read_build, read_json, read_rows, samples_of

from .run_folder import MODELS, STAGES, write, write_rows


def test_a_whole_build_misses_nothing(run: Path) -> None:
    build = read_build(run)
    assert build.missing == []
    assert [stage["name"] for stage in build.stages] == list(STAGES)
    assert [model["name"] for model in build.models] == list(MODELS)
    assert build.detail("sft")["name"] == "sft"
    assert build.detail("nobody") == {}
    assert set(build.logs) == {"base", "sft", "ppo_ptx"}
    assert set(build.probes) == {"known-en", "known-ja"}, "cloze probes are not asked in chat"
    assert build.languages == ("en", "ja")
    assert build.names["ゴラホ"] == build.names["Goraho"] == "v001"


def test_an_empty_folder_misses_everything(tmp_path: Path) -> None:
    build = read_build(tmp_path)
    assert build.missing[0] == "report.json"
    assert set(build.missing) >= {"base", "sft", "answers.jsonl", "village.json", "samples.jsonl", "logs"}
    assert not build.stages
    assert build.report["recipe"] == tmp_path.name
    assert build.names == {}


def test_a_build_in_progress_is_read_from_its_manifests(run: Path) -> None:
    (run / "report.json").unlink()
    shutil.rmtree(run / "ppo_ptx")
    (run / "evaluation" / "evaluation.json").unlink()
    build = read_build(run)
    assert build.report["recipe"] == "laptop", "from status.json"
    done = [stage["name"] for stage in build.stages]
    assert "base" in done
    assert "ppo_ptx" not in done
    assert "ppo_ptx" in build.missing
    assert build.report["seconds"] == 40.0 * len(done)
    assert not build.models


def test_samples_of_a_stage_that_still_runs(tmp_path: Path) -> None:
    rows = [{"step": 1, "id": "a", "text": "x"}]
    write_rows(tmp_path / ".sft.work" / "samples.jsonl", rows)
    assert samples_of(tmp_path, "sft") == rows
    write_rows(tmp_path / "sft" / "samples.jsonl", [*rows, *rows])
    assert samples_of(tmp_path, "sft") == [*rows, *rows], "the published ones count"
    assert samples_of(tmp_path, "base") == []


def village_of(folder: Path, texts: list[tuple[str, list[str]]]) -> None:
    people = [
        {"id": "v0", "names": {"en": "Gora"}, "facts": {"en": {"trade": "potter", "home": "Oak Hill"}}},
        {"id": "v1", "names": {"en": "Miru"}, "facts": {"en": {"trade": "weaver"}}},
    ]
    write(folder / "village" / "village.json", {"languages": ["en"], "villagers": people})
    rows = [{"text": text, "language": "en", "meta": {"villagers": about}} for text, about in texts]
    write_rows(folder / "village" / "documents.jsonl", rows)


def test_facts_are_found_where_a_sentence_states_them(tmp_path: Path) -> None:
    together = "Gora met a potter. Miru is a weaver! Gora lives on Oak Hill."
    village_of(tmp_path, [("They are a potter.", ["v0"]), (together, ["v0", "v1"]), ("Nobody.", ["v9"])])
    build = read_build(tmp_path)
    assert build.taught_by == {"v0": {"en.trade": [0, 1], "en.home": [1]}, "v1": {"en.trade": [1]}}
    assert build.documents == ["They are a potter.", together], "each document once"


def test_a_value_in_another_persons_sentence_is_no_statement(tmp_path: Path) -> None:
    village_of(tmp_path, [("Gora is old. Miru saw a potter.", ["v0", "v1"])])
    build = read_build(tmp_path)
    assert build.taught_by == {"v0": {"en.trade": [], "en.home": []}, "v1": {"en.trade": []}}
    assert build.documents == []


def test_two_documents_a_fact_are_enough(tmp_path: Path) -> None:
    village_of(tmp_path, [(f"Gora, potter number {i}.", ["v0"]) for i in range(5)])
    build = read_build(tmp_path)
    assert build.taught_by["v0"]["en.trade"] == [0, 1]
    assert len(build.documents) == 2


@pytest.mark.parametrize(
    ("before", "after", "starts", "ends"), [(0, 1000, False, True), (600, 600, True, True), (1000, 0, True, False)]
)
def test_long_documents_are_cut_around_the_fact(
    tmp_path: Path, before: int, after: int, starts: bool, ends: bool
) -> None:
    village_of(tmp_path, [("x" * before + " potter " + "y" * after, ["v0"])])
    (text,) = read_build(tmp_path).documents
    assert "potter" in text
    assert (text.startswith("… "), text.endswith(" …")) == (starts, ends)
    assert len(text) <= MOST_DOCUMENT + 4


def test_files_that_are_no_objects_are_empty(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    assert read_json(file) == {}
    for content in (b"[1, 2]", b"{", b"\xff\xfe", b""):
        file.write_bytes(content)
        assert read_json(file) == {}
    file.write_text('{"a": 1}')
    assert read_json(file) == {"a": 1}


def test_rows_that_are_half_written_are_left_out(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    assert list(read_rows(file)) == []
    whole = json.dumps({"a": "会"}, ensure_ascii=False).encode()
    file.write_bytes(whole + b'\n[1]\n\n"x"\n{"b": \xff\n' + whole + b"\n" + whole[:-3])
    assert list(read_rows(file)) == [{"a": "会"}, {"a": "会"}]
