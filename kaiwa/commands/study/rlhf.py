"""kaiwa study rlhf: a test of InstructGPT's claims, each replicated or not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kaiwa.commands.console import make_context, table
from kaiwa.commands.options import read_options
from kaiwa.core.errors import UserError


@dataclass(kw_only=True)
class Options:
    """Test InstructGPT's claims, each replicated or not. After a stop, the same command continues.

    Arms: base, few-shot, a base of 8 times the size, SFT, PPO with three penalties, PPO-ptx with two weights, DPO,
    RLOO, best of N; over-optimisation; the reward model's learning curve. laptop: 3 seeds, about an hour on two cores;
    tiny --seeds 1: minutes, as a trial.
    """

    recipe: str = "laptop"  # tiny or laptop
    seeds: int = 3
    out: Path | None = None  # default: runs/studies/rlhf-RECIPE
    threads: int = 0  # 0: all cores
    device: str = ""  # cuda, cuda:1, mps or cpu (default: KAIWA_DEVICE, else the best there is)


def main(words: list[str]) -> None:
    """Run the study; print the arms and the verdict of each claim."""
    options = read_options(Options, "kaiwa study rlhf", words)
    name, seeds = options.recipe, options.seeds
    if seeds < 1:
        raise UserError(f"--seeds {seeds}: at least 1 is needed (3 for conclusions)")
    out = options.out or Path("runs") / "studies" / f"rlhf-{name}"
    ctx = make_context(threads=options.threads, device=options.device)
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
        figures = "; ".join(f"{f['what']} {interval(f)}" for f in claim["figures"])
        print(f"{claim['verdict']:<15} {claim['claim']} ({claim['source']}): {figures}")
    print(f"\nreport: {write_page(value, out)}")
