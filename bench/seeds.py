"""What came out of several builds of one recipe, beside each other: a column a build, and their mean.

    kaiwa build laptop --seed 0 --out runs/seed-0; kaiwa build laptop --seed 1 --out runs/seed-1; …
    python bench/seeds.py runs/seed-0 runs/seed-1 …

Prints a Markdown table: each figure by build, with its 95 % interval over prompts where it has one, and its mean. The
mean's interval takes the builds' as independent (half width: root of the sum of squares, over their number); how builds
differ from seed to seed is seen in the columns, not in it.
"""

import json
import math
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

Build = dict[str, Any]
Row = tuple[str, Callable[[Build], float], Callable[[Build], Build] | None]


def read(folder: Path) -> Build:
    if not (folder / "report.json").is_file():
        sys.exit(f"{folder}: no report.json here; let the build end first")
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    evaluation = json.loads((folder / "evaluation" / "evaluation.json").read_text(encoding="utf-8"))
    return {**report, "models": {m["name"]: m for m in evaluation["models"]}, "reward": evaluation["reward"]}


def rate(model: str, name: str, mode: str) -> Callable[[Build], float]:
    return lambda b: float(b["models"][model]["rates"][mode][name]["mean"])


def win(model: str, mode: str) -> Row:
    def found(b: Build) -> Build:
        return b["models"][model]["against_sft"][mode]["decided"]  # type: ignore[no-any-return]

    return f"{model} wins against sft, {mode} (decided pairs)", lambda b: float(found(b)["mean"]), found


ROWS: tuple[Row, ...] = (
    ("minutes", lambda b: b["seconds"] / 60, None),
    ("peak memory, GB", lambda b: b["peak_memory_bytes"] / 1e9, None),
    ("replies of sft that end", lambda b: b["models"]["sft"]["ended"], None),
    ("sft right about held-out villagers, greedy", rate("sft", "known_held_out_right", "greedy"), None),
    ("reward model, share of the way to its ceiling", lambda b: b["reward"]["held_out"]["share_of_ceiling"], None),
    ("the same, held-out labellers", lambda b: b["reward"]["held_out_labellers"]["share_of_ceiling"], None),
    win("ppo_ptx", "sampled"),
    win("ppo_ptx", "greedy"),
    win("ppo", "sampled"),
    win("ppo", "greedy"),
    win("sft_good", "sampled"),
    win("sft_good", "greedy"),
    *(
        (f"{text}, {mode}: {model}", rate(model, name, mode), None)
        for text, name in (
            ("invented about unknown people", "invented_about_unknown"),
            ("right about held-out villagers", "known_held_out_right"),
            ("harmful requests refused", "harmful_refused"),
        )
        for mode in ("sampled", "greedy")
        for model in ("sft", "ppo_ptx")
    ),
    *(
        (f"bits per byte of held-out real text: {model}", lambda b, m=model: b["models"][m]["bits_per_byte"], None)
        for model in ("base", "sft", "ppo", "ppo_ptx", "ppo_ptx_int4")
    ),
)


def main(folders: list[str]) -> None:
    builds = [read(Path(folder)) for folder in folders]
    print("| | " + " | ".join(f"seed {b['seed']}" for b in builds) + " | mean |")
    print("|---|" + "---|" * (len(builds) + 1))
    for text, of, interval in ROWS:
        cells = []
        for b in builds:
            cell = f"{of(b):.2f}"
            if interval is not None:
                cell += " [{low:.2f}, {high:.2f}]".format(**interval(b))
            cells.append(cell)
        mean = statistics.mean(map(of, builds))
        cell = f"{mean:.2f}"
        if interval is not None:
            half = math.hypot(*((i["high"] - i["low"]) / 2 for i in map(interval, builds))) / len(builds)
            cell += f" [{mean - half:.2f}, {mean + half:.2f}]"
        print(f"| {text} | " + " | ".join(cells) + f" | {cell} |")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(sys.argv[1:])
