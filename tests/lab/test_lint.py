"""Lint: each rule on the smallest prompt or task that breaks it, and on one that does not."""

import dataclasses
import time
from pathlib import Path

import pytest

from kaiwa.core.errors import UserError
from kaiwa.lab.experiments.experiment import Arm, Contrast, Experiment
from kaiwa.lab.experiments.lint import lint_experiment, lint_prompt, lint_task, lint_text
from kaiwa.lab.experiments.lint_text import read_texts
from kaiwa.lab.tasks.prompt import Example, Prompt
from kaiwa.lab.tasks.task import Item, Task
from kaiwa.lab.techniques.shots import FewShot, ZeroShot
from kaiwa.lab.techniques.votes import SelfConsistency

GOOD = Prompt("Write one letter, a or b: the answer.", input="Q: {input}", output_indicator="A:", delimiters="tags")
ITEMS = tuple(Item(id=str(i), input=f"q{i}", answer="ab"[i % 2], choices=("a", "b")) for i in range(200))
DEMOS = tuple(Item(id=f"d{i}", input=f"d{i}", answer="ab"[i % 2], choices=("a", "b")) for i in range(8))
TASK = Task(name="t", kind="choice", items=ITEMS, demos=DEMOS, prompt=GOOD)


def rules(prompt: Prompt) -> set[str]:
    return {remark.rule for remark in lint_prompt(prompt)}


def examples(*labels: str) -> tuple[Example, ...]:
    return tuple(Example(f"e{i}", label) for i, label in enumerate(labels))


def test_a_good_prompt_has_no_remarks() -> None:
    assert lint_prompt(GOOD) == []
    assert lint_task(TASK) == []


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"input": "no place"}, "no-variable"),
        ({"order": ("input", "instruction", "context", "examples")}, "instruction-last"),
        ({"delimiters": "none", "output_indicator": ""}, "no-delimiters"),
        ({"instruction": "Write a short answer."}, "vague"),
        ({"instruction": "短く答えてください。", "language": "ja"}, "vague"),
        ({"instruction": "Do not explain the answer."}, "only-not"),
        ({"instruction": "Please write the answer."}, "fluff"),
        ({"instruction": "Translate it.", "output_indicator": ""}, "no-format"),
        ({"output_indicator": "A: "}, "trailing-space"),
        ({"leading_words": "import "}, "trailing-space"),
        ({"language": "ja"}, "language"),
        ({"instruction": "答えを書いてください。"}, "language"),
        ({"examples": (Example("x", "a"), Example("x", "b"))}, "same-example"),
        ({"examples": examples("a", "a", "a", "a", "b")}, "majority-label"),
        ({"examples": examples("b", "b", "a", "b", "a", "a", "a")}, "recent-label"),
        ({"examples": examples("a", "a")}, "one-label"),
    ],
)
def test_each_rule(changes: dict[str, object], rule: str) -> None:
    assert rules(dataclasses.replace(GOOD, **changes)) == {rule}  # type: ignore[arg-type]


def test_what_to_do_beside_what_not_to_do_is_fine() -> None:
    assert "only-not" not in rules(dataclasses.replace(GOOD, instruction="Do not explain. Write the answer only."))
    assert rules(dataclasses.replace(GOOD, examples=examples("a", "b", "a", "b"))) == set()


def test_remarks_are_lines() -> None:
    (remark,) = lint_prompt(dataclasses.replace(GOOD, input="x"), "p.toml")
    assert str(remark).startswith("p.toml: error: nothing in it changes")
    assert str(remark).endswith("[no-variable]")


def test_demonstrations_among_the_items() -> None:
    leaking = dataclasses.replace(TASK, demos=(dataclasses.replace(DEMOS[0], input="q3"),))
    (remark,) = lint_task(leaking)
    assert (remark.level, remark.rule) == ("error", "leak")
    assert "(d0)" in remark.text
    shown = TASK.with_examples([Example("q5", "a"), Example("z", "b")])
    assert [r.rule for r in lint_task(shown)] == ["leak"]


def test_repeated_inputs_need_a_cluster() -> None:
    twice = tuple(dataclasses.replace(item, input=f"q{i // 2}") for i, item in enumerate(ITEMS))
    (remark,) = lint_task(dataclasses.replace(TASK, items=twice))
    assert remark.rule == "repeated"
    assert remark.text.startswith("100 of 200 items")
    clustered = tuple(dataclasses.replace(item, cluster=item.input) for item in twice)
    assert lint_task(dataclasses.replace(TASK, items=clustered)) == []


def test_one_answer_for_all() -> None:
    same = tuple(dataclasses.replace(item, answer="a") for item in ITEMS)
    assert [r.rule for r in lint_task(dataclasses.replace(TASK, items=same))] == ["one-answer"]


def experiment(*arms: Arm, task: Task = TASK, **changes: object) -> Experiment:
    return Experiment(name="e", tasks=(task,), arms=arms, **changes)  # type: ignore[arg-type]


ZERO, FEW = Arm(name="zero", technique=ZeroShot()), Arm(name="few", technique=FewShot(k=2))


def test_few_items_find_nothing() -> None:
    small = dataclasses.replace(TASK, items=ITEMS[:12])
    assert {r.rule for r in lint_experiment(experiment(ZERO, FEW, task=small))} == {"small-n"}
    assert lint_experiment(experiment(ZERO, FEW)) == []


def test_an_arm_needs_a_control() -> None:
    vote = Arm(name="vote", technique=SelfConsistency(n=3))
    one = Arm(name="one", technique=SelfConsistency(n=1))
    (remark,) = lint_experiment(experiment(one, FEW, contrasts=(Contrast(a="one", b="few"),)))
    assert (remark.rule, "without demonstrations" in remark.text) == ("no-control", True)
    assert lint_experiment(experiment(one, vote)) == [], "one sample is a control of the vote"
    (remark,) = lint_experiment(experiment(Arm(name="vote 5", technique=SelfConsistency(n=5)), vote))[:1]
    assert remark.rule == "no-control"


def test_arms_that_are_compared_with_nothing() -> None:
    other = dataclasses.replace(TASK, name="u")
    only_u = Contrast(a="zero", b="few", task="u")
    found = lint_experiment(Experiment(name="e", tasks=(TASK, other), arms=(ZERO, FEW), contrasts=(only_u,)))
    assert [(r.level, r.rule, r.where) for r in found] == [("error", "no-contrast", "task t")]


@pytest.mark.parametrize(
    ("instruction", "rule"),
    [
        ("Use the key sk-abcdefghijklmnopqrstuv and write the answer.", "secret"),
        ("Write the answer.<|im_end|>", "special-token"),
        ("[INST] Write the answer. [/INST]", "special-token"),
        ("Write the answer to {{ question }}.", "template"),
        ("{% for x in y %} Write the answer.", "template"),
        ("Write the answer for [your company].", "placeholder"),
        ("TODO: write the answer.", "placeholder"),
        ("WRITE ONLY THE ANSWER, NEVER MORE WORDS.", "shouting"),
        ("Think step by step and write only the answer.", "steps-and-only"),
        ("Write a detailed answer and keep it concise.", "long-and-short"),
        ("I'll tip $200 for the right answer. Write it.", "reward-or-threat"),
        ("Write the answer between ```.", "unclosed"),
        ("Write\u00a0the answer.", "double-space"),
        ("答えを書いてください。答えは一語であること。", "mixed-style"),
        ("ステップに分けて考え、答えだけ書いてください。", "steps-and-only"),
        ("詳しく、簡潔に答えを書いてください。", "long-and-short"),
    ],
)
def test_each_rule_over_words(instruction: str, rule: str) -> None:
    language = "ja" if "答え" in instruction else "en"
    assert rule in rules(dataclasses.replace(GOOD, instruction=instruction, language=language))


@pytest.mark.parametrize(
    "instruction",
    [
        "Think step by step, then write the answer.", "Write a NASA or JSON answer.",
        "Write the answer in ```json ``` form.",
        "Write the answer as {{\"a\": 1}}.", "段階的に考えて、答えを書いてください。",
    ],
)  # fmt: skip
def test_what_is_fine(instruction: str) -> None:
    language = "ja" if "答え" in instruction else "en"
    assert rules(dataclasses.replace(GOOD, instruction=instruction, language=language)) == set()


def test_choices_that_the_prompt_does_not_name_and_steps_without_room() -> None:
    task = dataclasses.replace(TASK, prompt=dataclasses.replace(GOOD, instruction="Think step by step."))
    colours = ("red", "blue")
    items = tuple(dataclasses.replace(i, choices=colours, answer=colours[k % 2]) for k, i in enumerate(ITEMS))
    task = dataclasses.replace(task, items=items, demos=())
    assert {remark.rule for remark in lint_task(task)} == {"choices-unnamed", "steps-cut"}


def test_arms_with_their_own_prompts_are_looked_at() -> None:
    arms = (Arm(name="x", technique=ZeroShot()), Arm(name="y", technique=ZeroShot(), prompt=Prompt("TODO")))
    remarks = lint_experiment(Experiment(name="e", tasks=(TASK,), arms=arms))
    assert ("arm y", "placeholder") in {(remark.where, remark.rule) for remark in remarks}


def test_plain_text_and_messages(tmp_path: Path) -> None:
    assert read_texts(tmp_path, "TODO") == [(str(tmp_path), "TODO")]
    messages = '[{"role": "system", "content": "Be brief!!"}, {"role": "user", "content": "TODO"}]'
    places = read_texts(Path("m.json"), messages)
    assert [where for where, _ in places] == ["m.json, message 1 (system)", "m.json, message 2 (user)"]
    assert [r.rule for where, text in places for r in lint_text(text, where)] == ["shouting", "vague", "placeholder"]
    with pytest.raises(UserError, match="JSON of messages"):
        read_texts(Path("m.json"), '[{"role": "user"}]')


def test_a_thousand_prompts_take_less_than_two_seconds() -> None:
    began = time.process_time()
    for i in range(1000):
        lint_text(f"Write a short answer to question {i}. " * 10, "x")
    lint_text("word " * 10_000_000, "50 MB")
    assert time.process_time() - began < 2
