"""Experiments: techniques as programs, controls, cache and resume, failures, reports."""

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kaiwa.core.errors import UserError
from kaiwa.lab.asking.call_cache import Asker, CallCache
from kaiwa.lab.asking.program import Call, run_programs
from kaiwa.lab.experiments.analysis import analyse, mean_scores_by_item
from kaiwa.lab.experiments.experiment import Arm, Contrast, Experiment, register
from kaiwa.lab.experiments.experiment_file import read_experiment
from kaiwa.lab.experiments.run import run
from kaiwa.lab.reports.experiment_report import write_report
from kaiwa.lab.tasks.by_name import generate_task
from kaiwa.lab.tasks.prompt import Prompt
from kaiwa.lab.tasks.task import Item, Task
from kaiwa.lab.tasks.tools import Library, ToolError, add_days, calculate
from kaiwa.lab.tasks.village import fact_texts
from kaiwa.lab.techniques.by_name import NAMED, read_technique, reseed
from kaiwa.lab.techniques.knowledge import GeneratedKnowledge
from kaiwa.lab.techniques.react import ReAct
from kaiwa.lab.techniques.shots import FewShot, ZeroShot, choose_demonstrations
from kaiwa.lab.techniques.steps import LeastToMost, PromptChain, SelfAsk
from kaiwa.lab.techniques.technique import Decoding
from kaiwa.lab.techniques.thought import ChainOfThought, ZeroShotCoT
from kaiwa.lab.techniques.tree import TreeOfThought
from kaiwa.lab.techniques.votes import SelfConsistency, majority, majority_at
from kaiwa.text.chat_model import GenerateCall
from kaiwa.text.sampling import Sampling
from tests.lab.fakes import RuleModel

SUMS = generate_task("word-sums-en", 12)


def answers(made: object, task: Task, model: RuleModel) -> list[object]:
    experiment = Experiment(name="t", tasks=(task,), arms=(Arm(name="x", technique=made),))  # type: ignore[arg-type]
    return list(run(experiment, model))


def last_question(text: str) -> str:
    return text.rsplit("Question:", 1)[-1]


def test_few_shot_shows_balanced_demos_once_for_all_items() -> None:
    task = generate_task("sentiment-en", 10)
    model = RuleModel(lambda text, t, s: "Positive.")
    outcomes = answers(FewShot(k=4), task, model)
    prefixes = {text.rsplit("[user]", 1)[0] for text in model.prompts}
    assert len(prefixes) == 1
    assert len(model.raw[0]) == 9
    assert sorted(d.answer for d in choose_demonstrations(task, 4, 0)) == [
        "negative",
        "negative",
        "positive",
        "positive",
    ]
    right = [item.answer == "positive" for item in task.items]
    assert [o.score == 1.0 for o in outcomes] == right  # type: ignore[attr-defined]


@pytest.mark.parametrize("labels", ["random", "flipped", "foo-bar"])
def test_wrong_labels(labels: str) -> None:
    task = generate_task("sentiment-en", 4)
    gold = FewShot(k=8).examples(task)
    wrong = FewShot(k=8, labels=labels).examples(task)
    assert [e.input for e in gold] == [e.input for e in wrong]
    assert [e.output for e in gold] != [e.output for e in wrong]
    if labels == "flipped":
        assert all(g.output != w.output for g, w in zip(gold, wrong, strict=True))
    if labels == "foo-bar":
        assert {e.output for e in wrong} == {"foo", "bar"}


def test_chain_of_thought_and_its_controls() -> None:
    arm = FewShot(inner=ChainOfThought(), k=2)
    outputs = {
        style: FewShot(inner=ChainOfThought(style=style), k=2).examples(SUMS)[0].output
        for style in ("reasoning", "answer", "dots", "equation", "after")
    }
    assert re.match(r"At first .* The answer is \d+\.$", outputs["reasoning"])
    assert re.match(r"(\. )+The answer is", outputs["dots"])
    assert re.match(r"\d+ . \d+.* = \d+\. The answer", outputs["equation"])
    assert outputs["after"].startswith("The answer is")
    assert re.fullmatch(r"The answer is \d+\.", outputs["answer"])
    assert set(arm.controls()) == {"no demonstrations", "answer", "equation", "dots", "after"}
    assert arm.controls()["dots"] == FewShot(inner=ChainOfThought(style="dots"), k=2)
    model = RuleModel(lambda text, t, s: "I add. The answer is 7.")
    assert {o.answer for o in answers(arm, SUMS, model)} == {"7"}  # type: ignore[attr-defined]


def test_zero_shot_cot_asks_twice_and_so_does_its_control() -> None:
    model = RuleModel(lambda text, t, s: "It is 5." if "Therefore" in text else "two and three")
    outcomes = answers(ZeroShotCoT(), SUMS, model)
    assert len(model.prompts) == 24
    assert "step by step" in model.prompts[0]
    assert "[assistant] two and three" in model.prompts[-1]
    assert outcomes[0].answer == "5"  # type: ignore[attr-defined]
    control = ZeroShotCoT().controls()["two calls, no trigger"]
    plain = RuleModel(lambda text, t, s: "5")
    answers(control, SUMS, plain)
    assert len(plain.prompts) == 24
    assert not any("step by step" in text for text in plain.prompts)


def test_votes() -> None:
    model = RuleModel(lambda text, t, s: str(s % 3) if t else "9")
    outcome = answers(SelfConsistency(n=9), SUMS.first(1), model)[0]
    votes = outcome.notes["votes"]  # type: ignore[attr-defined]
    assert len(votes) == 9
    assert len(set(votes)) > 1
    assert outcome.answer == majority(votes)  # type: ignore[attr-defined]
    right = SUMS.items[0].answer
    sure = answers(SelfConsistency(n=6), SUMS.first(1), RuleModel(lambda text, t, s: right if s % 2 else "0"))[0]
    share = sure.notes["votes"].count(right) / 6  # type: ignore[attr-defined]
    assert sure.notes["maj@1"] == pytest.approx(share, abs=0.12)  # type: ignore[attr-defined]
    assert {name for name in sure.notes if "@" in name} == {"maj@1", "maj@3", "maj@5"}  # type: ignore[attr-defined]
    assert majority([None, "a", None, "b", "b"]) == "b"
    assert majority([None]) is None
    right = lambda vote: float(vote == "a")  # noqa: E731
    assert majority_at(["a", "b", "b", None], right, 1, draws=4000) == pytest.approx(0.25, abs=0.03)
    assert majority_at(["a", "b"], right, 2) == 0.5
    with pytest.raises(UserError, match="maj@5"):
        majority_at(["a"], right, 5)


def test_techniques_compose() -> None:
    made = SelfConsistency(inner=FewShot(inner=ChainOfThought(), k=4), n=3)
    model = RuleModel(lambda text, t, s: "The answer is 3.")
    answers(made, SUMS.first(2), model)
    assert len(model.prompts) == 6
    assert model.prompts[0].count("The answer is") == 4
    values = {
        "technique": "self-consistency",
        "n": 3,
        "inner": {"technique": "few-shot", "k": 4, "inner": {"technique": "chain-of-thought"}},
    }
    assert read_technique(values) == made
    assert reseed(made, 2).inner.seed == 2  # type: ignore[attr-defined]
    with pytest.raises(UserError, match="did you mean 'few-shot'"):
        read_technique({"technique": "fewshot"})
    with pytest.raises(UserError, match="no option 'kk'"):
        read_technique({"technique": "few-shot", "kk": 4})
    assert all(callable(getattr(cls, "controls", None)) for cls in NAMED.values())


def test_generated_knowledge_takes_the_best_statement() -> None:
    task = generate_task("facts-en", 6)
    model = RuleModel(lambda text, t, s: "A fact.")
    gold = answers(GeneratedKnowledge(source="gold"), task, model)
    assert all(o.score == 1.0 for o in gold)  # type: ignore[attr-defined]
    shuffled = answers(GeneratedKnowledge(source="shuffled"), task, model)
    assert sum(o.score for o in shuffled) < len(task.items)  # type: ignore[attr-defined]
    model = RuleModel(lambda text, t, s: f"fact {s}")
    own = answers(GeneratedKnowledge(n=3), task.first(1), model)[0]
    assert len(own.notes["knowledge"]) == 3  # type: ignore[attr-defined]
    assert len(model.scored) == 4 * len(task.items[0].choices)


def act(text: str, temperature: float, seed: int) -> str:
    if "[user] Use" in text:
        return "x"
    question = text.rsplit("Question:", 1)[-1]
    if "Observation 1:" not in question:
        return " I search.\nAction 1: Search[Pavo]"
    return " I know.\nAction 2: Finish[baker]"


def test_react_uses_tools_and_counts_actions() -> None:
    task = Task(name="t", items=(Item(id="1", input="What is Pavo?", answer="baker"),))
    outcome = answers(ReAct(texts=("Pavo is a baker. Pavo has a goat.",)), task, RuleModel(act))[0]
    assert outcome.score == 1.0  # type: ignore[attr-defined]
    assert outcome.notes["actions"] == 2  # type: ignore[attr-defined]
    assert "Observation 1: Pavo is a baker." in outcome.notes["transcript"]  # type: ignore[attr-defined]
    lost = answers(ReAct(), task, RuleModel(lambda text, t, s: "no idea"))[0]
    assert (lost.valid, lost.notes["forced"], lost.notes["invalid"]) == (False, 1, 1)  # type: ignore[attr-defined]


def test_a_tool_that_raises_fails_its_item_only(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(query: str) -> str:
        raise RuntimeError("disk gone")

    monkeypatch.setattr("kaiwa.lab.techniques.react.make_toolbox", lambda texts: {"Search": broken})
    task = Task(
        name="t", items=(Item(id="1", input="What is Pavo?", answer="baker"), Item(id="2", input="Use?", answer="x"))
    )
    rule = lambda text, t, s: "Finish[x]" if text.rstrip().endswith("Use?\nThought 1:") else " a\nAction 1: Search[y]"  # noqa: E731
    one, two = answers(ReAct(), task, RuleModel(rule))
    assert one.error == "item 1: tool Search[y] raised RuntimeError: disk gone"  # type: ignore[attr-defined]
    assert two.score == 1.0  # type: ignore[attr-defined]


def test_tools() -> None:
    assert calculate("12 * (7 + 1) - 0.5") == "95.5"
    assert calculate("1,200 ÷ 4") == "300"
    assert add_days("2024-02-27 + 3 days") == "2024-03-01 (Friday)"
    for bad in ("__import__('os')", "9**9**9", "1/0", "(" * 300):
        with pytest.raises(ToolError):
            calculate(bad)
    with pytest.raises(ToolError):
        add_days("tomorrow")
    library = Library(fact_texts("ja"))
    assert library.search(fact_texts("ja")[3][:6]) in fact_texts("ja")[3].replace("。", "。 ")
    with pytest.raises(ToolError, match="search first"):
        Library(["a"]).look_up("a")


def test_tree_of_thought_solves_24() -> None:
    def rule(text: str, temperature: float, seed: int) -> str:
        if "Can these" in text:
            return "sure"
        left = text.split("Numbers: ")[1].split(".")[0].split()
        pairs = [(a, b) for i, a in enumerate(left) for j, b in enumerate(left) if i != j]
        return "\n".join(f"{a} {op} {b} =" for a, b in pairs for op in "+-*/")

    task = generate_task("game-of-24-en", 2)
    outcomes = answers(TreeOfThought(breadth=40), task, RuleModel(rule))
    assert [o.score for o in outcomes] == [1.0, 1.0]  # type: ignore[attr-defined]
    assert answers(TreeOfThought(), task, RuleModel(lambda *_: "?"))[0].valid is False  # type: ignore[attr-defined]


def test_several_prompts() -> None:
    model = RuleModel(
        lambda text, t, s: (
            "1. What is first?\n2. Then?" if text.rstrip().endswith("answer them.") else "The answer is 8."
        )
    )
    found = answers(LeastToMost(), SUMS.first(1), model)[0]
    assert found.answer == "8"  # type: ignore[attr-defined]
    assert found.notes["questions"] == ["What is first?", "Then?"]  # type: ignore[attr-defined]
    assert answers(SelfAsk(), SUMS.first(1), model)[0].answer == "8"  # type: ignore[attr-defined]
    chain = PromptChain(prompts=(Prompt(input="{input}"), Prompt(instruction="Shorten: {previous}", input="")))
    model = RuleModel(lambda text, t, s: "4" if "Shorten: long" in text else "long")
    assert answers(chain, SUMS.first(1), model)[0].answer == "4"  # type: ignore[attr-defined]


def test_the_cache_knows_samples_and_survives_a_torn_line(tmp_path: Path) -> None:
    model = RuleModel(lambda text, t, s: str(s))
    file = tmp_path / "calls.jsonl"
    wishes = [Call(request=GenerateCall(prompt="p", sampling=Sampling(temperature=0.7)), sample=i) for i in range(3)]
    first = Asker(model, CallCache(file))(wishes)
    assert len({reply.text for reply in first}) == 3
    with open(file, "a") as f:
        f.write('{"key": "torn')
    again = Asker(model, CallCache(file))(wishes)
    assert [r.text for r in again] == [r.text for r in first]
    assert len(model.prompts) == 3
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert [row["sample"] for row in rows] == [0, 1, 2]
    assert rows[0]["call"]["generate"]["prompt"] == "p"


def experiment(n: int = 12, **changes: object) -> Experiment:
    arms = (Arm(name="zero", technique=ZeroShot()), Arm(name="cot", technique=ZeroShotCoT()))
    made = Experiment(
        name="sums", tasks=(SUMS.first(n),), arms=arms, contrasts=(Contrast(a="zero", b="cot", claim="helps"),)
    )
    return dataclasses.replace(made, **changes)  # type: ignore[arg-type]


def right_with_cot(text: str, temperature: float, seed: int) -> str:
    if "Therefore" not in text:
        return "hm"
    question = text.split("Question: ")[1].split("\n")[0]
    return next(item.answer for item in SUMS.items if item.input == question)


def test_report_of_a_run(tmp_path: Path) -> None:
    made = experiment()
    outcomes = run(made, RuleModel(right_with_cot, fail=SUMS.items[3].input))
    assert [o.id for o in outcomes if o.error] == [SUMS.items[3].id] * 2
    assert "500" in outcomes[3].error
    analysis = analyse(made, outcomes, "rule")
    finding = analysis.findings[0]
    assert (finding.comparison.n, finding.comparison.won, finding.comparison.verdict) == (11, 11, "better")
    assert analysis.arms[0].failed == 1
    assert analysis.arms[0].valid.mean == 0.0
    assert analysis.arms[0].accuracy.high > 0.2  # Wilson: 0 of 11 is not "never"
    html = write_report(analysis, tmp_path, {"en": "too small"}).read_text()
    assert not re.search(r"(src|href)=|url\(", html)
    assert "better by 100.0 points" in html
    assert "100.0 ポイント良い" in html
    assert "too small" in (tmp_path / "report.md").read_text()
    assert (tmp_path / "findings.csv").read_text().startswith("task,a,b")
    logs = sorted((tmp_path / "logs").iterdir())
    assert len(logs) == 2
    assert '"failed": true' in logs[0].read_text()


def test_seeds_are_averaged_within_items() -> None:
    made = experiment(
        arms=(Arm(name="s", technique=SelfConsistency(n=1)), Arm(name="z", technique=ZeroShot())),
        contrasts=(),
        seeds=(0, 1),
    )
    outcomes = run(made, RuleModel(lambda text, t, s: str(s)))
    assert len(outcomes) == 48
    assert len(mean_scores_by_item(outcomes[:24])) == 12
    assert analyse(made, outcomes).findings[0].comparison.n == 12


def test_every_item_failing_ends_the_run() -> None:
    with pytest.raises(UserError, match="every item failed; the first: item word-sums-en-"):
        run(experiment(), RuleModel(lambda *_: "", fail="Question"))


def test_arms_are_registered_before_the_run(tmp_path: Path) -> None:
    register(experiment(), tmp_path)
    register(experiment(), tmp_path)
    with pytest.raises(UserError, match="another experiment is registered"):
        register(experiment(margin=2.0), tmp_path)
    with pytest.raises(UserError, match="did you mean 'zero'"):
        experiment(contrasts=(Contrast(a="zeros", b="cot"),))


TOML = """
name = "few"
n = 6
[[tasks]]
name = "sentiment-en"
[[arms]]
name = "zero"
technique = "zero-shot"
[[arms]]
name = "few"
technique = "few-shot"
k = 2
controls = true
"""


def test_experiment_files(tmp_path: Path) -> None:
    (tmp_path / "e.toml").write_text(TOML)
    made = read_experiment(tmp_path / "e.toml")
    assert [arm.name for arm in made.arms][:2] == ["zero", "few"]
    assert "few: flipped labels" in [arm.name for arm in made.arms]
    assert Contrast(a="few: flipped labels", b="few") in made.contrasts
    (tmp_path / "e.py").write_text(
        "from pathlib import Path\nfrom kaiwa.lab.experiments.experiment_file import read_experiment\n"
        "def experiment():\n    return read_experiment(Path(__file__).with_name('e.toml'))\n"
    )
    assert read_experiment(tmp_path / "e.py") == made
    for bad, message in (
        (TOML.replace("sentiment-en", "sentimental-en"), "did you mean"),
        ("x = 1", "no 'x'"),
        ("[", "not TOML"),
    ):
        (tmp_path / "bad.toml").write_text(bad)
        with pytest.raises(UserError, match=message):
            read_experiment(tmp_path / "bad.toml")


SCRIPT = """
import sys, time
from pathlib import Path
from tests.lab.test_lab_run import experiment, right_with_cot
from tests.lab.fakes import RuleModel
from kaiwa.lab.experiments.run import run
def slow(text, t, s):
    time.sleep(0.02)
    return right_with_cot(text, t, s)
model = RuleModel(slow)
outcomes = run(experiment(), model, Path(sys.argv[1]))
print(len(model.prompts), [o.score for o in outcomes])
"""


def test_resume_after_kill(tmp_path: Path) -> None:
    """Killed in the middle and started again: nothing that was answered is asked twice, and the end is the same."""
    words = [sys.executable, "-c", SCRIPT, str(tmp_path / "calls.jsonl")]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2])
    while not (tmp_path / "calls.jsonl").exists() or (tmp_path / "calls.jsonl").read_bytes().count(b"\n") < 9:
        time.sleep(0.01)
        assert process.poll() is None
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    kept = (tmp_path / "calls.jsonl").read_bytes().count(b"\n")
    done = subprocess.run(words, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=True)
    asked, _, scores = done.stdout.partition(" ")
    assert int(asked) == 36 - kept
    whole = [o.score for o in run(experiment(), RuleModel(right_with_cot))]
    assert scores.strip() == str(whole)


def test_rounds_gather_what_all_programs_ask() -> None:
    batches: list[int] = []
    asker = Asker(RuleModel(lambda *_: "5"), CallCache(None))

    def answer(wishes):  # type: ignore[no-untyped-def]
        batches.append(len(wishes))
        return asker(wishes)

    programs = [ZeroShotCoT().run(SUMS, item, Decoding()) for item in SUMS.items]
    assert len(dict(run_programs(programs, answer))) == 12
    assert batches == [12, 12]
