"""The report of an experiment: one self-contained HTML in both languages, Markdown, CSV, and logs for `lab compare`."""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from markupsafe import Markup

from kaiwa.lab.experiments.analysis import Analysis, ContrastFinding, finding_rows
from kaiwa.lab.experiments.experiment import DISCORDANT, detectable_differences
from kaiwa.lab.experiments.preflight import LONGEST_SHOWN
from kaiwa.lab.experiments.run import ItemOutcome
from kaiwa.lab.experiments.verdicts import points_text, verdict_text
from kaiwa.lab.reports.claims import claim_text, title_text
from kaiwa.lab.reports.judge_report import judge_cells, judge_heads, judge_rows
from kaiwa.report import figures, forest
from kaiwa.report.html import Child, join, tag
from kaiwa.report.page import page
from kaiwa.report.table import share_cell, table, value_cell
from kaiwa.report.words import LANGUAGES, Words
from kaiwa.stats.intervals import Interval
from kaiwa.text.records import write_jsonl

ITEMS_PER_CONTRAST = 4  # decided items a contrast in the report


def write_report(analysis: Analysis, out: Path, limits: Mapping[str, str] | None = None) -> Path:
    """Write report.html, report.md, findings.csv, outcomes.jsonl and logs/TASK.ARM.jsonl; return the HTML's path.

    `limits`: by language, a paragraph on the limits of a small model.
    """
    out.mkdir(parents=True, exist_ok=True)
    bodies = {language: body(analysis, language, (limits or {}).get(language, "")) for language in LANGUAGES}
    (out / "report.html").write_text(page(f"{analysis.experiment.name} · kaiwa", bodies, "en"), encoding="utf-8")
    for language in LANGUAGES:
        name = "report.md" if language == "en" else f"report.{language}.md"
        (out / name).write_text(markdown(analysis, language, (limits or {}).get(language, "")), encoding="utf-8")
    (out / "findings.csv").write_text(findings_csv(analysis), encoding="utf-8")
    write_jsonl(out / "outcomes.jsonl", (outcome.to_json() for outcome in analysis.outcomes))
    write_logs(analysis, out / "logs")
    return out / "report.html"


def write_logs(analysis: Analysis, folder: Path) -> None:
    """Write one log per task and arm, for `kaiwa lab compare`; none where scores belong to pairs of arms."""
    folder.mkdir(exist_ok=True)
    pairs = {task.name for task in analysis.experiment.tasks if task.grader.name == "pairwise"}
    for arm in (arm for arm in analysis.arms if arm.task not in pairs):
        outcomes = [o for o in analysis.outcomes if (o.task, o.arm) == (arm.task, arm.arm)]
        seeds: dict[str, list[ItemOutcome]] = {}
        for outcome in outcomes:
            seeds.setdefault(outcome.id, []).append(outcome)
        name = "".join(c if c.isalnum() or c in "-_" else "_" for c in f"{arm.task}.{arm.arm}".replace(".", "__"))
        write_jsonl(
            folder / f"{name}.jsonl",
            (
                {"id": id, "failed": True}
                if any(o.error for o in item_outcomes)
                else {"id": id, "score": sum(o.score for o in item_outcomes) / len(item_outcomes)}
                for id, item_outcomes in seeds.items()
            ),
        )


def body(analysis: Analysis, language: str, limits: str = "") -> Markup:
    words = Words(language, "kaiwa.lab")
    heading = tag("h1", title_text(analysis.experiment.name, language))
    parts: list[Child] = [heading, tag("p", method(analysis, words), class_="lead"), tag("p", summary(analysis, words))]
    parts.append(_section(words, "findings", findings_table(analysis, words), forest_plot(analysis, words)))
    if limits:
        parts.append(tag("section", tag("h2", words("lab.limits")), tag("p", limits)))
    parts.append(_section(words, "arms", arms_table(analysis, words)))
    if analysis.checks:
        judges = table(judge_heads(words), [judge_rows(check, words) for check in analysis.checks.values()])
        parts.append(_section(words, "judge", judges))
    parts.append(_section(words, "items", join(decided_items(analysis, f, words) for f in analysis.findings)))
    parts.append(_section(words, "prompts", join(prompt_details(analysis))))
    parts.append(_section(words, "costs", costs_table(analysis, words)))
    parts.append(_section(words, "plan", plan_table(analysis, words)))
    return tag("div", *parts, class_="pieces")


def _section(words: Words, name: str, *content: Child) -> Markup:
    return tag("section", tag("h2", words(f"lab.{name}")), tag("p", words(f"lab.{name}.about")), *content)


def method(analysis: Analysis, words: Words) -> str:
    """Describe the method in two sentences."""
    sizes = sorted({len(task.items) for task in analysis.experiment.tasks})
    n = f"{sizes[0]}" if len(sizes) == 1 else f"{sizes[0]}–{sizes[-1]}"
    m, margin = len(analysis.findings), f"{analysis.experiment.margin:g}"
    return words("lab.method.text", n=n, model=analysis.model, m=m, margin=margin)


def summary(analysis: Analysis, words: Words) -> str:
    """Say how many of the comparisons ended in which verdict."""
    counts = Counter(f.comparison.verdict for f in analysis.findings)
    unknown = sum(counts[verdict] for verdict in ("unknown", "unjudged", "failed", "few"))
    return words(
        "lab.summary", m=len(analysis.findings), **{v: counts[v] for v in ("better", "worse", "same")}, unknown=unknown
    )


def difference_text(finding: ContrastFinding) -> str:
    """Format a difference as "+12.0 [3.1, 20.9]" points, cut to the possible range: a t interval of few items may be
    wider.
    """
    d = finding.comparison.difference
    end = 2.0 if finding.contrast.less else 1.0
    return f"{points_text(d.mean)} [{points_text(max(-end, d.low))}, {points_text(min(end, d.high))}]"


def pairs_text(finding: ContrastFinding, words: Words) -> str:
    """Format the number of pairs, and of items that are none because they failed."""
    c = finding.comparison
    return f"{c.n} ({words('lab.failed')} {c.n_failed})" if c.n_failed else str(c.n)


def informative_text(analysis: Analysis, finding: ContrastFinding) -> str:
    """Format how many items some arms got right and others wrong, of those that went through under all."""
    one = analysis.baselines[finding.task]
    return f"{one.informative} / {one.n}"


def findings_table(analysis: Analysis, words: Words) -> Markup:
    """Draw the findings, claim and verdict first: a phone shows no more."""
    heads = [words(f"lab.{k}") for k in ("claim", "verdict", "difference", "n", "informative", "lostwon", "p", "task")]
    lines = []
    for f in analysis.findings:
        compared = f.contrast.text
        told_claim = claim_text(f.contrast.claim, words.language)
        what = join([told_claim, tag("p", compared, class_="small")]) if told_claim else compared
        cells = [
            difference_text(f),
            pairs_text(f, words),
            informative_text(analysis, f),
            f"{f.comparison.lost} / {f.comparison.won}",
            figures.number(f.p_holm),
        ]
        lines.append(
            [
                what,
                tag("td", tag("b", verdict_text(f.comparison, words.language))),
                *map(value_cell, cells),
                tag("td", f.task),
            ]
        )
    return table(heads, lines)


def forest_plot(analysis: Analysis, words: Words) -> Markup | None:
    drawn = []
    ends = [0.1]
    for f in analysis.findings:
        d = f.comparison.difference
        possible = Interval(d.mean, max(-1.0, d.low), min(1.0, d.high), d.n)
        ends += [abs(x) for x in (possible.low, possible.high) if math.isfinite(x)]
        drawn.append(forest.ForestRow(label=f"{f.contrast.text} ({f.task})", interval=possible.to_json()))
    if not drawn:
        return None
    end = min(1.0, max(ends))
    return forest.forest(
        words("lab.forest"), drawn, words, neutral=0.0, low=-end, high=end, show=lambda value: points_text(value)
    )


def arms_table(analysis: Analysis, words: Words) -> Markup:
    heads = [words(f"lab.{k}") for k in ("arm", "task", "n", "valid", "when_valid", "accuracy", "answers", "notes")]
    lines = []
    for arm in analysis.arms:
        answers = ", ".join(f"{str(answer)[:18]} {n}" for answer, n in arm.histogram[:4])
        notes = ", ".join(f"{name} {figures.number(value)}" for name, value in arm.notes.items())
        failed = f" ({words('lab.failed')} {arm.failed})" if arm.failed else ""
        shares = [share_cell(i.to_json()) for i in (arm.valid, arm.when_valid, arm.accuracy)]
        lines.append(
            [
                arm.arm,
                tag("td", arm.task),
                value_cell(f"{arm.n}{failed}"),
                *shares,
                tag("td", answers),
                tag("td", notes),
            ]
        )
    for task, answer_name, value in baseline_rows(analysis, words):
        share = tag("td", tag("b", figures.percent(value)))
        lines.append([answer_name, tag("td", task), value_cell(""), "", "", share, "", ""])
    return table(heads, lines)


def baseline_rows(analysis: Analysis, words: Words) -> list[tuple[str, str, float]]:
    """Return (task, name, score) of chance and of always giving the commonest answer, where the task has them."""
    rows = []
    for one in analysis.baselines.values():
        if one.chance is not None:
            rows.append((one.task, words("lab.chance"), one.chance))
        if one.majority is not None:
            rows.append((one.task, words("lab.majority", answer=one.answer[:30]), one.majority))
    return rows


def prompt_details(analysis: Analysis) -> list[Markup]:
    """Draw one whole prompt of every arm, as it was sent for the first item."""
    drawn = []
    for arm in analysis.arms:
        outcome = next((o for o in analysis.outcomes if (o.task, o.arm) == (arm.task, arm.arm)), None)
        if outcome is not None and outcome.prompt:
            title = f"{arm.arm} · {arm.task} · {outcome.id}"
            drawn.append(tag("details", tag("summary", title), tag("p", outcome.prompt[:LONGEST_SHOWN], class_="said")))
    return drawn


def costs_table(analysis: Analysis, words: Words) -> Markup:
    keys = ("arm", "task", "calls", "prompt_tokens", "reused", "answer_tokens", "seconds", "cost")
    lines = [
        [
            a.arm,
            tag("td", a.task),
            *(
                value_cell(figures.number(v))
                for v in (a.calls, a.n_prompt, a.n_reused, a.n_tokens, round(a.seconds, 1), round(a.cost, 4))
            ),
        ]
        for a in analysis.arms
    ]
    return table([words(f"lab.{k}") for k in keys], lines)


def plan_table(analysis: Analysis, words: Words) -> Markup:
    heads = [words(f"lab.{k}") for k in ("b", "a", "task", "n", "detectable")]
    lines = [
        [
            p.contrast.b,
            tag("td", p.contrast.a),
            tag("td", p.task),
            value_cell(str(p.n)),
            value_cell(points_text(p.detectable)),
        ]
        for p in detectable_differences(analysis.experiment, DISCORDANT)
    ]
    return table(heads, lines)


def decided_items(analysis: Analysis, finding: ContrastFinding, words: Words) -> Markup | None:
    """Draw the first few items that B lost and won, both answers side by side."""
    if finding.contrast.less or (not finding.lost and not finding.won):
        return None
    task = next(t for t in analysis.experiment.tasks if t.name == finding.task)
    right = {item.id: item.answer for item in task.items}
    by_arm = {(o.arm, o.id): o for o in reversed(analysis.outcomes) if o.task == finding.task}
    cards = []
    per_side = max(1, ITEMS_PER_CONTRAST // 2)
    for id in (*finding.lost[:per_side], *finding.won[:per_side]):
        a, b = by_arm[finding.contrast.a, id], by_arm[finding.contrast.b, id]
        columns = [_answer_column(o) for o in (a, b)]
        cards.append(
            tag(
                "article",
                tag("p", f"{id} · {words('lab.right')}: {right[id]}", class_="small"),
                tag("details", tag("summary", words("lab.prompt")), tag("p", a.prompt, class_="said")),
                tag("div", *columns, class_="columns"),
                class_="asked",
            )
        )
    counts = f"{finding.comparison.lost} / {finding.comparison.won}"
    title = f"{finding.contrast.text} · {finding.task}: {counts}"
    return tag("details", tag("summary", title), join(cards))


def _answer_column(outcome: ItemOutcome) -> Markup:
    mark = "✓" if outcome.score >= 1 else "✗" if outcome.valid else "—"
    text = outcome.text.strip() or "…"
    answer = f"{mark} {outcome.answer if outcome.answer is not None else ''}"
    return tag("div", tag("h4", outcome.arm), tag("p", text[:600], class_="said"), tag("p", answer, class_="small"))


def markdown(analysis: Analysis, language: str = "en", limits: str = "") -> str:
    words = Words(language, "kaiwa.lab")
    lines = [
        f"# {title_text(analysis.experiment.name, language)}",
        "",
        method(analysis, words),
        "",
        summary(analysis, words),
    ]
    lines += ["", f"## {words('lab.findings')}", ""]
    heads = [
        words(f"lab.{k}")
        for k in ("b", "a", "task", "claim", "n", "difference", "informative", "lostwon", "p", "verdict")
    ]
    lines += _markdown_table(
        heads,
        [
            [
                *(
                    f.contrast.b,
                    f.contrast.a,
                    f.task,
                    claim_text(f.contrast.claim, language),
                    pairs_text(f, words),
                    difference_text(f),
                ),
                *(
                    informative_text(analysis, f),
                    f"{f.comparison.lost} / {f.comparison.won}",
                    figures.number(f.p_holm),
                    verdict_text(f.comparison, language),
                ),
            ]
            for f in analysis.findings
        ],
    )
    if limits:
        lines += ["", f"## {words('lab.limits')}", "", limits]
    lines += ["", f"## {words('lab.arms')}", ""]
    heads = [words(f"lab.{k}") for k in ("arm", "task", "n", "failed", "valid", "when_valid", "accuracy")]
    cells = [
        [
            a.arm,
            a.task,
            a.n,
            a.failed,
            *(
                f"{figures.percent(i.to_json()['mean'])} [{figures.limits(i.to_json())}]"
                for i in (a.valid, a.when_valid, a.accuracy)
            ),
        ]
        for a in analysis.arms
    ]
    cells += [
        [name, task, "", "", "", "", figures.percent(value)] for task, name, value in baseline_rows(analysis, words)
    ]
    lines += _markdown_table(heads, cells)
    if analysis.checks:
        lines += ["", f"## {words('lab.judge')}", "", words("lab.judge.about"), ""]
        lines += _markdown_table(judge_heads(words), [judge_cells(check, words) for check in analysis.checks.values()])
    return "\n".join(lines) + "\n"


def _markdown_table(heads: list[str], cells: Sequence[Sequence[object]]) -> list[str]:
    lines: list[Sequence[object]] = [heads, ["---"] * len(heads), *cells]
    return [
        "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in line) + " |" for line in lines
    ]


def findings_csv(analysis: Analysis) -> str:
    buffer = io.StringIO()
    rows = finding_rows(analysis)
    if rows:
        writer = csv.DictWriter(buffer, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return buffer.getvalue()
