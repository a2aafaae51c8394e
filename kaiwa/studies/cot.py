"""Chain of thought at laptop size: a small model that is trained here on worked-out sums, and the effect of working
out.

Wei et al. (2022, section 3.3) took the technique apart on models of a hundred billion weights: the equation only, dots
in place of the reasoning, the reasoning after the answer. Below half a billion weights no effect can be seen in a model
of the web, but an effect appears in a model that was taught to work sums out. Here every arm had the same training,
questions and demonstrations, and differs only in the text before the answer. A sum of six numbers is five steps; a
small decoder has no room for five steps in one token, but one step a time is easy.

Stages: documents -> corpus -> tokenizer -> pretrain (all kept, none runs twice), then one experiment of the lab.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kaiwa.core.artifact import Artifact
from kaiwa.core.context import Context
from kaiwa.core.errors import UserError
from kaiwa.corpus import run as corpus
from kaiwa.corpus.config import CorpusConfig, Source
from kaiwa.lab.experiments.analysis import Analysis, analyse
from kaiwa.lab.experiments.experiment import Arm, Contrast, Experiment, register
from kaiwa.lab.experiments.run import run
from kaiwa.model.config import DecoderConfig
from kaiwa.pretrain import run as pretrain
from kaiwa.pretrain.config import PretrainConfig
from kaiwa.studies.cot_tasks import DEMOS, PAIRS, arms, documents, sums
from kaiwa.text.chat_model import OpenedModel
from kaiwa.text.records import write_jsonl
from kaiwa.tokenizer import run as tokenizer
from kaiwa.tokenizer.config import TokenizerConfig

ASKED = (2, 4, 6)  # numbers in the graded sums
CLAIMS = (
    ("answer alone", "chain of thought", "working it out helps (Wei 2022)"),
    ("equation only", "chain of thought", "… more than the equation"),
    ("dots", "chain of thought", "… more than as many dots"),
    ("reasoning after", "chain of thought", "… only before the answer"),
    ("answer alone", "dots", "more tokens alone help"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CoTConfig:
    """n: graded sums of each length. documents: for training, three questions each."""

    n: int = 200
    documents: int = 40_000
    steps: int = 1200
    d_model: int = 128
    n_layer: int = 4

    def __post_init__(self) -> None:
        most = PAIRS - DEMOS
        if not 1 <= self.n <= most:
            raise UserError(
                f"n is {self.n:,}; 1 to {most:,}, since there are {PAIRS:,} different sums of two numbers"
                f" and {DEMOS} are demonstrations"
            )

    def pretrain(self) -> PretrainConfig:
        shape = DecoderConfig(
            d_model=self.d_model, n_layer=self.n_layer, n_head=4, d_ff=self.d_model * 5 // 2, max_length=512
        )
        return PretrainConfig(
            model=shape,
            steps=self.steps,
            rows=16,
            microbatch=16,
            width=320,
            lr=3e-3,
            warmup=min(50, self.steps // 4),
            evaluate_every=max(1, self.steps // 4),
            compile=False,
        )


QUICK = CoTConfig(n=12, documents=400, steps=20, d_model=32, n_layer=1)


def experiment(config: CoTConfig, seed: int = 0) -> Experiment:
    tasks = tuple(sums(length, config.n, seed) for length in ASKED)
    registered_arms = tuple(Arm(name=name, technique=technique) for name, technique in arms().items())
    contrasts = tuple(Contrast(a=a, b=b, claim=claim) for a, b, claim in CLAIMS)
    return Experiment(name="chain of thought", tasks=tasks, arms=registered_arms, contrasts=contrasts, form="text")


def train(config: CoTConfig, ctx: Context, out: Path) -> Artifact:
    """Train the model that knows five ways to answer; its documents hold no graded sum. Finished stages are not run
    again."""
    graded = {item.input for task in experiment(config, ctx.seed).tasks for item in task.items}
    source = out / "sums.jsonl"
    out.mkdir(parents=True, exist_ok=True)
    write_jsonl(source, (d.to_json() for d in documents(config.documents, graded, ctx.seed)))
    corpus_config = CorpusConfig(sources=(Source(name="sums", path=f"records:{source}", trusted=True, language="en"),))
    text = corpus.run(corpus_config, ctx, out=out / "corpus")
    tokens = tokenizer.run(TokenizerConfig(vocab_size=280, chat_share=0.0), ctx, corpus=text, out=out / "tokenizer")
    return pretrain.run(config.pretrain(), ctx, tokens=tokens, out=out / "model")


def study(
    config: CoTConfig,
    ctx: Context,
    out: Path,
    open_model: Callable[[Path], OpenedModel],
    show: Callable[[int, int], None] = lambda done, total: None,
) -> Analysis:
    """Train if needed, ask every arm the same sums, and compare. Finished stages and cached calls are not repeated."""
    model = train(config, ctx, out)
    plan = experiment(config, ctx.seed)
    register(plan, out)
    opened = open_model(model.path)
    weights = f"{model.manifest['metrics']['parameters']:,} weights"
    outcomes = run(plan, opened.model, out / "calls.jsonl", identity=opened.identity, show=show, form="text")
    return analyse(plan, outcomes, f"a model of {weights} trained on worked-out sums")
