"""A user's own columns in items, demonstrations, techniques and arms: nothing goes out unfilled."""

from collections.abc import Callable
from pathlib import Path

import pytest

from kaiwa.core.errors import UserError
from kaiwa.lab.experiments.experiment_file import read_experiment
from kaiwa.lab.experiments.lint import lint_task
from kaiwa.lab.experiments.preflight import describe_prompts, planned_prompts
from kaiwa.lab.experiments.run import run
from kaiwa.lab.tasks.by_name import task_from_file
from kaiwa.lab.tasks.prompt import Example, Prompt, prompt_as_text, render
from kaiwa.lab.tasks.variables import fill
from tests.lab.fakes import RuleModel

HEAD = """
name = "own"
model = "m"
n = 12
[[tasks]]
name = "tickets"
file = "t.csv"
answer = "topic"
choices = ["delivery", "damage"]
n_demos = 6
prompt = { instruction = "Which topic?", input = "{Customer ticket} ({e-mail})", output_indicator = "Topic:" }
"""
ARM = '[[arms]]\nname = "a"\n'


def write(folder: Path, arms: str, rows: int = 20, head: str = HEAD) -> Path:
    lines = [f"parcel {i} is late,x{i}@y.z,{['delivery', 'damage'][i % 2]},k{i},because {i}" for i in range(rows)]
    (folder / "t.csv").write_text("\n".join(["Customer ticket,e-mail,topic,knowledge,reasoning", *lines]) + "\n")
    (folder / "e.toml").write_text(head + arms)
    return folder / "e.toml"


@pytest.mark.parametrize(
    "technique",
    [
        'technique = "zero-shot"',
        'technique = "few-shot"\nk = 3',
        'technique = "few-shot"\nk = 3\ninner = { technique = "chain-of-thought" }',
        'technique = "zero-shot-cot"',
        'technique = "self-consistency"\nn = 2\ninner = { technique = "few-shot", k = 2 }',
        'technique = "generated-knowledge"\nn = 1',
        'technique = "react"',
        'technique = "least-to-most"',
        'technique = "self-ask"',
        'technique = "chain"\nprompts = [{ input = "{Customer ticket}" }, { input = "{e-mail}: {previous}" }]',
        'technique = "longer"',
    ],
)
def test_every_technique_sends_the_columns_filled(tmp_path: Path, technique: str) -> None:
    model = RuleModel(lambda text, temperature, seed: "delivery")
    run(read_experiment(write(tmp_path, ARM + technique + "\n")), model)
    sent = [*model.prompts, *(context for context, _ in model.scored)]
    assert sent
    for text in sent:
        assert "{" not in text.replace("{}", ""), text
        assert "parcel " in text or "@y.z: " in text, "every call is about the item"


def test_demonstrations_look_like_the_item(tmp_path: Path) -> None:
    (planned,) = planned_prompts(read_experiment(write(tmp_path, ARM + 'technique = "few-shot"\nk = 2\n')))
    assert planned.text.count("@y.z)\nTopic:") == 3
    assert "## a on tickets, item 6" in describe_prompts([planned])


@pytest.mark.parametrize("form", ["chat", "text"])
def test_braces_are_the_same_in_item_and_demonstration(form: str) -> None:
    prompt = Prompt(input='{{"q": "{q}"}}', examples=(Example("", "4", {"q": "2+2"}),))
    text = prompt_as_text(render(prompt, {"q": "1+1"}, form))
    assert '{"q": "2+2"}' in text
    assert '{"q": "1+1"}' in text


def test_what_changes_with_the_item_stands_in_each_demonstration() -> None:
    shots = (Example("cat", "neko", {"to": "Japanese"}), Example("dog", "chien", {"to": "French"}))
    prompt = Prompt("Translate into {to}.", "Be exact.", shots, "{input}", "=")
    assert render(prompt, {"input": "sea", "to": "German"}, "text") == (
        "Be exact.\n\nTranslate into Japanese.\n\ncat\n=\nneko\n\nTranslate into French.\n\ndog\n=\nchien\n\n"
        "Translate into German.\n\nsea\n="
    )


def test_system_text_and_earlier_turns_come_first(tmp_path: Path) -> None:
    arm = 'prompt = { system = "You sort {topicless}.", input = "{Customer ticket}" }\n'
    with pytest.raises(UserError, match=r"arm a: .*variable {topicless} has no column"):
        run(read_experiment(write(tmp_path, ARM + arm)), RuleModel(lambda *_: "x"))
    turns = '[{ role = "user", content = "Hi {e-mail}" }, { role = "assistant", content = "Hello" }]'
    arm = f'prompt = {{ system = "Sort.", input = "{{Customer ticket}}", turns = {turns} }}\n'
    (planned,) = planned_prompts(read_experiment(write(tmp_path, ARM + arm)))
    assert planned.text == "[system] Sort.\n[user] Hi x6@y.z\n[assistant] Hello\n[user] parcel 6 is late"


def refuse(match: str) -> Callable[[Path, str], None]:
    def check(folder: Path, arms: str) -> None:
        model = RuleModel(lambda *_: "x")
        with pytest.raises(UserError, match=match):
            run(read_experiment(write(folder, arms)), model)
        assert model.prompts == []

    return check


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ('{ input = "{Customer tickt}" }', "did you mean 'Customer ticket'"),
        ('{ input = "{topic}" }', "variable {topic} has no column"),
        ('{ input = "{{Customer ticket}}" }', r"Jinja's and mustache's writing .*write {Customer ticket}"),
        ('{ input = "{{ e-mail | upper }}" }', "Jinja's and mustache's"),
        ('{ input = "{% for x in y %}{e-mail}" }', "begins a block of Jinja"),
        ('{ input = "{e-mail!r}" }', "an f-string's format"),
        ('{ input = "%(e-mail)s" }', "Python's old format"),
        ('{ input = "Hello." }', "every item would send the same text"),
    ],
)
def test_what_cannot_be_filled_is_refused_before_the_first_call(tmp_path: Path, prompt: str, message: str) -> None:
    refuse(message)(tmp_path, f'{ARM}technique = "zero-shot"\nprompt = {prompt}\n')
    head = HEAD[: HEAD.index("prompt = ")] + f"prompt = {prompt}\n"
    if "{topic}" in prompt:
        message = "shows {topic}, which is the right answer"
    with pytest.raises(UserError, match=message):
        read_experiment(write(tmp_path, ARM + 'technique = "zero-shot"\n', head=head))


@pytest.mark.parametrize(
    ("arm", "message"),
    [
        ('technique = "few-shot"\nk = 9', "6 demonstrations for a 9-shot arm"),
        ('technique = "chain"\nprompts = [{ input = "{e-mail}" }, { input = "{previus}" }]', "did you mean 'previous'"),
        ('prompt = { input = "{e-mail}", examples = [{ output = "x", ticket = "y" }] }', "example 1: .*{e-mail}"),
    ],
)
def test_an_arm_that_cannot_be_asked_is_refused(tmp_path: Path, arm: str, message: str) -> None:
    refuse(message)(tmp_path, f"{ARM}{arm}\n")


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ('{"a": 1, "b": {"c": "{x}"}}', '{"a": 1, "b": {"c": "X"}}'),
        ("f() { return x; } {x}", "f() { return x; } X"),
        ("\\boxed{} {x}", "\\boxed{} X"),
        ("{ x }", "X"),
        ("{{x}} {x}", "{x} X"),
        ("${x}", "$X"),
        ("{Price (yen)}", "5"),
        ("{a: b}", "{a: b}"),
    ],
)
def test_json_and_code_stay_as_they_are(template: str, text: str) -> None:
    assert fill(template, {"x": "X", "Price (yen)": "5"}) == text


def test_lint_sees_a_leak_through_columns(tmp_path: Path) -> None:
    write(tmp_path, "")
    rows = (tmp_path / "t.csv").read_text().splitlines()
    (tmp_path / "t.csv").write_text("\n".join([*rows, rows[1]]) + "\n")
    prompt = Prompt("Which topic?", input="{Customer ticket}", output_indicator="Topic:")
    task = task_from_file(tmp_path / "t.csv", prompt=prompt, answer="topic", n_demos=3)
    assert [remark.rule for remark in lint_task(task)] == ["leak"]


def test_prompts_against_prompts_with_two_techniques_are_a_design(tmp_path: Path) -> None:
    arms = '[[arms]]\nname = "zero"\ntechnique = "zero-shot"\n[[arms]]\nname = "few"\ntechnique = "few-shot"\nk = 2\n'
    arms += '[[prompts]]\nname = "short"\ninput = "{Customer ticket}"\n'
    arms += '[[prompts]]\nname = "long"\ninstruction = "Read well."\ninput = "{Customer ticket} {e-mail}"\n'
    experiment = read_experiment(write(tmp_path, arms))
    assert [arm.name for arm in experiment.arms] == ["zero / short", "zero / long", "few / short", "few / long"]
    assert experiment.contrasts[-1].less == ("zero / short", "few / short")
    assert experiment.contrasts[-1].text == "(few / long − zero / long) − (few / short − zero / short)"
    alone = read_experiment(write(tmp_path, arms[arms.index("[[prompts]]") :]))
    assert [arm.name for arm in alone.arms] == ["short", "long"]
