"""What lint mends: each fix removes its remark and changes nothing else; verification is a paired experiment; SARIF."""

import dataclasses
import json
from pathlib import Path

import pytest

from kaiwa.commands.lab.lint import main
from kaiwa.core.errors import UserError
from kaiwa.lab.experiments.advice import ADVICE, advice_experiment, advice_rows, markdown
from kaiwa.lab.experiments.analysis import analyse
from kaiwa.lab.experiments.experiment import Arm, Experiment
from kaiwa.lab.experiments.lint import lint_prompt, lint_text
from kaiwa.lab.experiments.lint_fixes import FIXABLE, fix_prompt, fix_text
from kaiwa.lab.experiments.run import run
from kaiwa.lab.experiments.verify import AS_WRITTEN, fixed_rules, verdict_lines, verification
from kaiwa.lab.reports.sarif import sarif
from kaiwa.lab.tasks.practices import PRACTICES
from kaiwa.lab.tasks.prompt import Example, Prompt
from kaiwa.lab.tasks.task import Item, Task
from kaiwa.lab.techniques.shots import ZeroShot
from kaiwa.text.records import Completion, Conversation
from kaiwa.text.sampling import USUAL, Sampling

GOOD = Prompt("Write one letter, a or b: the answer.", input="Q: {input}", output_indicator="A:", delimiters="tags")
BROKEN = {
    "instruction-last": {"order": ("input", "instruction", "context", "examples")},
    "no-delimiters": {"delimiters": "none", "output_indicator": ""},
    "no-format": {"instruction": "Translate it.", "output_indicator": ""},
    "trailing-space": {"output_indicator": "A: "},
    "same-example": {"examples": (Example("x", "a"), Example("x", "a"), Example("y", "b"))},
    "recent-label": {"examples": tuple(Example(f"e{i}", label) for i, label in enumerate("bbabaaa"))},
    "template": {"instruction": "Write the answer to {{ name }}."},
    "shouting": {"instruction": "WRITE ONLY YOUR ANSWER, one letter."},
    "reward-or-threat": {"instruction": "Write the answer. I will tip you $20 for it. One letter."},
    "steps-and-only": {"instruction": "Think step by step. Write only the answer."},
    "double-space": {"instruction": "Write   one letter: the answer."},
    "fluff": {"instruction": "Please write the answer, a or b."},
}


@pytest.mark.parametrize("rule", BROKEN)
def test_a_fix_removes_its_remark(rule: str) -> None:
    prompt = dataclasses.replace(GOOD, **BROKEN[rule])  # type: ignore[arg-type]
    assert rule in {remark.rule for remark in lint_prompt(prompt)}
    after = fix_prompt(prompt, rule)
    assert rule not in {remark.rule for remark in lint_prompt(after)}
    assert fix_prompt(after, rule) == after
    assert after.variables() >= {"input"}


def test_every_fix_has_a_case_and_a_good_prompt_stays() -> None:
    assert set(BROKEN) == set(FIXABLE)
    for rule in FIXABLE:
        assert fix_prompt(GOOD, rule) == GOOD
    assert fix_prompt(GOOD, "vague") == GOOD
    assert fix_text("Write 3 words in JSON about the USA.") == ("Write 3 words in JSON about the USA.", [])


def test_texts_are_mended_in_words() -> None:
    text = "PLEASE READ THIS TASK!! Sum {{ name }} up.   I'll tip you. できれば短く。\n"
    after, rules = fix_text(text)
    assert after == "Read this task! Sum {name} up.   短く。\n"
    assert rules == ["template", "shouting", "reward-or-threat", "fluff"]


def test_the_command_mends_the_file_and_writes_sarif(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "p.txt"
    file.write_text("Please sum {{ name }} up in 3 words.\n", encoding="utf-8")
    with pytest.raises(SystemExit):
        main([str(file), "--sarif", str(tmp_path / "o.sarif")])
    log = json.loads((tmp_path / "o.sarif").read_text(encoding="utf-8"))
    run_ = log["runs"][0]
    assert log["version"] == "2.1.0"
    assert [(r["ruleId"], r["level"]) for r in run_["results"]] == [("template", "error"), ("fluff", "warning")]
    place = run_["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert place == str(file)
    regions = [r["locations"][0]["physicalLocation"]["region"] for r in run_["results"]]
    assert regions[0] == {"startLine": 1, "endLine": 1, "startColumn": 12, "endColumn": 22}
    assert regions[1] == {"startLine": 1, "endLine": 1, "startColumn": 1, "endColumn": 7}
    main([str(file), "--fix"])
    assert file.read_text(encoding="utf-8") == "Sum {name} up in 3 words.\n"
    assert "mended template, fluff" in capsys.readouterr().err
    with pytest.raises(UserError, match="needs an experiment"):
        main([str(file), "--verify"])
    with pytest.raises(UserError, match="only files of text"):
        main(["-", "--fix"])
    assert sarif([], ["a"])["runs"][0]["results"] == []


class Obeys:
    """Answers right where the prompt says politely nothing."""

    name = "m"

    def generate(self, prompt: Conversation | str, sampling: Sampling = USUAL) -> Completion:
        text = prompt if isinstance(prompt, str) else prompt[-1].content
        return Completion(text="b" if "lease" in text else "a", n_tokens=1)

    def score(self, context: Conversation | str, continuation: str) -> list[float]:
        return [-1.0]


def polite_experiment() -> Experiment:
    items = tuple(Item(id=str(i), input=f"q{i}", answer="a", choices=("a", "b")) for i in range(40))
    prompt = dataclasses.replace(GOOD, instruction="Please write one letter, a or b: the answer.")
    task = Task(name="t", kind="choice", items=items, prompt=prompt)
    return Experiment(name="e", tasks=(task,), arms=(Arm(name="zero", technique=ZeroShot()),))


def test_verification_is_paired_against_the_prompt_as_written() -> None:
    experiment = verification(polite_experiment())
    assert [arm.name for arm in experiment.arms] == [AS_WRITTEN, "fluff mended"]
    analysis = analyse(experiment, run(experiment, Obeys()), "m")
    assert verdict_lines(analysis.findings) == ["t: fluff mended: better by 100.0 points (n = 40)"]
    clean = dataclasses.replace(polite_experiment(), tasks=(polite_experiment().tasks[0].with_prompt(GOOD),))
    assert fixed_rules(clean) == []
    with pytest.raises(UserError, match="nothing to verify"):
        verification(clean)


@pytest.mark.parametrize("language", ["en", "ja"])
def test_the_table_of_advice(language: str) -> None:
    experiment = advice_experiment(language, 6)
    analysis = analyse(experiment, run(experiment, Obeys()), "m")
    rows = advice_rows([("m", language, analysis)], language)
    assert len(rows) == 1 + len(ADVICE) + len(PRACTICES)
    assert [row[0] for row in rows[1 : len(ADVICE) + 1]] == [one.rule for one in ADVICE]
    assert rows[0][-1] == f"m, {language} (n = 6)"
    words = "判定できない" if language == "ja" else "cannot tell"
    assert words in markdown(rows)
    for arm in experiment.arms:
        other = arm.name.replace("against", "followed")
        assert arm.prompt != next(a.prompt for a in experiment.arms if a.name == other and a.task == arm.task) or (
            arm.name.endswith("followed")
        ), arm.name


def test_rules_over_words_in_texts() -> None:
    assert {r.rule for r in lint_text("Could you do it? Do not explain.", "x")} == {"fluff", "only-not"}
