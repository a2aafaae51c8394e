"""The RLHF study as one HTML page in both languages: claims with their verdicts, arms, and four charts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from kaiwa.core.artifact import write_atomic
from kaiwa.report import figures
from kaiwa.report.curves import Series, plot
from kaiwa.report.forest import Row, forest
from kaiwa.report.html import Child, join, tag
from kaiwa.report.page import page
from kaiwa.report.table import share_cell, table, value_cell
from kaiwa.report.words import Words

STATES = {"replicated": "met", "not replicated": "short", "cannot tell": "open"}
WORDS: Mapping[str, Mapping[str, str]] = {
    "en": {
        "title": "InstructGPT's experiment at laptop size",
        "about": "Every arm starts from the same parents and answers the same {n} held-out prompts; a judge without noise,"
        " used nowhere in training, says which answer is better. {seeds} seed(s) from fine-tuning on; the bases are"
        " built once ({small:,} and {large:,} weights). Intervals are 95 %, bootstrapped over the people that prompts"
        " are about, in each seed apart; they say nothing of another village or another base.",
        "claims": "Claims", "claim": "claim", "source": "source", "verdict": "verdict", "figure": "figure",
        "replicated": "replicated", "not replicated": "not replicated", "cannot tell": "cannot tell",
        "arms": "Arms", "wins": "Wins against SFT, decided pairs", "arm": "arm", "win": "wins against SFT",
        "proxy": "proxy reward", "kl": "KL, nats", "bits": "bits per byte against base", "cloze": "cloze against base",
        "length": "tokens", "helpful": "helpful", "truthful": "truthful", "harmless": "harmless", "ended": "ended",
        "charts": "Charts", "over": "Over-optimisation: against a reward model that likes length",
        "over.about": "Change since the start, along one run without a KL penalty. Where gold parts from proxy, the policy"
        " pleases the reward model and nobody else.",
        "proxy.line": "proxy (the flawed reward model)", "gold.line": "gold (the judge)",
        "tax": "Alignment tax: bits per byte against base", "tax.about": "Of held-out text that RL never sees; 0 is the base.",
        "size": "Reward model: accuracy by number of comparisons", "size.about": "On comparisons kept aside.",
        "epoch": "Reward model: accuracy by epoch", "loss": "Reward model: loss by epoch",
        "epoch.about": "Where the two lines part, it learns its comparisons by heart.",
        "training": "training", "validation": "held out",
    },
    "ja": {
        "title": "InstructGPT の実験をノート PC の大きさで",
        "about": "どの条件も同じ親から始め、同じ {n} 個の検証用の問いに答えます。学習では使わない、揺れのない判定者がどちらの答えが"
        "良いかを決めます。微調整から先は乱数の種 {seeds} 個分、土台は一度だけ作ります（重み {small:,} 個と {large:,} 個）。"
        "区間は 95 % で、種ごとに、問いに出てくる人を単位とするブートストラップです。別の村や別の土台については何も言えません。",
        "claims": "主張", "claim": "主張", "source": "出典", "verdict": "判定", "figure": "数値",
        "replicated": "再現した", "not replicated": "再現しなかった", "cannot tell": "決められない",
        "arms": "条件", "wins": "SFT に対する勝率（引き分けを除く）", "arm": "条件", "win": "SFT への勝率",
        "proxy": "代理の報酬", "kl": "KL（ナット）", "bits": "土台とのビット毎バイトの差", "cloze": "土台との穴埋めの差",
        "length": "トークン数", "helpful": "役に立つ", "truthful": "正しい", "harmless": "害がない", "ended": "終わる",
        "charts": "図", "over": "過剰な最適化：長さを好む報酬モデルに対して",
        "over.about": "KL の罰なしの一回の学習で、始めからの変化。金の線が代理の線から離れるところで、方策は報酬モデルだけを喜ばせています。",
        "proxy.line": "代理（偏った報酬モデル）", "gold.line": "金（判定者）",
        "tax": "整合の税：土台とのビット毎バイトの差", "tax.about": "強化学習が見ない検証用の文章について。0 が土台です。",
        "size": "報酬モデル：比較の数と正解率", "size.about": "取り分けておいた比較について。",
        "epoch": "報酬モデル：エポックと正解率", "loss": "報酬モデル：エポックと損失",
        "epoch.about": "二つの線が離れるところから、比較を丸暗記しています。",
        "training": "学習", "validation": "検証",
    },
}  # fmt: skip
CLAIMS_JA = {
    "small_beats_large": "整合した小さなモデルは、何倍も大きな土台より好まれる",
    "small_beats_prompted": "……大きい方に例を見せても",
    "prompting_helps": "よく選んだ例示は土台の答えを良くする",
    "rl_beats_sft": "PPO-ptx は出発点の SFT より好まれる",
    "ppo_tax": "事前学習の勾配のない PPO は能力を損なう",
    "ptx_repairs": "事前学習の勾配はそれを埋め合わせる",
    "beta_does_not": "KL の罰を大きくしても埋め合わせられない。損失は PPO-ptx より大きいまま",
    "ptx_keeps_wins": "PPO-ptx は PPO とほぼ同じだけ好まれる（10 ポイントは下がらない）",
    "reward_overfits": "報酬モデルは 1 エポックを過ぎると過学習する",
    "more_comparisons": "比較が多いほど報酬モデルは良くなる",
    "over_optimised": "欠陥のある報酬モデルに対しては、代理の報酬が上がるのに人の満足は下がる",
}
TAXED = ("sft", "ppo_beta_0", "ppo_beta_small", "ppo_beta_large", "ppo_ptx_small", "ppo_ptx_tuned", "rloo", "dpo")


def write_page(study: Mapping[str, Any], out: Path) -> Path:
    """study.html beside study.json."""
    bodies = {language: body(study, language) for language in WORDS}
    write_atomic(out / "study.html", page(WORDS["en"]["title"], bodies, "en"))
    return out / "study.html"


def body(study: Mapping[str, Any], language: str) -> Markup:
    w = WORDS[language]
    parts: list[Child] = [tag("h1", w["title"]), tag("p", w["about"].format(**study["about"]), class_="lead")]
    parts.append(tag("section", tag("h2", w["claims"]), claims_table(study["claims"], language)))
    parts.append(tag("section", tag("h2", w["arms"]), win_forest(study["arms"], language), arms_table(study["arms"], w)))
    parts.append(tag("section", tag("h2", w["charts"]), tag("div", *charts(study, w), class_="curves")))
    return tag("div", *parts, class_="pieces")


def claims_table(claims: Sequence[Mapping[str, Any]], language: str) -> Markup:
    w = WORDS[language]
    rows: list[list[Child]] = []
    for claim in claims:
        told = [f"{f['what']}: {interval(f)}" for f in claim["figures"]]
        state = tag("td", tag("b", w[claim["verdict"]]), class_=STATES[claim["verdict"]])
        name = claim["claim"] if language == "en" else CLAIMS_JA[claim["name"]]
        rows.append([name, state, tag("td", join(told, "; ")), tag("td", claim["source"])])
    return table([w["claim"], w["verdict"], w["figure"], w["source"]], rows, class_="findings")


def interval(value: Mapping[str, Any]) -> str:
    if value["mean"] is None:
        return figures.NONE
    ends = "" if value["low"] is None else f" [{value['low']:.3f}, {value['high']:.3f}]"
    return f"{value['mean']:.3f}{ends}, n = {value['n']}"


def win_forest(arms: Sequence[Mapping[str, Any]], language: str) -> Markup:
    rows = [Row(arm["name"], arm["gold_win_rate"]) for arm in arms if arm["name"] != "sft"]
    return forest(WORDS[language]["wins"], rows, Words(language))


def arms_table(arms: Sequence[Mapping[str, Any]], w: Mapping[str, str]) -> Markup:
    rates = ("helpful", "truthful", "harmless", "ended")
    heads = [w[k] for k in ("arm", "win", "proxy", "kl", "bits", "cloze", "length", *rates)]
    rows: list[list[Child]] = []
    for arm in arms:
        plain = [arm["proxy_reward"], arm["kl"], arm["bits_per_byte_delta"], arm["cloze_delta"]]
        row: list[Child] = [arm["name"], share_cell(arm["gold_win_rate"]), *(value_cell(_sign(x)) for x in plain)]
        row += [value_cell(figures.number(arm["length"])), *(share_cell(arm[k]) for k in rates)]
        rows.append(row)
    return table(heads, rows)


def _sign(value: float | None) -> str:
    return figures.sign(value, 3)


def charts(study: Mapping[str, Any], w: Mapping[str, str]) -> list[Markup]:
    curves = study["curves"]
    along = sorted(curves["over_optimisation"], key=lambda p: float(p["root_kl"]))
    lines = [Series(w[f"{k}.line"], [(p["root_kl"], p[k]) for p in along]) for k in ("proxy", "gold")]
    made = [plot(w["over"], lines, w["over.about"], "√KL")]
    arms = {arm["name"]: arm for arm in study["arms"]}
    taxed = [
        Row(name, {"mean": arms[name]["bits_per_byte_delta"]}, int("ptx" in name)) for name in TAXED if name in arms
    ]
    most = max([abs(row.interval["mean"]) for row in taxed if row.interval and row.interval["mean"]], default=1.0) * 1.1
    made.append(
        tag("figure", tag("figcaption", w["tax"]), forest("", taxed, Words("en"), neutral=0.0, low=-most, high=most,
            show=_sign), tag("p", w["tax.about"], class_="small"), class_="curve")
    )  # fmt: skip
    points = [(p["comparisons"], p["accuracy"]["mean"]) for p in curves["reward_by_comparisons"]]
    made.append(plot(w["size"], [Series(w["validation"], points)], w["size.about"]))
    for name in ("accuracy", "loss"):
        both = [
            Series(w[kind], [(float(p["epoch"]), p[f"epoch_{kind}_{name}"]) for p in curves["reward_by_epoch"]])
            for kind in ("training", "validation")
        ]
        made.append(plot(w["epoch" if name == "accuracy" else "loss"], both, w["epoch.about"]))
    return made
