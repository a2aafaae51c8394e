"""Sampling by name, in experiment files and on the command line."""

from pathlib import Path

import pytest

from kaiwa.cli import main
from kaiwa.core.errors import UserError
from kaiwa.lab.asking.sampling_values import change_sampling
from kaiwa.lab.experiments.experiment_file import read_experiment
from kaiwa.lab.experiments.run import run
from kaiwa.lab.techniques.technique import GREEDY, Decoding
from kaiwa.text.chat_model import GenerateCall
from kaiwa.text.sampling import Grammar, Sampling

from .fakes import RuleModel

FILE = """
name = "own"
[[tasks]]
name = "word-sums-en"
n = 3
[[arms]]
technique = "zero-shot"
"""


def test_fields_are_replaced_by_name() -> None:
    base = Sampling(max_tokens=9, temperature=0.3)
    assert change_sampling(base, {}, "x") == base
    changed = change_sampling(base, {"top_k": 4, "stop": ["a", "b"], "logit_bias": [[7, -1.5]]}, "x")
    assert changed == Sampling(max_tokens=9, temperature=0.3, top_k=4, stop=("a", "b"), logit_bias=((7, -1.5),))
    grammar = change_sampling(base, {"grammar": {"kind": "regex", "source": "[0-9]+"}}, "x").grammar
    assert grammar == Grammar(kind="regex", source="[0-9]+")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"topk": 3}, "did you mean 'top_k'"),
        ({"top_p": 0.0}, "x: top_p is 0.0; it must be above 0"),
        ({"temperature": "hot"}, "wrong type"),
        ({"grammar": {"kind": "regex"}}, "the regex grammar is empty"),
        ({"grammar": {"kind": "regexp", "source": "x"}}, "grammar kind"),
        ({"logit_bias": [[1, 2, 3]]}, "wrong type"),
        ({"seed": 3}, "no 'seed' to set here"),
    ],
)
def test_what_no_sampler_can_use(values: dict[str, object], message: str) -> None:
    with pytest.raises(UserError) as error:
        change_sampling(Sampling(), values, "x", fixed=("seed",))
    assert message in str(error.value)
    assert str(error.value).startswith("x: ")


def test_an_experiments_table_reaches_every_call(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text(FILE + '[sampling]\ntemperature = 0.5\ntop_k = 7\nstop = ["#"]\n')
    experiment = read_experiment(file)
    seen: list[Sampling] = []

    class Spy(RuleModel):
        def generate(self, prompt, sampling=GREEDY):  # type: ignore[no-untyped-def]
            seen.append(sampling)
            return super().generate(prompt, sampling)

    run(experiment, Spy(lambda *_: "1"))
    assert len(seen) == 3
    assert {(s.temperature, s.top_k, s.stop, s.max_tokens) for s in seen} == {(0.5, 7, ("#",), 48)}
    assert len({s.seed for s in seen}) == 3
    assert experiment.plan_json()["sampling"]["top_k"] == 7


def test_without_a_table_the_lab_is_greedy_and_the_plan_is_as_before(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text(FILE)
    experiment = read_experiment(file)
    assert experiment.sampling == GREEDY
    assert "sampling" not in experiment.plan_json()


@pytest.mark.parametrize("line", ["max_tokens = 3", "seed = 3", "topk = 3"])
def test_what_belongs_to_tasks_and_seeds_is_refused(tmp_path: Path, line: str) -> None:
    file = tmp_path / "own.toml"
    file.write_text(f"{FILE}[sampling]\n{line}\n")
    with pytest.raises(UserError, match="sampling: there is no"):
        read_experiment(file)


def test_the_commands_refuse_what_no_sampler_can_use(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "own.toml"
    file.write_text(FILE)
    for words in (["lab", "run", str(file), "--top-p", "2"], ["redteam", "run", "keeper.en", "--plan", "--top-p", "2"]):
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert ended.value.code == 2
        assert "top_p is 2.0" in capsys.readouterr().err


def test_decoding_makes_calls() -> None:
    decoding = Decoding(sampling=Sampling(temperature=0.0, top_k=3, stop=("#",), seed=5), sample=4)
    call = decoding.call("p", 9, ("\n",))
    assert isinstance(call.request, GenerateCall)
    assert call.request.sampling == Sampling(max_tokens=9, temperature=0.0, top_k=3, stop=("\n", "#"), seed=5)
    assert call.sample == 0, "greedy answers are one sample"
    sampled = decoding.as_sample(0.7, 2)
    assert sampled.call("p", 9).sample == 2
    assert sampled.sampling == Sampling(temperature=0.7, top_k=3, stop=("#",), seed=5)
