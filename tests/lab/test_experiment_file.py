"""Experiments in files, and the line that is wrong in them."""

import dataclasses
from pathlib import Path

import pytest

from kaiwa.core.errors import UserError
from kaiwa.lab.asking.budget import Prices
from kaiwa.lab.experiments.experiment import Arm, Contrast
from kaiwa.lab.experiments.experiment_file import read_experiment, spread_over_models
from kaiwa.lab.tasks.prompt import Prompt
from kaiwa.lab.tasks.task import Grader, Judge
from kaiwa.lab.techniques.shots import FewShot, ZeroShot

BASE = """
name = "own"
model = "m"
n = 5
[[tasks]]
name = "sentiment-en"
[[arms]]
name = "zero"
technique = "zero-shot"
[[arms]]
name = "few"
technique = "few-shot"
k = 2
"""


def write(folder: Path, text: str, name: str = "own.toml") -> Path:
    (folder / name).write_text(text)
    return folder / name


def test_a_whole_file(tmp_path: Path) -> None:
    text = 'url = "http://x/v1"\napi_key_env = "KEY"\nseeds = [1, 2]\nmargin = 3\nform = "text"\n' + BASE
    text += '[[contrasts]]\na = "zero"\nb = "few"\nclaim = "helps"\n[prices]\nprompt = 1.5\nanswer = 2\n'
    one = read_experiment(write(tmp_path, text))
    assert (one.name, one.model, one.url, one.api_key_env) == ("own", "m", "http://x/v1", "KEY")
    assert (one.seeds, one.margin, one.form, one.prices) == ((1, 2), 3.0, "text", Prices(prompt=1.5, answer=2.0))
    assert one.contrasts == (Contrast(a="zero", b="few", claim="helps"),)
    assert [arm.technique for arm in one.arms] == [ZeroShot(), FewShot(k=2)]
    assert len(one.tasks[0].items) == 5


def test_controls_come_along_and_are_compared(tmp_path: Path) -> None:
    one = read_experiment(write(tmp_path, BASE + "controls = true\n"))
    names = [arm.name for arm in one.arms]
    assert names == ["zero", "few", *(f"few: {name}" for name in FewShot(k=2).controls())]
    assert one.contrasts[0] == Contrast(a="zero", b="few")
    assert one.contrasts[1] == Contrast(a="few: no demonstrations", b="few")
    assert len(one.contrasts) == 5


def test_a_users_file_is_a_task(tmp_path: Path) -> None:
    write(tmp_path, "".join(f'{{"q": "q{i}", "label": "yes"}}\n' for i in range(9)), "own.jsonl")
    write(tmp_path, "## input\nQ: {q}\n", "p.md")
    task = """[[tasks]]
file = "own.jsonl"
name = "mine"
answer = "label"
prompt = "p.md"
choices = ["yes", "no"]
kind = "choice"
n_demos = 4
n = 3
grader = { name = "contains" }
"""
    one = read_experiment(write(tmp_path, BASE.replace('[[tasks]]\nname = "sentiment-en"\n', task)))
    (mine,) = one.tasks
    assert (mine.name, mine.kind, mine.grader) == ("mine", "choice", Grader(name="contains"))
    assert (len(mine.demos), len(mine.items)) == (4, 3)
    assert mine.prompt == Prompt(input="Q: {q}")
    assert mine.items[0].choices == ("yes", "no")


def test_a_built_in_task_with_another_prompt_and_a_judge(tmp_path: Path) -> None:
    grader = 'prompt = { instruction = "Judge." }\n'
    grader += 'grader = { name = "model", model = "j", rubric = "Be kind.", labels = "l.jsonl" }\n'
    text = BASE.replace('name = "sentiment-en"\n', f'name = "sentiment-en"\n{grader}')
    (task,) = read_experiment(write(tmp_path, text)).tasks
    assert task.prompt.instruction == "Judge."
    judge = Judge(model="j", rubric="Be kind.", labels=str(tmp_path / "l.jsonl"))
    assert task.grader == Grader(name="model", judge=judge), "labels lie beside the file"


def test_python_files(tmp_path: Path) -> None:
    source = "from kaiwa.lab.experiments.assignment import assignment\n"
    source += "def experiment():\n    return assignment(0.05, ('en',))\n"
    assert read_experiment(write(tmp_path, source, "own.py")).name == "assignment"
    with pytest.raises(UserError, match="no function experiment"):
        read_experiment(write(tmp_path, "x = 1", "a.py"))
    with pytest.raises(UserError, match="must return"):
        read_experiment(write(tmp_path, "def experiment():\n    return 3", "b.py"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("margin", "marjin"), None),
        (('model = "m"', 'modl = "m"'), "did you mean 'model'"),
        (('name = "sentiment-en"', 'name = "sentimant-en"'), "no task 'sentimant-en'"),
        (('name = "sentiment-en"', 'name = "sentiment-en"\nkindd = "x"'), "a task has no 'kindd'"),
        (('name = "sentiment-en"', 'name = "sentiment-en"\ngrader = { name = "exat" }'), "did you mean 'exact'"),
        (
            ('name = "sentiment-en"', 'name = "sentiment-en"\ngrader = { name = "exact", model = "j" }'),
            "has no 'model'",
        ),
        (('name = "sentiment-en"', 'name = "sentiment-en"\ngrader = { name = "model" }'), "needs model ="),
        (('technique = "few-shot"', 'technique = "few"'), "arm few: no technique 'few'"),
        (("k = 2", 'k = 2\n[[contrasts]]\na = "zero"\nbb = "few"'), "a contrast has a, b"),
        (("k = 2", "k = "), "not TOML"),
        (('name = "sentiment-en"', 'file = "missing.csv"'), "missing.csv: no such file"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, change: tuple[str, str], message: str | None) -> None:
    file = write(tmp_path, BASE.replace(*change))
    if message is None:
        assert read_experiment(file).margin == 5.0
        return
    with pytest.raises(UserError) as error:
        read_experiment(file)
    assert message in str(error.value)
    assert str(tmp_path) in str(error.value) or message.startswith("no task")


def test_arms_on_several_models() -> None:
    arms = [Arm(name="zero", technique=ZeroShot()), Arm(name="few", technique=FewShot(k=2), task="t")]
    made, contrasts = spread_over_models(arms, [], ("m", "n"))
    assert [(arm.name, arm.model) for arm in made] == [
        ("zero @ m", "m"), ("few @ m", "m"), ("zero @ n", "n"), ("few @ n", "n")
    ]  # fmt: skip
    assert [(c.a, c.b) for c in contrasts] == [
        ("zero @ m", "few @ m"), ("zero @ n", "few @ n"), ("zero @ m", "zero @ n"), ("few @ m", "few @ n")
    ]  # fmt: skip
    assert contrasts[-1].task == "t"
    own = [Contrast(a="zero @ m", b="few @ n", claim="across"), Contrast(a="zero", b="few", claim="within")]
    _, contrasts = spread_over_models(arms, own, ("m", "n"))
    assert own[0] in contrasts
    assert dataclasses.replace(own[1], a="zero @ n", b="few @ n") in contrasts
    with pytest.raises(UserError, match="has one twice"):
        spread_over_models(arms, [], ("m", "m"))
