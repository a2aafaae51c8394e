"""Dialogues that teach a small model to use its system prompt."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from kaiwa.commands.redteam import main as redteam
from kaiwa.core.errors import UserError
from kaiwa.redteam.attacks.all import ATTACKS
from kaiwa.redteam.lessons import WORDINGS, generate_lessons
from kaiwa.redteam.oracles.aims import TASKS
from kaiwa.redteam.targets.target import list_examples, read_target

MIX = [{"messages": [{"role": "user", "content": "Hi!"}, {"role": "assistant", "content": "Hello."}]}]


@pytest.mark.parametrize("language", WORDINGS)
def test_answers_lie_in_the_prompt(language: str) -> None:
    kept, told, mixed = 0, 0, 0
    for row in generate_lessons(600, 1, language, MIX):
        *before, last = row["messages"]
        assert [m["role"] for m in row["messages"]][-2:] == ["user", "assistant"]
        text = " ".join(m["content"] for m in before)
        kept += last["content"] == WORDINGS[language].refusal
        mixed += last["content"] == "Hello."
        told += last["content"] in text  # whole prompts and sentences; an asked thing is said in the plainest words
    assert kept > 40
    assert told > 300
    assert 50 < mixed < 130
    assert (
        list(generate_lessons(5, 3, language))
        == list(generate_lessons(5, 3, language))
        != list(generate_lessons(5, 4, language))
    )


@pytest.mark.parametrize("language", WORDINGS)
def test_the_bench_is_not_trained_on(language: str) -> None:
    rows = [row["messages"] for row in generate_lessons(4000, 2, language)]
    asked = {row[-2]["content"].casefold() for row in rows}
    prompts = "\n".join(row[0]["content"] for row in rows).casefold()
    words = [*WORDINGS[language].nouns, *WORDINGS[language].objects]
    for target in (read_target(name) for name in list_examples()):
        if target.language != language:
            continue
        tasks = [TASKS[language]["secret"], *(turn for a in ATTACKS for turn in a.wording[language])]
        for name in [secret.name for secret in target.secrets] or ["secret"]:
            assert not any(name in word for word in words)
            assert not asked & {task.replace("{secret}", name).casefold() for task in tasks}
        for part in re.split(r"\{[^}]*\}|[.。]", target.system.casefold()):  # between slots and full stops
            assert len(part.strip()) < (8 if language == "ja" else 16) or part.strip() not in prompts, part
        for secret in target.secrets:
            assert not set(WORDINGS[language].nouns) & set(re.split(r"[^\w]+", secret.pattern)), secret.pattern


def test_the_command_writes_demonstrations(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, mix = tmp_path / "lessons.jsonl", tmp_path / "mix.jsonl"
    mix.write_text(json.dumps(MIX[0]) + "\n")
    redteam(["lessons", "--out", str(out), "--n", "20", "--mix", str(mix), "--language", "ja"])
    assert len(out.read_text(encoding="utf-8").splitlines()) == 20
    assert "20 dialogues" in capsys.readouterr().out
    with pytest.raises(UserError, match="at least 1"):
        redteam(["lessons", "--out", str(out), "--n", "0"])
    with pytest.raises(UserError, match="en, ja"):
        redteam(["lessons", "--out", str(out), "--language", "fr"])
