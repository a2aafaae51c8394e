"""Judges, prompt search, lint, several models in one experiment, and the ladder's client."""

import dataclasses
import json
from pathlib import Path

import httpx
import numpy as np
import pytest

from kaiwa.core.errors import UserError
from kaiwa.lab.asking.call_cache import Asker, CallCache
from kaiwa.lab.experiments.analysis import analyse
from kaiwa.lab.experiments.experiment import Arm, Experiment
from kaiwa.lab.experiments.experiment_file import experiment_from_toml, read_experiment
from kaiwa.lab.experiments.ladder import run_ladder, rung_rows, split_task
from kaiwa.lab.experiments.lint import lint_experiment, lint_prompt, lint_task
from kaiwa.lab.experiments.prompt_search import describe_search, search_prompt, split_dev_test
from kaiwa.lab.experiments.run import run_models
from kaiwa.lab.experiments.selftest import PlantedTechnique, planted_task
from kaiwa.lab.experiments.training_api import TrainingServer, training_rows
from kaiwa.lab.grading.model_judge import (
    Rubric,
    cases_from_demonstrations,
    compare_answers,
    grade_answers,
    kappa,
    measure_agreement,
    read_choice,
    read_yes,
)
from kaiwa.lab.tasks.by_name import generate_task
from kaiwa.lab.tasks.prompt import Example, Prompt
from kaiwa.lab.techniques.shots import FewShot, ZeroShot
from kaiwa.lab.techniques.thought import ChainOfThought
from kaiwa.text.chat_model import OpenedModel
from tests.lab.fakes import RuleModel

TASK = generate_task("sentiment-en", 20)


def asker(rule: object) -> Asker:
    return Asker(RuleModel(rule), CallCache(None))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "choice"),
    [("A", "A"), (" **B**", "B"), ("Answer B.", "B"), ("(a)", "A"), ("tie", "tie"), ("引き分け", "tie"), ("Both", None),
     ("答え A", "A"), ("An apple", None), ("", None), ("a tie", "tie"), ("同じではない。Bが良い", None),
     ("同じです。", "tie"), ("A is better than B", "A"), ("Bの方が良いです。", "B"), ("Aが良いとは言えません", None),
     ("A and B are alike", None), ("A is worse", None), ("A/B", None), ("Tied up", None)],
)  # fmt: skip
def test_a_judges_letter_is_read(text: str, choice: str | None) -> None:
    assert read_choice(text) == choice


@pytest.mark.parametrize(
    ("text", "verdict"),
    [("Yes.", True), ("はい", True), ("NO", False), ("いいえ。", False), ("maybe", None), ("Not sure.", None),
     ("Now, yes.", None), ("正しいとは言えません", None), ("正しいです。", True), ("違います", False),
     ("違いはありません", None), ("**No**, it is not", False), ("「はい」です", True), ("Yes\nIt is", True),
     ("No idea", None), ("yes/no", None), ("Correctly", None)],
)  # fmt: skip
def test_yes_and_no_are_whole_words_or_unread(text: str, verdict: bool | None) -> None:
    assert read_yes(text) is verdict


def test_a_judge_that_only_likes_the_first_place_decides_nothing() -> None:
    first = asker(lambda text, t, s: "A")
    found = compare_answers(first, TASK, [(item, "one", "two") for item in TASK.items])
    assert (set(found.scores), found.survived.mean, found.first.mean) == ({0.5}, 0.0, 1.0)
    assert measure_agreement(first, TASK, cases_from_demonstrations(TASK, pairs=True)).faults() == ("first", "chance")


def test_a_judge_that_reads_prefers_the_better_in_both_orders() -> None:
    def rule(text: str, t: float, s: int) -> str:
        a, b = (text.split(f"Answer {letter}:\n")[1].split("\n")[0] for letter in "AB")
        return "tie" if len(a) == len(b) else "A" if len(a) > len(b) else "B"

    pairs = [(item, "short", "much longer" if i % 4 else "equal") for i, item in enumerate(TASK.items)]
    found = compare_answers(asker(rule), TASK, pairs, Rubric(text="Longer is better."))
    assert [found.scores.count(score) for score in (1.0, 0.5, 0.0)] == [15, 5, 0]
    assert found.survived.mean == 1.0
    assert found.first.mean == 0.5


def honest(text: str, t: float = 0, s: int = 0) -> str:
    """Yes where the answer to grade is the right one, in either order."""
    right, answer = text.split("Right answer: ")[1].split("\n")[0], text.split("grade:\n")[1].split("\n")[0]
    return "yes" if right == answer else "no"


def test_agreement_is_measured_on_answers_of_known_truth() -> None:
    cases = cases_from_demonstrations(TASK)
    assert sum(case.right for case in cases) * 2 == len(cases) == 2 * len(TASK.demos)
    good = measure_agreement(asker(honest), TASK, cases)
    assert (good.youden_j.mean, good.kappa.mean, good.faults()) == (1.0, 1.0, ())
    assert 0.5 < good.youden_j.low < 1
    yes = measure_agreement(asker(lambda *_: "Yes"), TASK, cases)
    assert (yes.sensitivity.right, yes.specificity.right, yes.faults()) == (len(cases) / 2, 0.0, ("yes", "chance"))
    assert measure_agreement(asker(lambda *_: "hm"), TASK, cases).faults() == ("unread", "chance")
    torn = grade_answers(
        asker(lambda text, t, s: "yes" if "grade" in text.split("Right")[0] else "no"), TASK, [(TASK.items[0], "x")]
    )
    assert (torn.scores, torn.survived.mean) == ((0.5,), 0.0)


def test_kappa_by_hand() -> None:
    a = [True] * 20 + [False] * 30
    b = [True] * 15 + [False] * 5 + [True] * 10 + [False] * 20
    observed, chance = 35 / 50, (20 / 50) * (25 / 50) + (30 / 50) * (25 / 50)
    found = kappa(a, b)
    assert found.mean == pytest.approx((observed - chance) / (1 - chance))
    assert found.low < found.mean < found.high


def test_several_models_in_one_experiment(tmp_path: Path) -> None:
    arms = [{"name": "zero", "technique": "zero-shot"}, {"name": "few", "technique": "few-shot", "k": 2}]
    values = {"models": ["good", "bad"], "tasks": [{"name": "sentiment-en", "n": 12}], "arms": arms}
    made = experiment_from_toml(values, tmp_path / "x.toml")
    assert [arm.name for arm in made.arms] == ["zero @ good", "few @ good", "zero @ bad", "few @ bad"]
    compared = {(c.a, c.b) for c in made.contrasts}
    assert compared == {
        ("zero @ good", "few @ good"), ("zero @ bad", "few @ bad"),
        ("zero @ good", "zero @ bad"), ("few @ good", "few @ bad"),
    }  # fmt: skip
    right = {item.input: item.answer for item in made.tasks[0].items}
    opened: list[str] = []

    def open_model(name: str) -> OpenedModel:
        opened.append(name)

        def rule(text: str, t: float, s: int) -> str:
            answer = next(a for i, a in right.items() if text.rstrip().endswith(f"{i}\nLabel:"))
            return answer if name == "good" else "nonsense"

        return OpenedModel(RuleModel(rule, name=name))

    analysis = analyse(made, run_models(made, open_model))
    assert opened == ["good", "bad"]
    assert {arm.arm: arm.accuracy.mean for arm in analysis.arms} == {
        "zero @ good": 1.0, "few @ good": 1.0, "zero @ bad": 0.0, "few @ bad": 0.0
    }  # fmt: skip


def test_search_shrinks_its_winner_and_grades_it_on_other_items(tmp_path: Path) -> None:
    """Twelve equal candidates: the best on dev looks better than it is; the test does not fall for it."""
    from kaiwa.lab.experiments.selftest import PlantedShareModel

    arms = tuple(Arm(name=f"c{i}", technique=PlantedTechnique(share=0.5, label=f"c{i}")) for i in range(12))
    made = Experiment(name="s", tasks=(planted_task(160),), arms=arms)
    found = search_prompt(made, lambda name: OpenedModel(PlantedShareModel()), tmp_path)
    dev, test = split_dev_test(made.tasks[0])
    assert not {i.id for i in dev.items} & {i.id for i in test.items}
    assert {i.id for i in split_dev_test(planted_task(300))[0].items} >= {i.id for i in dev.items}, "sides never change"
    assert found.dev.optimism > 0.03
    assert found.dev.shrunk < found.dev.observed
    if found.winner != "c0":
        (finding,) = found.test.findings
        assert finding.comparison.n == len(test.items)
        assert finding.comparison.verdict != "better"
    assert "winner's curse" in describe_search(found)
    with pytest.raises(UserError, match="at least 10"):
        split_dev_test(planted_task(12))


def test_lint_finds_what_is_wrong_and_only_that() -> None:
    good = Prompt(
        instruction="Reply with one word: positive or negative.", input="Review: {input}", output_indicator="Label:",
        delimiters="tags",
    )  # fmt: skip
    assert lint_prompt(good) == []
    cases = {
        "no-variable": dataclasses.replace(good, input="Review"),
        "vague": dataclasses.replace(good, instruction="Reply with a short label."),
        "only-not": dataclasses.replace(good, instruction="Do not explain."),
        "fluff": dataclasses.replace(good, instruction="Please reply with one word."),
        "trailing-space": dataclasses.replace(good, output_indicator="Label: "),
        "language": dataclasses.replace(good, instruction="一語で答えてください。"),
        "instruction-last": dataclasses.replace(good, order=("context", "examples", "input", "instruction")),
        "majority-label": dataclasses.replace(good, examples=tuple(Example(str(i), "ab"[i > 4]) for i in range(6))),
        "one-label": dataclasses.replace(good, examples=(Example("1", "a"), Example("2", "a"))),
    }
    for rule, prompt in cases.items():
        assert rule in {r.rule for r in lint_prompt(prompt)}, rule
    leaky = dataclasses.replace(TASK, demos=(dataclasses.replace(TASK.items[0], id="demo"),))
    assert [r.rule for r in lint_task(leaky) if r.level == "error"] == ["leak"]
    lonely = Experiment(name="x", tasks=(TASK,), arms=(Arm(name="few", technique=FewShot(k=2)),))
    assert "no-control" in {r.rule for r in lint_experiment(lonely)}
    both = dataclasses.replace(lonely, arms=(Arm(name="zero", technique=ZeroShot()), *lonely.arms))
    rules = {r.rule for r in lint_experiment(both)}
    thought = FewShot(inner=ChainOfThought(), k=2)
    whole = (Arm(name="cot", technique=thought), *(Arm(name=n, technique=t) for n, t in thought.controls().items()))
    assert "no-control" not in {r.rule for r in lint_experiment(dataclasses.replace(lonely, arms=whole))}
    assert "no-control" not in rules
    assert "small-n" in rules


def test_the_ladder_trains_through_the_api(tmp_path: Path) -> None:
    """A server of a few lines: what is uploaded, asked for and answered; a second start trains nothing anew."""
    task, training = split_task(generate_task("sentiment-en", 200), 30, 16)
    assert not {i.input for i in task.items} & {i.input for i in training}
    seen: list[dict] = []

    def handler(request: httpx.Request) -> httpx.Response:
        path = request.url.path
        if path.endswith("/files"):
            seen.append({"upload": request.read()})
            return httpx.Response(200, json={"id": "file-1"})
        if path.endswith("/jobs"):
            seen.append(json.loads(request.read()))
            return httpx.Response(200, json={"id": f"ftjob-{seen[-1]['method']['type']}"})
        name = path.rsplit("-", 1)[1]
        done = {"status": "succeeded", "fine_tuned_model": f"ft:{name}", "trained_tokens": 640}
        return httpx.Response(200, json=done | {"created_at": 100, "finished_at": 220})

    right = {item.input: item.answer for item in task.items}

    def open_model(name: str) -> OpenedModel:
        def rule(text: str, t: float, s: int) -> str:
            answer = next(a for i, a in right.items() if i in text.rsplit("[user]", 1)[1])
            return answer if name == "ft:supervised" or len(text) % 2 else "?"

        return OpenedModel(RuleModel(rule, name=name), name)

    server = TrainingServer("http://x/v1", transport=httpx.MockTransport(handler), sleep=lambda s: None)
    for _ in range(2):
        analysis, rungs = run_ladder(
            task, training, "base", server, open_model=open_model, out=tmp_path, k=4, per_hour=3.0
        )
    assert [s["method"]["type"] for s in seen if "method" in s] == ["soft_prompt", "supervised"]
    uploaded = [json.loads(line) for line in seen[0]["upload"].split(b"\r\n\r\n")[2].split(b"\r\n")[0].splitlines()]
    assert uploaded == training_rows(task, training)
    assert [r.name for r in rungs] == ["zero-shot", "few-shot", "soft prompt", "fine-tuned"]
    assert rungs[3].accuracy == 1.0
    assert rungs[3].minutes == 2.0
    assert rungs[3].training_cost == pytest.approx(0.1)
    assert rungs[1].prompt_tokens > rungs[0].prompt_tokens
    assert rungs[0].trained_tokens == 0
    assert len(analysis.findings) == 5
    assert len(rung_rows(rungs)) == 5

    def refuse(request: httpx.Request) -> httpx.Response:
        return httpx.Response(400, json={"error": {"message": "line 3: not JSON"}})

    broken = TrainingServer("http://x/v1", transport=httpx.MockTransport(refuse))
    with pytest.raises(UserError, match="400: line 3"):
        broken.upload([], "x")


def test_a_model_is_named_twice(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text(
        'models = ["a", "a"]\n[[tasks]]\nname = "sentiment-en"\n[[arms]]\ntechnique = "zero-shot"\n'
    )
    with pytest.raises(UserError, match="one twice"):
        read_experiment(tmp_path / "x.toml")


def test_icl_figures_by_hand() -> None:
    from kaiwa.studies.icl import KS, icl_experiment, measure, slope, steeper, study

    x = np.log2(np.array(KS) + 1.0)
    assert slope(dict(zip(KS, 0.2 + 0.1 * x, strict=True))) == pytest.approx(0.1)
    experiment = icl_experiment(["blind", "seeing"], 12)
    recall = experiment.tasks[1]
    assert all(len(item.columns["demos"].splitlines()) == 16 for item in recall.items)

    class Seeing(RuleModel):
        """Finds the asked word in the prompt."""

        def score(self, context: object, continuation: str) -> list[float]:
            *shown, asked = str(context).splitlines()
            seen = {line.split(":")[0]: line.split(": ")[1] for line in shown}
            return [0.0 if seen.get(asked.rstrip(":")) == continuation.strip() else -2.0]

    def open_model(name: str) -> OpenedModel:
        model = Seeing(lambda *_: "") if name == "seeing" else RuleModel(lambda *_: "")
        return OpenedModel(model, name, "text")

    outcomes = run_models(experiment, open_model)
    mine = [o for o in outcomes if o.task == "recall"]
    blind, seeing = (measure(name, 1, "recall", mine) for name in ("blind", "seeing"))
    assert seeing.accuracy[16].mean > 0.9 > seeing.accuracy[0].mean
    assert seeing.slope.low > 0.05
    assert seeing.loss_slope.high < 0
    assert steeper(blind, seeing).low > 0
    assert blind.loss[0].mean == pytest.approx(np.log(4))
    assert callable(study)
