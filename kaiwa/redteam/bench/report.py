"""The report of a run: one self-contained HTML in both languages, matrix.json, summary.json, outcomes.jsonl."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from kaiwa.core.artifact import write_atomic
from kaiwa.lab.experiments.verdicts import points_text, verdict_text
from kaiwa.redteam.bench.adaptive import AdaptiveResult, by_defence, marks, strength
from kaiwa.redteam.bench.heat import BenignCost, HeatCell, attack_heat_map
from kaiwa.redteam.bench.matrix import AT, NONE, Cell, DefenceResult, Matrix
from kaiwa.redteam.bench.other_tools import ImportedResult
from kaiwa.redteam.bench.trial import TrialOutcome
from kaiwa.redteam.oracles.leaks import FORMS
from kaiwa.report import figures
from kaiwa.report.html import Child, join, tag
from kaiwa.report.page import page
from kaiwa.report.table import share_cell, table, value_cell
from kaiwa.report.words import LANGUAGES, Words
from kaiwa.stats.intervals import Interval
from kaiwa.text.records import write_jsonl

if TYPE_CHECKING:
    from kaiwa.redteam.bench.run import BenchPlan

TRANSCRIPTS_PER_CELL = 5  # transcripts of a cell
MAX_CHARACTERS = 600  # characters of a turn
ORDER = ("success", "error", "timeout", "refused", "blocked", "resisted")


def write_report(
    plan: BenchPlan,
    matrix: Matrix,
    out: Path,
    seconds: float,
    imported: Sequence[ImportedResult] = (),
    *,
    adaptive: Sequence[AdaptiveResult] = (),
) -> Path:
    """Write the run's files; return the HTML's path. matrix.json has the fixed shape only; summary.json has all the
    rest. adaptive: results of attackers that adapt, for the report's column."""
    out.mkdir(parents=True, exist_ok=True)
    write_jsonl(out / "outcomes.jsonl", (outcome.to_json() for outcome in matrix.outcomes))
    write_atomic(out / "matrix.json", json.dumps(matrix.to_json(), ensure_ascii=False, indent=1))
    write_atomic(out / "summary.json", json.dumps(summary(plan, matrix, seconds), ensure_ascii=False, indent=1))
    bodies = {language: body(plan, matrix, language, imported, adaptive) for language in LANGUAGES}
    html = page(f"{plan.target.name} · red team · kaiwa", bodies, plan.target.language, transcripts(matrix))
    write_atomic(out / "report.html", html)
    return out / "report.html"


def against_text(arm: DefenceResult, language: str = "en") -> str:
    """Return a defence's verdict against none: "better by 12.0 points (n = 800)"; "–" for the undefended arm."""
    if arm.against is None:
        return figures.NONE
    return f"{verdict_text(arm.against, language)} (n = {arm.against.n:,})"


def unhelpful_defences(matrix: Matrix, model: str) -> list[str]:
    """Return the defences without a proven reduction of attack success."""
    return [a.defence for a in matrix.arms if a.model == model and a.against and a.against.verdict != "better"]


def summary(plan: BenchPlan, matrix: Matrix, seconds: float) -> dict[str, Any]:
    return {
        "plan": plan.plan_json(),
        "seconds": round(seconds, 1),
        "arms": [_arm_json(arm) for arm in matrix.arms],
        "controls": [
            {"model": c.model, "attack": c.attack, **c.control.to_json()} for c in matrix.cells if c.defence == NONE
        ],
        "tags": {a.name: {"owasp": a.owasp, "atlas": a.atlas, "idea": a.idea} for a in plan.attacks},
        "not_helping": {m: unhelpful_defences(matrix, m) for m in dict.fromkeys(a.model for a in matrix.arms)},
    }


def _arm_json(arm: DefenceResult) -> dict[str, Any]:
    comparison = arm.against
    against = None
    if comparison is not None:
        against = {
            "n": comparison.n,
            **{k: v for k, v in comparison.difference.to_json().items() if k != "n"},
            "p_holm": arm.p_holm,
            "verdict": comparison.verdict,
            "told": {language: verdict_text(comparison, language) for language in LANGUAGES},
        }
    return {
        "model": arm.model,
        "defence": arm.defence,
        "success": arm.share.to_json(),
        "families": {name: share.to_json() for name, share in arm.families.items()},
        "asr_at": {str(k): share.to_json() for k, share in arm.at.items()},
        "against_none": against,
        "leaks": dict(arm.leaks),
        "blocked": arm.blocked,
        "failed": arm.failed,
        "tokens": None if arm.tokens != arm.tokens else round(arm.tokens, 2),
        "ms": round(arm.ms, 3),
    }


def body(
    plan: BenchPlan,
    matrix: Matrix,
    language: str,
    imported: Sequence[ImportedResult] = (),
    adaptive: Sequence[AdaptiveResult] = (),
) -> Markup:
    words = Words(language, "kaiwa.redteam")
    parts: list[Child] = [tag("h1", words("redteam.title", target=plan.target.name)), _method(plan, matrix, words)]
    models = list(dict.fromkeys(arm.model for arm in matrix.arms))
    for number, model in enumerate(models):
        parts.append(tag("h2", model))
        arms = [arm for arm in matrix.arms if arm.model == model]
        parts.append(
            _section(
                words, "defences", arms_table(matrix, arms, words, adaptive), _unhelpful_note(matrix, model, words)
            )
        )
        if own := [result for result in adaptive if result.model == model]:
            parts.append(_section(words, "adaptive", adaptive_table(own, words)))
        parts.append(_section(words, "matrix", heat(matrix, model, number, words)))
        parts.append(_section(words, "costs", costs_table(matrix, arms, words)))
        parts.append(_section(words, "at", at_table(arms, words)))
        if plan.target.secrets:
            parts.append(_section(words, "leaks", leaks_table(arms, words)))
    parts.append(_section(words, "attacks", attacks_table(plan, matrix, words)))
    if imported:
        parts.append(_section(words, "imported", imported_table(imported, words)))
    return tag("div", *parts, class_="pieces")


def _section(words: Words, name: str, *content: Child) -> Markup:
    return tag("section", tag("h3", words(f"redteam.{name}")), tag("p", words(f"redteam.{name}.about")), *content)


def _method(plan: BenchPlan, matrix: Matrix, words: Words) -> Markup:
    n = sum(o.kind == "attack" for o in matrix.outcomes)
    lead = words("redteam.method", n=f"{n:,}", attacks=len(plan.attacks), arms=len(plan.arms), trials=plan.trials)
    return join(
        (
            tag("p", lead, class_="lead"),
            tag("details", tag("summary", words("redteam.prompt")), tag("p", plan.target.system, class_="said")),
        )
    )


def _unhelpful_note(matrix: Matrix, model: str, words: Words) -> Markup | None:
    """Draw the names of the defences that do not help."""
    names = unhelpful_defences(matrix, model)
    return tag("p", words("redteam.not_helping", names=", ".join(names)), class_="warn") if names else None


def adaptive_table(results: Sequence[AdaptiveResult], words: Words) -> Markup:
    """Draw one model's success against the number of queries, a row for each defence and attacker."""
    budget = max(result.budget for result in results)
    heads = [*(words(f"redteam.{k}") for k in ("defence", "attacker", "n")), *(f"@{k}" for k in marks(budget))]
    lines: list[list[Child]] = []
    for result in results:
        shares = [share_cell(result.success_at(k).to_json()) for k in marks(budget) if k <= result.budget]
        n = value_cell(str(len(result.broken_at)))
        lines.append([result.defence, tag("td", result.attacker), n, *shares])
    return table(heads, lines)


def adaptive_cells(results: Sequence[AdaptiveResult], words: Words) -> list[Child]:
    """Draw the worst attacker's share at the whole budget, and the verdict; no result is no verdict."""
    if not results:
        return [tag("td", figures.NONE), tag("td", words("redteam.not_tried"))]
    worst = max(results, key=lambda one: one.success_at(one.budget).mean)
    return [
        share_cell(worst.success_at(worst.budget).to_json()), tag("td", tag("b", strength(results, words.language))),
    ]  # fmt: skip


def arms_table(
    matrix: Matrix, arms: Sequence[DefenceResult], words: Words, adaptive: Sequence[AdaptiveResult] = ()
) -> Markup:
    """Draw a row for each defence; with results of attackers that adapt, their column and verdict."""
    groups = by_defence(adaptive)
    families = list(dict.fromkeys(cell.family for cell in matrix.cells))
    heads = [words("redteam.defence"), *(words(f"redteam.family.{f}") for f in families), words("redteam.all")]
    heads += [words("redteam.against"), words("redteam.difference")]
    heads += [words("redteam.adapts"), words("redteam.strength")] if adaptive else []
    lines = []
    for arm in arms:
        shares = [share_cell(arm.families[f].to_json()) if f in arm.families else tag("td", "–") for f in families]
        d = arm.against.difference if arm.against else None
        lines.append(
            [
                arm.defence,
                *shares,
                share_cell(arm.share.to_json()),
                tag("td", tag("b", against_text(arm, words.language))),
                value_cell(
                    f"{points_text(0 - d.mean)} [{points_text(0 - d.high)}, {points_text(0 - d.low)}]"
                    if d is not None
                    else "–"
                ),
                *(adaptive_cells(groups.get((arm.model, arm.defence), []), words) if adaptive else ()),
            ]
        )
    return table(heads, lines)


def heat(matrix: Matrix, model: str, number: int, words: Words) -> Markup:
    """Draw a model's heat map; `number` is the model's place in the report, which the cells' links name."""
    cells = {
        (c.attack, c.defence): HeatCell(share=c.share.to_json(), status=c.status)
        for c in matrix.cells
        if c.model == model
    }
    costs = {
        row.defence: BenignCost(refused=row.false_block.to_json(), useless=complement(row.utility).to_json())
        for row in matrix.benign
        if row.model == model
    }
    attacks = list(dict.fromkeys(attack for attack, _ in cells))
    defences = list(dict.fromkeys(defence for _, defence in cells))

    def link(attack: str, defence: str) -> str:
        return f"#{anchor(number, attacks.index(attack), defences.index(defence))}"

    return attack_heat_map(cells, costs, words, link)


def complement(share: Interval) -> Interval:
    """Return 1 - share, with both interval limits."""
    return Interval(1 - share.mean, 1 - share.high, 1 - share.low, share.n)


def anchor(model: int, attack: int, defence: int) -> str:
    return f"cell-{model}-{attack}-{defence}"


def costs_table(matrix: Matrix, arms: Sequence[DefenceResult], words: Words) -> Markup:
    heads = [
        words(f"redteam.{k}") for k in ("defence", "n", "false_block", "utility", "utility_against", "tokens", "ms")
    ]
    rows = {(row.model, row.defence): row for row in matrix.benign}
    lines = []
    for arm in arms:
        row = rows.get((arm.model, arm.defence))
        against = verdict_text(arm.utility_against, words.language) if arm.utility_against is not None else "–"
        lines.append(
            [
                arm.defence,
                value_cell(str(row.trials) if row else "–"),
                share_cell(row.false_block.to_json() if row else None),
                share_cell(row.utility.to_json() if row else None),
                tag("td", against),
                value_cell(f"{arm.tokens:+.1f}" if arm.tokens == arm.tokens else "–"),
                value_cell(f"{arm.ms:.2f}"),
            ]
        )
    return table(heads, lines)


def at_table(arms: Sequence[DefenceResult], words: Words) -> Markup:
    heads = [words("redteam.defence"), *(f"ASR@{k}" for k in AT)]
    return table(heads, [[arm.defence, *(share_cell(arm.at[k].to_json()) for k in AT)] for arm in arms])


def leaks_table(arms: Sequence[DefenceResult], words: Words) -> Markup:
    heads = [words("redteam.defence"), *(words(f"redteam.form.{form}") for form in FORMS)]
    return table(heads, [[arm.defence, *(value_cell(str(arm.leaks.get(form, 0))) for form in FORMS)] for arm in arms])


def attacks_table(plan: BenchPlan, matrix: Matrix, words: Words) -> Markup:
    heads = [words(f"redteam.{k}") for k in ("attack", "idea", "tags", "control", "status")]
    undefended: dict[str, Cell] = {c.attack: c for c in matrix.cells if c.defence == NONE}
    lines = []
    for attack in plan.attacks:
        cell = undefended.get(attack.name)
        if cell is None:
            continue
        status = words(f"redteam.status.{cell.status}") + (f" ({cell.why})" if cell.why else "")
        lines.append(
            [
                attack.name,
                tag("td", words.first(f"redteam.idea.{attack.name.split('+')[0]}") or attack.idea),
                tag("td", f"{attack.owasp} · {attack.atlas}"),
                share_cell(cell.control.to_json()),
                tag("td", status),
            ]
        )
    return table(heads, lines)


def imported_table(imported: Sequence[ImportedResult], words: Words) -> Markup:
    heads = [words(f"redteam.{k}") for k in ("tool", "model", "attack", "n", "success")]
    lines = [
        [
            one.tool,
            tag("td", one.model),
            tag("td", one.name),
            value_cell(str(one.trials)),
            share_cell(one.share.to_json()),
        ]
        for one in imported
    ]
    return table(heads, lines)


def transcripts(matrix: Matrix) -> Markup:
    """Draw a few transcripts of every cell, the worst first, for the heat map's links. Shown in both languages."""
    by_cell: dict[tuple[str, str, str], list[TrialOutcome]] = {}
    for outcome in matrix.outcomes:
        if outcome.kind == "attack":
            by_cell.setdefault((outcome.model, outcome.attack, outcome.defence), []).append(outcome)
    models = list(dict.fromkeys(model for model, _, _ in by_cell))
    parts: list[Child] = [tag("h2", "Transcripts · やり取り")]
    for m, model in enumerate(models):
        attacks = list(dict.fromkeys(a for name, a, _ in by_cell if name == model))
        defences = list(dict.fromkeys(d for name, _, d in by_cell if name == model))
        for a, attack in enumerate(attacks):
            columns = [
                _cell_transcripts(anchor(m, a, d), by_cell[model, attack, defence])
                for d, defence in enumerate(defences)
                if (model, attack, defence) in by_cell
            ]
            parts.append(tag("details", tag("summary", f"{model} · {attack}"), *columns))
    return tag("main", tag("section", *parts), class_="pieces")


def choose_transcripts(outcomes: Sequence[TrialOutcome], n: int = TRANSCRIPTS_PER_CELL) -> list[TrialOutcome]:
    """Sort outcomes: successes first, then failures, then the rest; return the first n."""
    return sorted(outcomes, key=lambda o: (ORDER.index(o.outcome) if o.outcome in ORDER else len(ORDER), o.trial))[:n]


def _cell_transcripts(id: str, outcomes: Sequence[TrialOutcome]) -> Markup:
    successes = sum(o.outcome == "success" for o in outcomes)
    cards = [transcript(outcome) for outcome in choose_transcripts(outcomes)]
    return tag("div", tag("h4", f"{outcomes[0].defence}: {successes} / {len(outcomes)}"), *cards, id=id)


def transcript(outcome: TrialOutcome) -> Markup:
    turns: list[Child] = []
    for i, text in enumerate(outcome.user_turns):
        turns.append(tag("p", tag("b", "→ "), _shorten(text), class_="said"))
        if i < len(outcome.replies):
            turns.append(tag("p", tag("b", "← "), _shorten(outcome.replies[i]), class_="said"))
    more = " · ".join(x for x in (outcome.outcome, outcome.form, outcome.why) if x)
    return tag("article", tag("p", f"{outcome.trial}: {more}", class_="small"), *turns, class_="asked")


def _shorten(text: str) -> str:
    return text if len(text) <= MAX_CHARACTERS else f"{text[:MAX_CHARACTERS]}…"
