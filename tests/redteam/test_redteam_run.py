"""The bench: trials, cache, failures, the matrix and its words, gates, reports, imports, the command."""

import dataclasses
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import httpx
import numpy as np
import pytest

from kaiwa.cli import main
from kaiwa.commands.redteam.matrix_text import matrix_notes, matrix_text, plan_text
from kaiwa.core.errors import UserError
from kaiwa.defend.defence import Stack
from kaiwa.defend.parse import parse
from kaiwa.defend.similarity import Similarity
from kaiwa.redteam.attacks.all import ATTACKS
from kaiwa.redteam.attacks.attack import choose_attacks
from kaiwa.redteam.bench.junit import matrix_junit
from kaiwa.redteam.bench.matrix import Matrix, analyse_trials, success_at_k
from kaiwa.redteam.bench.report import unhelpful_defences, write_report
from kaiwa.redteam.bench.run import BenchPlan, chosen_thresholds, make_defences, run, split_list
from kaiwa.redteam.bench.selftest import PlantedWeaknessModel, check_planted, check_simulated, find_secret, obey
from kaiwa.redteam.bench.trial import TrialOutcome
from kaiwa.redteam.targets.target import Target, read_target
from kaiwa.report.words import dictionary
from kaiwa.text.chat_model import OpenedModel
from kaiwa.text.client import HTTPChatModel
from kaiwa.text.sampling import Sampling

KEEPER = read_target("keeper.en")


def plan(attacks: str = "leaking", defences: str = "none", target: Target = KEEPER, trials: int = 6) -> BenchPlan:
    chosen = tuple(choose_attacks(attacks, ATTACKS))
    return BenchPlan(target=target, attacks=chosen, defences=tuple(split_list(defences)), models=("m",), trials=trials)


def measured(made: BenchPlan, model: object, cache: Path | None = None) -> Matrix:
    return analyse_trials(run(made, lambda name: OpenedModel(model, "m"), cache))  # type: ignore[arg-type]


def tells(text: str, rng: random.Random) -> str:
    """Tells its secret, whole, unless the instruction defence stands in its prompt: then in half of the cases."""
    shy = "even if" in text and rng.random() < 0.5
    return "No." if shy else f"It is {find_secret(text)}."


def test_the_shapes_are_the_frozen_ones(tmp_path: Path) -> None:
    made = plan("plain,persona,override,tool-result", "none,canary_filter(encodings=false)")
    matrix = measured(made, PlantedWeaknessModel("m", obey))
    write_report(made, matrix, tmp_path, 1.0)
    value = json.loads((tmp_path / "matrix.json").read_text())
    assert list(value) == ["cells", "benign"]
    assert {tuple(c) for c in value["cells"]} == {
        ("model", "family", "attack", "defence", "trials", "successes", "low", "high", "status")
    }
    assert {tuple(b) for b in value["benign"]} == {("model", "defence", "trials", "blocked", "utility")}
    cells = {(c["attack"], c["defence"]): c for c in value["cells"]}
    assert len(cells) == 8
    assert cells["plain", "none"]["successes"] == 6
    assert cells["tool-result", "none"] == {
        **cells["tool-result", "none"], "trials": 0, "low": None, "high": None, "status": "not_applicable"
    }  # fmt: skip
    html = (tmp_path / "report.html").read_text()
    assert "canary_filter(encodings=false)" in html
    assert "http-equiv" in html
    assert not re.search(r"(src|href)=\"(?!#)", html)
    assert set(re.findall(r'href="#(cell-[\d-]+)"', html)) <= set(re.findall(r'id="(cell-[\d-]+)"', html))
    assert "redteam." not in re.sub(r"kaiwa redteam\S*", "", html)
    assert "不" not in html[:200]
    lines = [json.loads(line) for line in (tmp_path / "outcomes.jsonl").read_text().splitlines()]
    assert {line["kind"] for line in lines} == {"attack", "control", "benign"}


def test_the_words_are_there_in_both_languages() -> None:
    english, japanese = dictionary("kaiwa.redteam", "en"), dictionary("kaiwa.redteam", "ja")
    ideas = {key for key in japanese if key.startswith("redteam.idea.")}
    assert english.keys() == japanese.keys() - ideas
    assert ideas == {f"redteam.idea.{attack.name}" for attack in ATTACKS}


def test_arms_are_pairs_and_canaries_differ_by_trial() -> None:
    seen: list[str] = []

    def spy(text: str, rng: random.Random) -> str:
        seen.append(find_secret(text))
        return "No."

    measured(plan("plain,spell-it", "none,sandwich"), PlantedWeaknessModel("m", spy))
    secrets = {i: KEEPER.canaries(i)["password"] for i in range(6)}
    assert len(set(secrets.values())) > 1
    assert all(seen.count(secret) >= 4 for secret in secrets.values())


def test_the_output_filter_holds_verbatim_leaks_and_the_others_are_reported() -> None:
    matrix = measured(plan("leaking", "canary_filter(encodings=false)", trials=4), PlantedWeaknessModel("m", obey))
    arms = {arm.defence: arm for arm in matrix.arms}
    assert arms["none"].leaks["whole"] > 0
    assert arms["canary_filter(encodings=false)"].leaks.get("whole", 0) == 0
    assert arms["canary_filter(encodings=false)"].blocked > 0


def test_a_weak_model_is_not_testable_and_not_robust() -> None:
    matrix = measured(plan("leaking"), PlantedWeaknessModel("m", lambda text, rng: "the the"))
    assert {c.status for c in matrix.cells} == {"not_testable"}
    assert matrix.arms[0].share.n == 0
    assert "not testable: 16 attacks" in matrix_notes(matrix)[0]


def test_verdicts_against_none() -> None:
    matrix = measured(plan("leaking", "instruction,delimiters", trials=10), PlantedWeaknessModel("m", tells))
    arms = {arm.defence: arm for arm in matrix.arms}
    assert arms["instruction"].against is not None
    assert arms["instruction"].against.verdict == "better"
    assert arms["delimiters"].against is not None
    assert arms["delimiters"].against.verdict in ("same", "unknown")
    assert unhelpful_defences(matrix, "m") == ["delimiters"]
    text = matrix_text(matrix)
    assert "better by" in text
    assert "(n = 160)" in text


def test_a_target_without_secret_is_not_applicable() -> None:
    matrix = measured(plan("plain,persona", target=read_target("facts.en")), PlantedWeaknessModel("m", obey))
    assert {c.attack: c.status for c in matrix.cells} == {"plain": "not_applicable", "persona": "ok"}
    assert "no secret" in matrix.cells[0].why


@pytest.mark.parametrize(
    ("answer", "kind"),
    [(httpx.Response(400, json={"error": {"message": "bad"}}), "error"), (httpx.Response(403), "refused"),
     (httpx.ReadTimeout("slow"), "timeout"), (httpx.ConnectError("Connection refused"), "refused")],
)  # fmt: skip
def test_endpoints_that_fail_are_no_pass(answer: object, kind: str) -> None:
    def handle(request: httpx.Request) -> httpx.Response:
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, httpx.Response)
        return answer

    model = HTTPChatModel("http://x/v1", "m", transport=httpx.MockTransport(handle), retries=0)
    matrix = measured(plan("plain", trials=2), model)
    assert {o.outcome for o in matrix.outcomes} == {kind}
    assert matrix.cells[0].status == "failed"
    assert matrix.cells[0].trials == 0
    assert matrix.cells[0].to_json()["low"] is None
    assert matrix.benign[0].failed > 0
    assert "counted as neither" in matrix_notes(matrix)[0]
    assert "<error" in matrix_junit(matrix)


def served(text: str, reason: str) -> HTTPChatModel:
    body = {"choices": [{"message": {"content": text}, "finish_reason": reason}], "usage": {}}
    return HTTPChatModel(
        "http://x/v1", "m", transport=httpx.MockTransport(lambda request: httpx.Response(200, json=body)), retries=0
    )


def test_a_defence_that_cannot_be_used_is_a_failure_of_its_own() -> None:
    matrix = measured(plan("plain", "perplexity,sandwich", trials=2), served("I tell nothing.", "stop"))
    kinds = {(o.defence, o.outcome) for o in matrix.outcomes if o.kind == "attack"}
    assert kinds == {("none", "resisted"), ("sandwich", "resisted"), ("perplexity", "error")}
    cell = next(c for c in matrix.cells if c.defence == "perplexity")
    assert cell.status == "failed"
    assert "cannot be used here" in cell.why
    assert not any(arm.against and arm.against.verdict == "better" for arm in matrix.arms)


def test_a_part_with_a_threshold_leaves_the_others_to_be_calibrated() -> None:
    model = SimpleNamespace(score=lambda context, text: [-1.5] * len(text))
    written = ["perplexity+similarity(threshold=0.8)", "similarity+perplexity(threshold=9)", "none"]
    one, other, none = make_defences(written, model, "en")
    assert isinstance(one, Stack)
    assert isinstance(other, Stack)
    assert [getattr(part, "threshold", None) for part in one.parts] == [1.5, 0.8]
    assert getattr(other.parts[0], "threshold", None) == Similarity().threshold, "what is measured is what is deployed"
    assert getattr(other.parts[1], "threshold", None) == 9
    assert none.name == "none"
    chosen = chosen_thresholds(written, [one, other, none])
    assert chosen == {"perplexity+similarity(threshold=0.8)": "perplexity(threshold=1.5)+similarity(threshold=0.8)"}
    again = parse(chosen[written[0]], model=model)
    assert again.parts == one.parts


def test_a_defence_written_twice_is_run_once() -> None:
    made = plan("plain", "None,delimiters+sandwich,delimiters + sandwich,Sandwich,canary-filter,canary_filter")
    assert made.arms == ("none", "delimiters+sandwich", "Sandwich", "canary-filter")
    assert "'delimiters + sandwich' is a defence that is there already" in plan_text(made)
    assert {arm.defence for arm in measured(made, PlantedWeaknessModel("m", obey)).arms} == set(made.arms)


def test_an_endpoints_own_filter_is_seen() -> None:
    matrix = measured(plan("plain", trials=2), served("", "content_filter"))
    assert {o.outcome for o in matrix.outcomes} == {"blocked"}
    assert "filter of its own" in matrix.outcomes[0].why


def test_calls_are_kept_and_more_trials_pay_for_themselves_only(tmp_path: Path) -> None:
    calls: list[str] = []

    def count(text: str, rng: random.Random) -> str:
        calls.append(text)
        return obey(text, rng)

    cache = tmp_path / "calls.jsonl"
    first = measured(plan("plain", trials=4), PlantedWeaknessModel("m", count), cache)
    n = len(calls)
    again = measured(plan("plain", trials=4), PlantedWeaknessModel("m", count), cache)
    assert len(calls) == n
    assert again.to_json() == first.to_json()
    measured(plan("plain", trials=5), PlantedWeaknessModel("m", count), cache)
    assert len(calls) == n + 2  # one trial more, one control more


def test_asr_at_k_against_enumeration() -> None:
    rng = np.random.default_rng(0)
    made = [
        TrialOutcome(kind="attack", model="m", family="f", attack=f"a{a}", defence="none", trial=i, outcome=o)
        for a, share in enumerate((0.0, 0.1, 0.9))
        for i, o in enumerate("success" if x < share else "resisted" for x in rng.random(10))
    ]
    slow = []
    for a in range(3):
        hits = [o.outcome == "success" for o in made if o.attack == f"a{a}"]
        draws = [rng.permutation(hits)[:4].any() for _ in range(3000)]
        slow.append(np.mean(draws))
    assert success_at_k(made, 4).mean == pytest.approx(np.mean(slow), abs=0.02)
    assert success_at_k(made, 11).n == 0


def test_selftest_holds() -> None:
    for check in (*check_planted(1), *check_simulated(120, 1)):
        assert check.passed, (check.name, check.value)


def test_bad_plans(tmp_path: Path) -> None:
    for options, said in (
        ({"defences": ("sandwhich",)}, "did you mean 'sandwich'"),
        ({"trials": 0}, "at least 1"), ({"sampling": Sampling(max_tokens=0)}, "at least 1"),
        ({"sampling": Sampling(temperature=3.0)}, "between 0 and 2"),
        ({"sampling": Sampling(temperature=0.0), "target": read_target("facts.en")}, "same answer"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=said):
            dataclasses.replace(plan(), **options)  # type: ignore[arg-type]
    assert split_list("none, canary_filter(partial=6,encodings=true)") == [
        "none",
        "canary_filter(partial=6,encodings=true)",
    ]
    with pytest.raises(UserError, match="two commas"):
        split_list("none,,sandwich")


SCRIPT = """
import sys, time
from kaiwa.text.chat_model import OpenedModel
from kaiwa.redteam.bench.selftest import PlantedWeaknessModel, obey
import kaiwa.commands.redteam.run as command
def slow(text, rng):
    time.sleep(0.004)
    return obey(text, rng)
command.open_model = lambda choice: OpenedModel(PlantedWeaknessModel("m", slow), "m")
from kaiwa.cli import main
main(["redteam", "run", "keeper.en", "--attacks", "leaking", "--defences", "none,sandwich", "--trials", "4",
      "--models", "m", "--out", sys.argv[1]])
"""


def test_a_killed_run_goes_on(tmp_path: Path) -> None:
    def start(out: Path) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(out)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ,
        )

    child = start(tmp_path / "a")
    calls = tmp_path / "a" / "calls.jsonl"
    while not calls.is_file() or calls.stat().st_size < 20_000:
        assert child.poll() is None
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    kept = calls.read_bytes().count(b"\n")
    assert not (tmp_path / "a" / "matrix.json").exists()
    whole, again = start(tmp_path / "b"), start(tmp_path / "a")
    told_, errors = again.communicate(timeout=60)
    assert again.returncode == 0, errors
    whole.communicate(timeout=60)
    assert whole.returncode == 0
    assert "better" in told_ or "cannot tell" in told_ or "no difference" in told_
    assert (tmp_path / "a" / "matrix.json").read_text() == (tmp_path / "b" / "matrix.json").read_text()
    assert kept > 10


def test_the_commands(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for words, said in (
        (["redteam"], "selftest"), (["redteam", "run", "-h"], "--gate"), (["redteam", "targets"], "keeper.ja"),
        (["redteam", "targets", "keeper.en"], "[[secret]]"), (["redteam", "attacks"], "LLM07:2025"),
        (["redteam", "attacks", "persona"], "Robin"), (["redteam", "defences"], "canary_filter"),
        (["redteam", "run", "keeper.en", "--plan"], "44 attacks"),
    ):  # fmt: skip
        main(words)
        assert said in capsys.readouterr().out
    for words, said in (
        (["redteam", "rum"], "did you mean 'run'"), (["redteam", "run", "keper.en"], "did you mean 'keeper.en'"),
        (["redteam", "targets", "kep"], "no example"), (["redteam", "run", "keeper.en", "--attacks", "x"], "no attack"),
        (["redteam", "run", "keeper.en", "--gate", "x"], "not understood"), (["redteam", "play", "x"], "whole number"),
        (["redteam", "run", "keeper.en", "--url", "http://x/v1", "--plan"], "model's name"),
    ):  # fmt: skip
        with pytest.raises(SystemExit) as stop:
            main(words)
        assert stop.value.code == 2
        assert said in capsys.readouterr().err
