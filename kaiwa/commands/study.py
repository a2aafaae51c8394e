"""study: experiments across stages."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from kaiwa.commands.console import make_context, table
from kaiwa.commands.talk import read_words
from kaiwa.core.config import did_you_mean
from kaiwa.core.errors import UserError

if TYPE_CHECKING:
    from kaiwa.catalog.entries import Entry
    from kaiwa.text.chat_model import OpenedModel

USAGE = """usage: kaiwa study rlhf [--recipe tiny|laptop] [--seeds N] [--out DIR] [--threads N] [--device D]
       kaiwa study icl [--build DIR] [--models A,B,…] [--out DIR] [--quick] [--n N] [--steps N] [--seed S]
       kaiwa study cot [--out DIR] [--quick] [--n N] [--steps N] [--seed S]

rlhf  InstructGPT's claims, each replicated or not: base, few-shot, a base of 8 times the size, SFT, PPO with three
      penalties, PPO-ptx with two weights, DPO, RLOO, best of N; over-optimisation; the reward model's learning curve.
      laptop: 3 seeds, about an hour on two cores; tiny --seeds 1: minutes, to see it work. Goes on where it stopped.

icl   in-context learning by size: k = 0, 1, 2, 4, 8, 16 demonstrations; accuracy, log-loss, slope with its interval.
      Two small models are trained on the build's tokens, its base is the third, SmolLM2 comes along if it is installed.

cot   chain of thought at laptop size: a small model is trained on worked-out sums, and then asked with the working
      first, with the answer alone, and with the controls: equation only, dots, the working after the answer.

--build   a finished build (default: runs/laptop)
--models  these models instead (names from `kaiwa models`, folders), from small to large; nothing is trained
--quick   few items and hardly any training: to see how it works, too little to tell anything
"""


def study(words: list[str]) -> None:
    if not words or any(word in ("-h", "--help") for word in words):
        print(USAGE, end="")
        return
    studies = {"rlhf": rlhf, "icl": icl, "cot": cot}
    if words[0] not in studies:
        raise UserError(f"no study {words[0]!r}{did_you_mean(words[0], studies)}")
    studies[words[0]](words[1:])


def cot(words: list[str]) -> None:
    rest, options = read_words(words, {"out": str, "n": int, "steps": int, "seed": int}, ("quick",))
    if rest:
        raise UserError(f"unexpected {rest[0]!r}; see kaiwa study --help")
    import dataclasses

    from kaiwa.catalog.entries import read_entry
    from kaiwa.commands.lab_run import finish, plan_text
    from kaiwa.studies.cot import QUICK, CoTConfig, experiment
    from kaiwa.studies.cot import study as run

    quick = "quick" in options
    config = dataclasses.replace(
        QUICK if quick else CoTConfig(), **{name: options[name] for name in ("n", "steps") if name in options}
    )
    out = Path(options.get("out") or Path("runs") / "studies" / ("cot-quick" if quick else "cot"))
    ctx = make_context(seed=options.get("seed", 0), device="", logs=out / "logs")
    print(plan_text(experiment(config, ctx.seed)))

    def open_model(place: Path) -> OpenedModel:
        entry = read_entry(place, "worked-out sums")
        assert entry is not None
        return _opened(entry)

    finish(run(config, ctx, out, open_model), out)


def _opened(entry: Entry) -> OpenedModel:
    """Open a model on this machine that is asked in plain text."""
    from kaiwa.catalog.open_model import open_entry

    return replace(open_entry(entry), form="text")


def icl(words: list[str]) -> None:
    kinds: dict[str, type] = {"build": str, "models": str, "out": str, "n": int, "steps": int, "seed": int}
    rest, options = read_words(words, kinds, ("quick",))
    if rest:
        raise UserError(f"unexpected {rest[0]!r}; see kaiwa study --help")
    from kaiwa.studies.icl import ITEMS, QUICK_ITEMS, QUICK_STEPS, STEPS, train_sizes
    from kaiwa.studies.icl import study as run

    quick = "quick" in options
    out = Path(options.get("out") or Path("runs") / "studies" / ("icl-quick" if quick else "icl"))
    n = options.get("n", QUICK_ITEMS if quick else ITEMS)
    steps = options.get("steps", QUICK_STEPS if quick else STEPS)
    if n < 2 or steps < 1:
        raise UserError(f"--n {n} --steps {steps}: at least 2 items and 1 step are needed")
    from kaiwa.catalog.entries import find, read_entry, smollm2
    from kaiwa.core.artifact import open_artifact

    found: dict[str, Entry] = {}
    if "models" in options:
        for name in options["models"].split(","):
            found[name] = find(name)
    else:
        build = Path(options.get("build", "runs/laptop"))
        if not (build / "base").is_dir():
            raise UserError(f"{build}: no finished build; kaiwa build laptop, or give --build or --models")
        ctx = make_context(seed=options.get("seed", 0), device="", logs=out / "logs")
        places = train_sizes(ctx, open_artifact(build / "tokenizer", "tokenizer"), out, steps)
        for name, place in {**places, "own-large": build / "base"}.items():
            entry = read_entry(place, name)
            assert entry is not None
            found[name] = entry
        if (bundled := smollm2()) is not None:
            found[bundled.name] = bundled

    def open_model(name: str) -> OpenedModel:
        entry = found[name]
        print(f"asking {name}", file=sys.stderr)
        return _opened(entry)

    measured = run({name: e.parameters for name, e in found.items()}, open_model, out, n=n, seed=options.get("seed", 0))
    from kaiwa.studies.icl_report import WORDS, cells, write_icl_report

    for task in dict.fromkeys(m.task for m in measured):
        mine = [m for m in measured if m.task == task]
        print(f"\n{task}")
        print(table([list(WORDS["en"]["heads"]), *cells(mine)]))
    print(f"\nreport: {write_icl_report(measured, out)}")


def rlhf(words: list[str]) -> None:
    kinds: dict[str, type] = {"recipe": str, "seeds": int, "out": str, "threads": int, "device": str}
    rest, options = read_words(words, kinds, ())
    if rest:
        raise UserError(f"unexpected {rest[0]!r}; see kaiwa study --help")
    name, seeds = options.get("recipe", "laptop"), options.get("seeds", 3)
    if seeds < 1:
        raise UserError(f"--seeds {seeds}: at least 1 is needed (3 for an answer)")
    out = Path(options.get("out") or Path("runs") / "studies" / f"rlhf-{name}")
    ctx = make_context(threads=options.get("threads", 0), device=options.get("device", ""))
    from kaiwa.studies.rlhf import curves_of, study, write_study
    from kaiwa.studies.rlhf_claims import judge_claims
    from kaiwa.studies.rlhf_report import interval, write_page
    from kaiwa.studies.rlhf_sizes import size

    chosen = size(name)
    results = study(chosen, ctx, out, seeds)
    about = {"recipe": name, "seeds": seeds, "n": len(results.people), "faults": chosen.recipe.village.faults}
    about |= {"small": chosen.parameters(chosen.recipe.pretrain), "large": chosen.parameters(chosen.large)}
    value = write_study(results, judge_claims(results), curves_of(results), out, about)
    lines = [["arm", "wins vs sft", "proxy", "KL", "bits/byte", "cloze", "tokens"]]
    for arm in value["arms"]:
        numbers = [arm[k] for k in ("proxy_reward", "kl", "bits_per_byte_delta", "cloze_delta", "length")]
        lines.append([arm["name"], interval(arm["gold_win_rate"]), *(f"{x:.3f}" for x in numbers)])
    print(table(lines), end="\n\n")
    for claim in value["claims"]:
        told = "; ".join(f"{f['what']} {interval(f)}" for f in claim["figures"])
        print(f"{claim['verdict']:<15} {claim['claim']} ({claim['source']}): {told}")
    print(f"\nreport: {write_page(value, out)}")
