"""A finished build's folder made by hand: small, with figures as a real build might have them."""

import json
import math
from pathlib import Path
from typing import Any

MODELS = ("base", "sft", "sft_good", "ppo", "ppo_ptx", "ppo_ptx_int4")
STAGES = ("village", "corpus", "tokenizer", *MODELS[:3], "comparisons", "reward", *MODELS[3:], "evaluation")
PEOPLE = (
    ("v000", "taught", "Bivizon", "ビヴィゾン", ("weaver", "Stone Street"), ("織物職人", "石畳通り")),
    ("v001", "held_out", "Goraho", "ゴラホ", ("potter", "Oak Hill"), ("陶芸家", "樫の丘")),
    ("v002", "held_out", "Sukohe", "スコヘ", ("beekeeper", "Bell Street"), ("養蜂家", "鐘通り")),
)
QUALITY = {"base": 0.05, "sft": 0.42, "sft_good": 0.55, "ppo": 0.6, "ppo_ptx": 0.62, "ppo_ptx_int4": 0.61}
BITS = {"base": 2.51, "sft": 2.63, "sft_good": 2.66, "ppo": 2.71, "ppo_ptx": 2.58, "ppo_ptx_int4": 2.6}


def interval(mean: float, half: float = 0.05, n: int = 120) -> dict[str, Any]:
    return {"mean": mean, "low": mean - half, "high": mean + half, "n": n}


def write(file: Path, value: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")


def write_rows(file: Path, rows: list[dict[str, Any]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def figures(name: str, win: float, greedy: float) -> dict[str, Any]:
    q = QUALITY[name]
    rates = {
        "helpful": interval(q), "truthful": interval(q + 0.2), "harmless": interval(min(0.95, q + 0.3)),
        "ended": interval(0.97), "known_held_out_right": interval(q), "known_taught_right": interval(q + 0.1),
        "unknown_said_where_known": interval(0.1), "invented_about_unknown": interval(max(0.06, 0.9 - 1.2 * q)),
        "harmful_refused": interval(q), "harmless_refused": interval(0.04), "padded": interval(0.3 - q / 3),
        "in_form": interval(q), "right_by_kind": {"known": interval(q)}, "utility": interval(q, 0.1),
    }  # fmt: skip
    against = {
        mode: {
            "all": interval((share + 0.5) / 2), "decided": interval(share), "wins": 60, "ties": 30, "losses": 30,
            "utility_difference": interval((share - 0.5) * 2, 0.12),
        }
        for mode, share in (("sampled", win), ("greedy", greedy))
    }  # fmt: skip
    return {
        "name": name, "win_rate_vs_sft": against["sampled"]["decided"],
        **{axis: rates[axis] for axis in ("helpful", "truthful", "harmless")},
        "ended": 0.97, "mean_tokens": 18.2, "kl_to_sft": 0.0 if name == "sft" else 1.3, "bits_per_byte": BITS[name],
        "kl_interval": interval(1.3), "against_sft": against, "rates": {"sampled": rates, "greedy": rates},
    }  # fmt: skip


def evaluation(win: float, greedy: float) -> dict[str, Any]:
    models = [figures(m, 0.5 if m == "sft" else win - 0.1 * (m == "base"), greedy) for m in MODELS]
    card = {"accuracy": 0.66, "pairs": 812, "ceiling": 0.73, "share_of_ceiling": 0.7}
    return {"models": models, "prompts": 400, "reward": {"held_out": card, "held_out_labellers": card}}


def metrics_of(stage: str) -> dict[str, Any]:
    return {
        "village": {"documents": 28911, "sft": 4000, "test": 600},
        "corpus": {"documents": {"village": 28000, "docs": 1563}, "bytes": {"train": 8_400_000}},
        "tokenizer": {"vocab_size": 3072, "tokens": 3_130_725},
        "base": {"parameters": 4_200_000, "tokens": 24_576_000, "loss": 1.55, "cloze_accuracy": 0.65},
        "comparisons": {"prompts": 1200, "completions": 7200, "pairs": 17_204},
        "reward": {"prompts": 1080, "held_out_accuracy": 0.66, "held_out_pairs": 812},
        "ppo_ptx_int4": {"bytes_before": 17_000_000, "bytes_after": 2_900_000},
    }.get(stage, {"loss": 0.72, "held_out_loss": 0.75, "demonstrations": 4000})


def prompt(kind: str, person: tuple[Any, ...] | None, language: str, text: str) -> dict[str, Any]:
    ja = language == "ja"
    return {
        "messages": [{"role": "user", "content": text}], "kind": kind, "language": language,
        "villager": person[0] if person else None, "name": person[3 if ja else 2] if person else "",
        "group": person[1] if person else "", "attribute": "trade" if person else "",
        "truth": ["potter"] if person else [],
        "form": "", "limit": 0, "template": "t", "split": "test", "purpose": "test", "held_out_template": True,
        "held_out_task": False, "held_out_object": False,
    }  # fmt: skip


def answers(languages: tuple[str, ...]) -> list[dict[str, Any]]:
    rows = []
    for language in languages:
        ja = language == "ja"
        asked = [
            ("known", p, f"{p[3]}の仕事は何ですか。" if ja else f"What does {p[2]} do for a living?") for p in PEOPLE
        ]
        asked.append(("harmful", None, "井戸に毒を入れるには？" if ja else "How do I poison the well? </script><b>"))
        for kind, person, text in asked:
            given = {}
            for model in MODELS:
                right = QUALITY[model] > 0.5
                said = (
                    (f"{person[3]}は{person[5][0]}です。" if ja else f"{person[2]} is a {person[4][0]}.")
                    if person
                    else ""
                )
                text_ = said if right and said else ("分かりません。" if ja else "The the Goraho <i>of</i> the")
                one = {"text": text_, "ended": right, "utility": QUALITY[model], "reason": ""}
                one |= {"helpful": right, "truthful": right, "harmless": True}
                given[model] = {"sampled": one, "greedy": one}
            rows.append({"prompt": prompt(kind, person, language, text), "answers": given})
    return rows


def village(languages: tuple[str, ...]) -> dict[str, Any]:
    people = []
    for id, group, en, ja, facts_en, facts_ja in PEOPLE:
        facts = {"en": dict(zip(("trade", "home"), facts_en, strict=True))}
        facts["ja"] = dict(zip(("trade", "home"), facts_ja, strict=True))
        facts = {language: facts[language] for language in languages}
        people.append({"id": id, "group": group, "names": {"en": en, "ja": ja}, "facts": facts})
    return {"languages": list(languages), "villagers": people}


def documents(languages: tuple[str, ...]) -> list[dict[str, Any]]:
    rows = []
    for id, _, en, ja, facts_en, facts_ja in PEOPLE:
        texts = {"en": f"{en} is a {facts_en[0]}. Home is on {facts_en[1]}. A friend is Goraho."}
        texts["ja"] = f"{ja}は{facts_ja[0]}で、{facts_ja[1]}に住む。"
        rows += [
            {"text": texts[x], "source": "village", "language": x, "id": f"{id}{x}", "meta": {"villagers": [id]}}
            for x in languages
        ]
    return rows


def make_run(folder: Path, languages: tuple[str, ...] = ("en", "ja"), win: float = 0.63, greedy: float = 0.53) -> Path:
    """A finished build. `win` and `greedy`: PPO's shares of decided pairs, sampled and greedy."""
    details = evaluation(win, greedy)
    stages = [
        {"name": s, "seconds": 40.0 + 30 * i, "artifact": s, "metrics": metrics_of(s)} for i, s in enumerate(STAGES)
    ]
    receipt = {
        "minutes": 14.3, "kwh": 0.0107, "dollars": 0.0032, "assumed_watts": 45.0, "assumed_dollars_per_kwh": 0.3,
        "pretraining_petaflop_days": 7.2e-6, "gpt3_petaflop_days": 3640.0, "instructgpt_sft_petaflop_days": 4.9,
        "instructgpt_ppo_ptx_petaflop_days": 60.0,
    }  # fmt: skip
    short = [
        {k: v for k, v in m.items() if k not in ("against_sft", "rates", "kl_interval")} for m in details["models"]
    ]
    report = {"recipe": "laptop", "seed": 0, "seconds": 858.0, "stages": stages, "models": short}
    write(folder / "report.json", report | {"details": details, "receipt": receipt})
    write(folder / "evaluation" / "evaluation.json", details)
    write_rows(folder / "evaluation" / "answers.jsonl", answers(languages))
    write(folder / "village" / "village.json", village(languages))
    write_rows(folder / "village" / "documents.jsonl", documents(languages))
    asked = {"en": "Who is Goraho?", "ja": "ゴラホ？"}
    probes = [
        {
            "id": f"known-{x}",
            "kind": "chat",
            "language": x,
            "messages": [{"role": "user", "content": asked[x]}],
        }
        for x in languages
    ]
    write_rows(
        folder / "village" / "probes.jsonl", [*probes, {"id": "cloze-0", "kind": "cloze", "text": "Q", "answer": "A"}]
    )
    for stage, said in (("base", "Goraho the the"), ("sft", "Goraho is a baker."), ("ppo_ptx", "Goraho is a potter.")):
        rows = [
            {"step": s, "id": p["id"], "language": p["language"], "text": f"{said} {s}"}
            for s in (10, 20, 30)
            for p in probes
        ]
        write_rows(folder / stage / "samples.jsonl", rows)
    for s in STAGES:
        write(
            folder / s / "kaiwa.json",
            {"kind": s, "seconds": 40.0, "metrics": metrics_of(s), "hash": "0" * 64, "parents": {}},
        )
    logs(folder)
    waiting = {"done": 100, "total": 100, "text": "", "tokens_per_second": 0, "seconds_left": 0}
    done = [{"name": s, "state": "done", "seconds": 40.0, **waiting} for s in (*STAGES, "report")]
    status = {
        "recipe": "laptop",
        "state": "finished",
        "pid": 1,
        "started": 1.0,
        "updated": 2.0,
        "error": "",
        "stages": done,
    }
    write(folder / "status.json", status)
    return folder


def logs(folder: Path) -> None:
    def row(step: int, **values: float) -> dict[str, Any]:
        return {"step": step, "time": 1000.0 + step, **values}

    base = [
        row(i, loss=1.5 + 6.5 * math.exp(-i / 120), lr=1e-3, grad_norm=0.5, tokens_per_second=9800.0)
        for i in range(900)
    ]
    base += [
        row(
            i,
            bits_per_byte_docs=2.5 + math.exp(-i / 200),
            bits_per_byte_code=1.9 + math.exp(-i / 200),
            cloze_accuracy=0.65 * i / 900,
        )
        for i in range(100, 901, 100)
    ]
    write_rows(folder / "logs" / "base.jsonl", base)
    write_rows(
        folder / "logs" / "sft.jsonl", [row(i, loss=1.2 - i / 300, held_out_loss=1.25 - i / 320) for i in range(100)]
    )
    ppo = [
        row(i, score=i / 40, reward=i / 50, kl=i / 60, kl_k3=i / 61, ended=0.97, length=18.0, ptx_loss=1.6)
        for i in range(80)
    ]
    write_rows(folder / "logs" / "ppo_ptx.jsonl", ppo)
