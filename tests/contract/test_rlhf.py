"""RLHF's promises beyond the contract, on the smallest chain: sizes, shared weights, memory, functions, presets."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from kaiwa.commands.select import main as select
from kaiwa.commands.stages.rlhf import main as rlhf_command
from kaiwa.core.artifact import Artifact, open_artifact
from kaiwa.core.config import override
from kaiwa.core.context import Context
from kaiwa.core.errors import UserError
from kaiwa.core.metrics import read_metrics
from kaiwa.evaluate.select import select as run_select
from kaiwa.model.config import DecoderConfig
from kaiwa.model.formats.hf_folder import load_decoder, load_scalar
from kaiwa.pretrain import run as pretrain
from kaiwa.recipes.instructgpt import NUMBERS, instructgpt, preset
from kaiwa.reward import run as reward
from kaiwa.rlhf import run as rlhf
from kaiwa.rlhf.config import RLHFConfig
from kaiwa.rlhf.memory import memory_parts, read_config
from kaiwa.rlhf.models import open_models
from kaiwa.sft import run as sft
from kaiwa.text.records import conversation, read_jsonl
from kaiwa.text.template import render
from kaiwa.tokenizer.config import TokenizerConfig
from kaiwa.tokenizer.tokenizer import Tokenizer
from kaiwa.tokenizer.train import save
from kaiwa.tokenizer.train import train as train_tokenizer
from tests.contract.smallest import RECIPE, STAGES

Chain = dict[str, Artifact]


def train(chain: Chain, config: RLHFConfig, out: Path, ctx: Context | None = None, **other: Any) -> Artifact:
    given: dict[str, Any] = {"policy": chain["sft"], "reward": chain["reward"], "tokens": chain["tokenizer"]}
    given |= {"prompts": chain["village"].path / "rlhf.jsonl"} | other
    return rlhf.run(config, ctx or Context(seed=1, logs=out.parent / "logs"), out=out, **given)


def test_the_reward_model_may_have_another_size_but_not_other_tokens(chain: Chain, tmp_path: Path) -> None:
    wide = DecoderConfig(d_model=48, n_layer=1, n_head=2, d_ff=64, max_length=128)
    config = replace(RECIPE.pretrain, model=wide, steps=2)
    base = pretrain.run(config, Context(seed=1), tokens=chain["tokenizer"], out=tmp_path / "base")
    comparisons = chain["comparisons"].path / "comparisons.jsonl"
    judge = reward.run(RECIPE.reward, Context(seed=1), policy=base, comparisons=comparisons, out=tmp_path / "reward")
    made = train(chain, RECIPE.adapter, tmp_path / "rlhf", reward=judge)
    assert load_decoder(made.path).config.d_model == 32
    assert load_scalar(judge.path).decoder.config.d_model == 48
    other = tmp_path / "other"
    other.mkdir()
    for file in judge.path.iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    words = json.loads((other / "tokenizer.json").read_text())
    vocabulary = words["model"]["vocab"]
    a, b = sorted(vocabulary, key=vocabulary.__getitem__)[300:302]
    vocabulary[a], vocabulary[b] = vocabulary[b], vocabulary[a]
    (other / "tokenizer.json").write_text(json.dumps(words))
    with pytest.raises(UserError, match="other tokens than"):
        train(chain, RECIPE.adapter, tmp_path / "again", reward=open_artifact(other))


def test_reference_is_the_adapter_switched_off_and_reward_the_shared_trunk_without_the_values_change(
    chain: Chain,
) -> None:
    models = open_models(RECIPE.adapter, Context(seed=1), chain["sft"], chain["reward"])
    plain, judge = load_decoder(chain["sft"].path), load_scalar(chain["reward"].path)
    assert models.value is not None
    assert models.value.decoder is models.reward.decoder  # type: ignore[union-attr]
    with torch.no_grad():
        for model in (models.policy, models.value):
            for name, p in model.named_parameters():
                if p.requires_grad:
                    p.add_(0.1)
                    assert name.endswith((".a", ".b", "score.weight"))
        ids = torch.arange(10)[None] + 20
        from kaiwa.model.attention import attend_rows

        given = (ids, torch.arange(10)[None], attend_rows(None))
        changed = models.policy(*given)
        with models.reference() as reference:
            torch.testing.assert_close(reference(*given), plain(*given), rtol=0, atol=0)
        assert not torch.allclose(changed, plain(*given))
        torch.testing.assert_close(models.policy(*given), changed, rtol=0, atol=0)
        with models.judge() as same:
            torch.testing.assert_close(same(*given), judge(*given), rtol=0, atol=0)
        assert not torch.allclose(models.value(*given), judge(*given))


def test_the_adapter_loads_in_peft(chain: Chain) -> None:
    folder = chain["adapter"].path / "adapter"
    settings = json.loads((folder / "adapter_config.json").read_text())
    assert settings["r"] == 2
    peft = pytest.importorskip("peft")
    transformers = pytest.importorskip("transformers")
    base = transformers.AutoModelForCausalLM.from_pretrained(chain["sft"].path)
    whole = transformers.AutoModelForCausalLM.from_pretrained(chain["adapter"].path)
    ids = torch.arange(10)[None] + 20
    torch.testing.assert_close(
        peft.PeftModel.from_pretrained(base, folder)(ids).logits, whole(ids).logits, atol=1e-4, rtol=1e-4
    )


@pytest.mark.parametrize("name", ["rlhf", "rloo", "grpo", "adapter"])
def test_after_a_kill_the_figures_are_those_of_an_uninterrupted_run(chain: Chain, name: str, tmp_path: Path) -> None:
    class Killed(BaseException):
        pass

    shown = 0

    def show(progress: object) -> None:
        nonlocal shown
        shown += 1
        if shown == 2:
            raise Killed

    logs = tmp_path / "logs"
    with pytest.raises(Killed):
        STAGES[name](Context(seed=1, show=show, checkpoint_seconds=0.0, logs=logs), tmp_path / name, chain, RECIPE)
    STAGES[name](Context(seed=1, logs=logs), tmp_path / name, chain, RECIPE)
    clock = {"time", "tokens_per_second"}
    mine, theirs = (
        [{k: v for k, v in row.items() if k not in clock} for row in read_metrics(folder / "logs" / f"{name}.jsonl")]
        for folder in (tmp_path, chain[name].path.parent)
    )
    assert mine == theirs


def test_memory_is_told_before_and_weights_are_counted_exactly(
    chain: Chain, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = read_config(chain["sft"].path), read_config(chain["reward"].path)
    for config in (RECIPE.rlhf, RECIPE.adapter, RECIPE.rloo):
        models = open_models(config, Context(seed=1), chain["sft"], chain["reward"])
        parts = {part.name: part.bytes for part in memory_parts(config, *sizes)}
        trained = sum(p.numel() for p in models.policy.parameters() if p.requires_grad)
        whole = sum(p.numel() for p in models.policy.parameters())
        assert parts["policy"] == 4 * whole + 12 * trained
        if models.value is not None:
            own = sum(p.numel() for p in models.value.parameters() if p.requires_grad)
            assert parts["value"] == 16 * own
    said: list[str] = []
    train(chain, replace(RECIPE.rlhf, updates=1), tmp_path / "told", Context(seed=1, say=said.append))
    told = [i for i, line in enumerate(said) if line.startswith("memory, at most")]
    assert len(told) == 1
    assert told[0] < next(i for i, line in enumerate(said) if "starts at KL 0" in line)
    longest, whole_context = (sum(p.bytes for p in memory_parts(RECIPE.rlhf, *sizes, n)) for n in (60, 0))
    assert longest < whole_context
    many = override(RECIPE.rlhf, {"ptx_rows": 512})  # they are walked by `microbatch`
    assert memory_parts(many, *sizes) == memory_parts(override(many, {"ptx_rows": many.microbatch}), *sizes)
    options = {"policy": "sft", "reward": "reward"}
    words = [w for name, key in options.items() for w in (f"--{name}", str(chain[key].path))]
    words += ["--prompts", str(chain["village"].path / "rlhf.jsonl"), "--out", str(tmp_path / "planned"), "--plan"]
    rlhf_command(words)
    assert "in all" in capsys.readouterr().out
    assert not (tmp_path / "planned").exists()


def test_a_function_needs_no_reward_model_and_its_text_is_a_parent(chain: Chain, tmp_path: Path) -> None:
    file = tmp_path / "rewards.py"
    file.write_text("def brevity(prompts, replies):\n    return [-len(r) for r in replies]\n")
    config = replace(RECIPE.adapter, score=f"{file}:brevity", updates=1, shared_trunk=False)
    made = train(chain, config, tmp_path / "out", reward=None, tokens=None)
    assert set(made.manifest["parents"]) == {"policy", "prompts", "score"}
    file.write_text("def brevity(prompts, replies):\n    return [0 / 0 for r in replies]\n")
    with pytest.raises(UserError, match="brevity, line 2: raised ZeroDivisionError"):
        train(chain, config, tmp_path / "out2", reward=None, tokens=None)
    assert not (tmp_path / "out2").exists()
    with pytest.raises(UserError, match="nothing says what is good"):
        train(chain, RECIPE.adapter, tmp_path / "out3", reward=None)
    with pytest.raises(UserError, match="ptx mixes pretraining text in"):
        train(chain, RECIPE.rlhf, tmp_path / "out4", tokens=None)


def test_prompts_that_leave_no_room_are_counted_and_left_out(chain: Chain, tmp_path: Path) -> None:
    rows = list(read_jsonl(chain["village"].path / "rlhf.jsonl"))
    file, said = tmp_path / "prompts.jsonl", list[str]()
    long = {"messages": [{"role": "user", "content": "far too long " * 40}]}
    file.write_text("".join(json.dumps(row) + "\n" for row in [rows[0], long, rows[1], long]))
    train(chain, replace(RECIPE.adapter, updates=1), tmp_path / "a", Context(seed=1, say=said.append), prompts=file)
    assert any("2 of 4 prompts are longer than 122 tokens, the first is record 2" in line for line in said)
    file.write_text(json.dumps(long) + "\n")
    with pytest.raises(UserError, match=r"1 of 1 prompts are longer .* none is left"):
        train(chain, replace(RECIPE.adapter, updates=1), tmp_path / "b", prompts=file)


def test_best_of_n_scores_above_the_mean_of_all(chain: Chain) -> None:
    rows = read_metrics(chain["best_of"].path.parent / "logs" / "best_of.jsonl")
    assert all(row["score"] >= row["score_of_all"] for row in rows)
    records = list(read_jsonl(chain["best_of"].path / "demonstrations.jsonl"))
    assert len(records) == chain["best_of"].metrics["prompts"] == 24
    assert all(r["messages"][-1]["role"] == "assistant" for r in records)


def test_every_epoch_of_sft_is_published_and_the_reward_model_chooses(
    chain: Chain, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    demos = chain["village"].path / "sft.jsonl"
    config = replace(RECIPE.sft, epochs=2, every_epoch=True, dropout=0.2)
    made = [
        sft.run(
            config,
            Context(seed=1),
            base=chain["base"],
            tokens=chain["tokenizer"],
            demonstrations=demos,
            out=tmp_path / name,
        )
        for name in ("a", "b")
    ]
    assert made[0].hash == made[1].hash  # dropout too is a function of the seed
    epochs = {n: load_decoder(made[0].path / "epochs" / n).state_dict() for n in ("1", "2")}
    last = load_decoder(made[0].path).state_dict()
    assert all(torch.equal(last[k], v) for k, v in epochs["2"].items())
    assert not all(torch.equal(last[k], v) for k, v in epochs["1"].items())
    given: dict[str, Any] = {"reward": chain["reward"], "prompts": chain["village"].path / "rlhf.jsonl"}
    found = run_select(
        {"1": made[0].path / "epochs/1", "2": made[0].path / "epochs/2"},
        Context(seed=1),
        most=12,
        max_tokens=8,
        **given,
    )
    assert found[0].score.mean >= found[1].score.mean
    words = [str(made[0].path), "--reward", str(chain["reward"].path), "--prompts", str(given["prompts"]), "--n", "4"]
    select(words)
    assert "epochs/2" in capsys.readouterr().out
    with pytest.raises(UserError, match="is a reward model, which says nothing"):
        run_select({"reward": chain["reward"].path}, Context(seed=1), **given)
    other = tmp_path / "other"
    shutil.copytree(made[0].path, other)
    save(train_tokenizer(["the thinner the better, other than this"] * 9, TokenizerConfig(vocab_size=270)), other)
    with pytest.raises(UserError, match="other tokens than"):
        run_select({"other": other}, Context(seed=1), **given)
    said: list[str] = []
    tokenizer = Tokenizer.load(made[0].path)
    asked = [conversation(row["messages"]) for row in read_jsonl(given["prompts"])]
    longest = max(len(render(tokenizer, messages, add_generation_prompt=True).ids) for messages in asked)
    room = read_config(made[0].path).max_length - longest + 1
    run_select({"1": made[0].path}, Context(seed=1, say=said.append), max_tokens=room, **given)
    assert any("left out, first record" in line for line in said)


@pytest.mark.parametrize("size", NUMBERS)
def test_the_papers_numbers(size: str) -> None:
    p = instructgpt(size)
    assert (p.sft.epochs, p.sft.dropout, p.ppo_init.epochs) == (16, 0.2, 2)
    assert (p.rlhf.penalty.kl_coefficient, p.rlhf.clip, p.rlhf.steps.ema, p.rlhf.pretraining.ptx_coefficient) == (
        0.02,
        0.2,
        0.992,
        27.8,
    )
    assert (p.rlhf.batch, p.rlhf.batch // p.rlhf.minibatches, p.rlhf.epochs) == (512, 64, 1)
    assert p.rlhf.updates * p.rlhf.batch == 256_000
    assert p.rlhf.pretraining.ptx_rows * p.rlhf.minibatches == 8 * p.rlhf.batch
    assert (p.reward.prompts, p.reward.epochs, p.reward.lr) == (64, 1, 9e-6)
    assert (p.collect.k_min, p.collect.k_max) == (4, 9)
    assert p.judge is NUMBERS["6b"].model
    assert preset(f"instructgpt-{size}", "rlhf") == p.rlhf
    assert preset(f"instructgpt-{size}-ppo-init", "sft") == p.ppo_init


def test_presets_on_the_command_line(chain: Chain, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "--policy",
        str(chain["sft"].path),
        "--prompts",
        str(chain["village"].path / "rlhf.jsonl"),
        "--out",
        str(tmp_path / "x"),
        "--plan",
    ]
    rlhf_command([*words, "--preset", "instructgpt-1.3b", "--method", "rloo", "--group", "4", "--max-tokens", "8"])
    assert "of 8 rows of text of 2048 tokens" in capsys.readouterr().out
    with pytest.raises(UserError, match="did you mean 'instructgpt-6b'"):
        rlhf_command([*words, "--preset", "instructgpt-6"])


def test_the_same_prompt_is_rendered_once_for_a_group(chain: Chain) -> None:
    """RLOO's group: the prompts of an update stand side by side, `group` times each."""
    from kaiwa.rlhf.run import make_loop

    given: dict[str, Any] = {"policy": chain["sft"], "reward": chain["reward"], "tokens": None}
    loop = make_loop(RECIPE.rloo, Context(seed=1), prompts=chain["village"].path / "rlhf.jsonl", **given)
    batch = loop.next_prompts()
    assert len(batch) == 8
    assert batch[0] == batch[3] != batch[4] == batch[7]
