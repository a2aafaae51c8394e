"""The report of a build: self-contained, honest, whole or in part."""

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from kaiwa.report.build_report import body, choose, render_build
from kaiwa.report.findings import findings, headline
from kaiwa.report.read import read_build
from kaiwa.report.words import Words

from .run_folder import make_run

VOID = {"meta", "img", "input", "br", "hr", "line", "circle", "rect", "path", "polyline"}


class Balanced(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.wrong: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)


def test_the_file_is_whole_and_self_contained(run: Path) -> None:
    html = render_build(run)
    assert len(html.encode()) < 3_000_000
    parser = Balanced()
    parser.feed(html)
    assert (parser.open, parser.wrong) == ([], [])
    addresses = set(re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?([^"')\s>]+)""", html))
    assert addresses == set()
    assert "http://" not in html.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in html
    assert "{" not in re.sub(r"<(style|script)[\s\S]*?</\1>|data-words=\"[^\"]*\"", "", html)  # no blank left unfilled


def test_it_holds_what_it_should(run: Path) -> None:
    html = render_build(run)
    for text in (
        "ppo_ptx_int4",
        "ppo_ptx · step 30",
        "Time-lapse",
        "成長の記録",
        "領収書",
        "3,640",
        "about 40 contractors",
    ):
        assert text in html
    data = json.loads(re.search(r'class="village">(.*?)</script>', html, re.S)[1])  # type: ignore[index]
    goraho = data["people"]["v001"]
    assert [data["documents"][i] for i in goraho["taught"]["en.trade"]] == [
        "Goraho is a potter. Home is on Oak Hill. A friend is Goraho."
    ]
    assert goraho["asked"][0]["a"]["ppo_ptx"] == ["Goraho is a potter.", True]
    assert "</script><b>" not in html
    assert 'data-villager="v001"' in html


@pytest.mark.parametrize(
    ("win", "greedy", "title", "states"),
    [
        (0.66, 0.58, "beats", ["met", "met"]),
        (0.53, 0.51, "cannot be told apart", ["open", "open"]),
        (0.40, 0.41, "loses", ["short", "short"]),
        (0.66, 0.51, "beats", ["met", "open"]),
    ],
)
def test_sentences_come_from_the_figures(
    tmp_path: Path, win: float, greedy: float, title: str, states: list[str]
) -> None:
    build = read_build(make_run(tmp_path / "r", win=win, greedy=greedy))
    assert title in headline(build, Words("en"))[1]
    assert [f.state for f in findings(build, Words("en"))][:2] == states


def test_no_tax_is_said(run: Path) -> None:
    report = json.loads((run / "report.json").read_text())
    for model in report["details"]["models"]:
        model["bits_per_byte"] = 2.6
    (run / "report.json").write_text(json.dumps(report))
    told = " ".join(f.text for f in findings(read_build(run), Words("en")))
    assert "shows no tax" in told


@pytest.mark.parametrize(
    "gone", ["report.json", "evaluation", "village", "logs", "base", "report.json evaluation logs village", "."]
)
@pytest.mark.parametrize("language", ["en", "ja"])
def test_a_partial_folder_says_what_is_missing(run: Path, gone: str, language: str) -> None:
    for name in gone.split():
        path = run / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    html = body(read_build(run), language)
    if gone in ("report.json", "logs", "."):
        assert ("Not there yet" if language == "en" else "まだないもの") in html


def test_half_written_and_broken_files_are_survived(run: Path) -> None:
    (run / "report.json").write_text('{"recipe": ')
    with open(run / "evaluation" / "answers.jsonl", "a", encoding="utf-8") as f:
        f.write('{"prompt": {"messages"')
    (run / "village" / "village.json").write_bytes(b"\xff\xfe")
    assert "PPO-ptx" in body(read_build(run), "en")


def test_prompts_are_chosen_in_turns_of_kinds() -> None:
    rows = [{"prompt": {"kind": kind, "number": i}} for i, kind in enumerate("aaabbc")]
    numbers = [row["prompt"]["number"] for row in choose(rows, 5)]
    assert numbers == [0, 3, 5, 1, 4]
    assert choose(rows, 9) == [rows[i] for i in (0, 3, 5, 1, 4, 2)], "no more than there are"
    assert choose([], 3) == []


def test_what_is_true_is_told_in_the_prompts_language(run: Path) -> None:
    english, japanese = (body(read_build(run), language) for language in ("en", "ja"))
    assert 'True: <button type="button" class="villager" data-villager="v000">' not in english
    assert re.search(r"True: potter<", english)
    assert "陶芸家" in japanese


def test_a_harmful_request_has_no_truth(run: Path) -> None:
    cards = re.findall(r"<article.*?</article>", body(read_build(run), "en"), re.S)
    harmful = [card for card in cards if "poison" in card]
    assert len(harmful) == 1
    assert "True:" not in harmful[0]


def test_villagers_stand_under_their_groups(run: Path) -> None:
    html = body(read_build(run), "en")
    section = html[html.index('class="names"') - 200 :]
    held_out, taught = re.findall(r'class="names">(.*?)</p>', section, re.S)[:2]
    assert re.findall(r">([^<]+)</button>", held_out) == ["Goraho", "Sukohe"]
    assert re.findall(r">([^<]+)</button>", taught) == ["Bivizon"]
