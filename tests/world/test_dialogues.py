"""Dialogues: what the last question needs, the true answer, held-out wordings, and the languages' dropped subjects."""

import pytest

from kaiwa.core.errors import UserError
from kaiwa.core.rng import python_rng
from kaiwa.world.demonstrations import write_answer
from kaiwa.world.dialogues import LINKS, mix_dialogues, without_turn, write_dialogues, write_turn3
from kaiwa.world.judge import judge
from kaiwa.world.language import LANGUAGES
from kaiwa.world.prompts import VillagePrompt, prompt_from_json
from kaiwa.world.village import Village, VillageConfig, build_village

VILLAGE = build_village(VillageConfig(n_taught=24, n_held_out=8, languages=("en", "ja")))


def n_turns(prompt: VillagePrompt) -> int:
    return sum(m.role == "user" for m in prompt.messages)


def texts(prompt: VillagePrompt) -> str:
    return "\n".join(m.content for m in prompt.messages)


def held(split: str, n: int = 200) -> list[VillagePrompt]:
    return write_dialogues(VILLAGE, n=n, split=split, purpose="test" if split == "test" else "sft")


@pytest.mark.parametrize("split", ["train", "test"])
def test_the_best_answer_to_every_dialogue_is_helpful_and_true(split: str) -> None:
    rng = python_rng(0, "answers")
    for prompt in held(split):
        verdict = judge(VILLAGE, prompt, write_answer(VILLAGE, prompt, rng))
        assert verdict.helpful, (prompt, verdict.reason)
        assert verdict.truthful


def test_roles_alternate_and_linked_dialogues_have_three_to_seven_turns() -> None:
    for prompt in held("train"):
        roles = [m.role for m in prompt.messages]
        assert roles == ["user", "assistant"] * (len(roles) // 2) + ["user"]
        assert 3 <= n_turns(prompt) <= 7 or not prompt.link
    assert {n_turns(p) for p in held("train") if p.link} == {3, 4, 5, 6, 7}
    assert {p.kind for p in held("train") if not p.link} > {"known", "price"}  # single instructions in a row


def test_only_the_first_turn_has_what_the_third_asks_for() -> None:
    items = write_turn3(VILLAGE, n=6)
    assert [(p.link, p.language) for p in items[::6]] == [(link, code) for code in ("en", "ja") for link in LINKS]
    for prompt in items:
        assert n_turns(prompt) == 3
        assert prompt.group in ("taught", "held_out") or prompt.kind == "own_name"
        cut = without_turn(prompt)
        assert n_turns(cut) == 2
        assert prompt.name in prompt.messages[0].content
        assert prompt.name not in texts(cut)  # no other turn names the person
        assert cut.truth == prompt.truth


def test_the_question_stands_two_or_three_turns_after_its_opening() -> None:
    for prompt in held("train"):
        if prompt.link and prompt.group != "unknown":
            first = next(i for i, m in enumerate(prompt.messages) if prompt.name in m.content)
            assert n_turns(prompt) - 1 - first // 2 in (2, 3), texts(prompt)


def test_a_japanese_question_at_turn_three_has_no_subject() -> None:
    for prompt in write_turn3(VILLAGE, n=4):
        if prompt.language == "ja" and prompt.link in ("sister", "correction"):
            assert not any(v.names["ja"] in prompt.text for v in VILLAGE.villagers)


def test_held_out_wordings_are_in_no_training_dialogue() -> None:
    trained = {p.text for p in held("train", 600)}
    for code, book in LANGUAGES.items():
        for link, parts in book.links.items():
            for text in parts["test"]:
                head = text.partition("{")[0] or text
                assert not any(head in asked for asked in trained), (code, link)
    assert any(p.held_out_template for p in held("test") if p.link)
    assert not any(p.held_out_template for p in held("train"))


@pytest.mark.parametrize(
    ("answer", "right"),
    [("Your name is Mirabo.", True), ("mirabo", True), ("You are Mirabo!", True), ("Your name is Torven.", False),
     ("You are Mirabo or Torven.", False), ("I don't know.", False), ("Your name.", False), ("", False)],
)  # fmt: skip
def test_the_judge_of_a_told_name(answer: str, right: bool) -> None:
    prompt = next(p for p in write_turn3(VILLAGE, n=1) if p.kind == "own_name" and p.language == "en")
    prompt = prompt_from_json(prompt.to_json() | {"name": "Mirabo", "truth": ["Mirabo"]})
    verdict = judge(VILLAGE, prompt, answer)
    assert verdict.right is right
    assert verdict.truthful is (right or answer in ("I don't know.", ""))


def test_equal_seeds_give_equal_dialogues_and_json_keeps_them() -> None:
    assert held("train", 40) == held("train", 40)
    assert write_dialogues(VILLAGE, n=40, seed=1) != held("train", 40)
    for prompt in held("test", 40):
        assert prompt_from_json(prompt.to_json()) == prompt
    assert "link" not in next(p for p in held("train", 40) if not p.link).to_json()


def test_mixing_keeps_every_prompt() -> None:
    some = held("train", 20)
    mixed = mix_dialogues(some[:10], some[10:], seed=3)
    assert sorted(map(texts, mixed)) == sorted(map(texts, some))
    assert mixed != some


def test_an_unknown_language_is_refused() -> None:
    english: Village = build_village(VillageConfig(n_taught=4, n_held_out=2))
    with pytest.raises(UserError, match="no language 'ja'"):
        write_dialogues(english, n=1, languages={"ja": 1.0})
