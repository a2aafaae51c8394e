"""Which prompt advice replicates? Each piece of advice as a pair of prompts, on the same items of a built-in task.

The advice is what lint says (a prompt with the fault, and the prompt after the fix) and the vendors' good practices
(tasks/practices.py). A verdict is about advice minus fault: helps, hurts, no difference within m points, cannot tell.
Holm runs over all pairs of a model and a language.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from kaiwa.lab.experiments.analysis import Analysis, ContrastFinding
from kaiwa.lab.experiments.baselines import Baselines
from kaiwa.lab.experiments.experiment import Arm, Contrast, Experiment
from kaiwa.lab.tasks.by_name import generate_task
from kaiwa.lab.tasks.practices import PRACTICES
from kaiwa.lab.tasks.prompt import ORDER, Prompt
from kaiwa.lab.tasks.task import Task
from kaiwa.lab.techniques.shots import ZeroShot

MARGIN = 10.0  # points that would not matter
TASK = "sentiment"
LAST = ("examples", "input", "context", "instruction")
Change = Callable[[Prompt, Prompt], Prompt]  # (the prompt, the other language's prompt) -> the prompt with the fault


@dataclass(frozen=True, slots=True)
class Advice:
    """A lint rule or a common piece of advice. fault: makes the prompt that goes against it. good: makes the one that
    follows it, where that is not the task's own prompt.
    """

    rule: str
    claim: str
    fault: Change
    good: Change = lambda prompt, other: prompt


def _instruction(change: Mapping[str, str]) -> Change:
    """Return a change that writes the instruction anew: {i} is the instruction as it was."""

    def apply(prompt: Prompt, other: Prompt) -> Prompt:
        return dataclasses.replace(prompt, instruction=change[prompt.language].format(i=prompt.instruction))

    return apply


def _fields(**values: object) -> Change:
    return lambda prompt, other: dataclasses.replace(prompt, **values)  # type: ignore[arg-type]


ADVICE = (
    Advice(
        "fluff",
        "leave polite fillers out",
        _instruction(
            {
                "en": "I would really like you to very kindly do this, please. {i}",
                "ja": "恐れ入りますが、できれば次のことをお願いいたします。{i}",
            }
        ),
    ),
    Advice("shouting", "do not shout", _instruction({"en": "VERY IMPORTANT TASK, READ!!! {i}", "ja": "重要！！！{i}"})),
    Advice(
        "reward-or-threat",
        "promise no reward",
        _instruction({"en": "{i} I will tip you $200 for the right answer.", "ja": "{i}正解ならチップを払います。"}),
    ),
    Advice(
        "steps-and-only",
        "do not ask for steps where only a label may be written",
        _instruction({"en": "Think step by step. {i}", "ja": "ステップごとに考えてください。{i}"}),
    ),
    Advice("no-delimiters", "put data between tags", _fields(delimiters="none"), _fields(delimiters="tags")),
    Advice("instruction-last", "instruction before the data", _fields(order=LAST), _fields(order=ORDER)),
    Advice("no-format", "say where the answer begins", _fields(output_indicator="")),
    Advice(
        "trailing-space",
        "no space after the output indicator",
        lambda prompt, other: dataclasses.replace(prompt, output_indicator=prompt.output_indicator + " "),
    ),
    Advice(
        "language",
        "write in the language of the data",
        lambda prompt, other: dataclasses.replace(prompt, instruction=other.instruction),
    ),
    Advice(
        "role",
        "give the model a role",
        lambda prompt, other: prompt,
        _instruction({"en": "You are an experienced critic. {i}", "ja": "あなたは経験豊かな批評家です。{i}"}),
    ),
)  # fmt: skip


def advice_experiment(language: str, n: int, seed: int = 0, model: str = "") -> Experiment:
    """Return the experiment of one model and one language: two arms for each piece of advice, on tasks of n items."""
    other = generate_task(f"{TASK}-{'ja' if language == 'en' else 'en'}", 2, seed).prompt
    task = generate_task(f"{TASK}-{language}", n, seed)
    tasks: dict[str, Task] = {task.name: task}
    arms: list[Arm] = []
    contrasts: list[Contrast] = []

    def add(rule: str, claim: str, own_task: Task, bad: Prompt, good: Prompt) -> None:
        names = (f"{rule}, against", f"{rule}, followed")
        for name, prompt in zip(names, (bad, good), strict=True):
            arms.append(Arm(name=name, technique=ZeroShot(), task=own_task.name, prompt=prompt))
        contrasts.append(Contrast(a=names[0], b=names[1], claim=claim, task=own_task.name))

    for one in ADVICE:
        add(one.rule, one.claim, task, one.fault(task.prompt, other), one.good(task.prompt, other))
    for practice in PRACTICES:
        own = generate_task(f"{practice.task}-{language}", n, seed)
        if practice.grader is not None:
            own = dataclasses.replace(own, grader=practice.grader)
        own = dataclasses.replace(own, name=f"{practice.id}-{language}", kind=practice.kind or own.kind)
        tasks[own.name] = own
        add(practice.id, practice.claim, own, practice.bad[language], practice.good[language])
    return Experiment(
        name=f"advice-{language}", tasks=tuple(tasks.values()), arms=tuple(arms),
        contrasts=tuple(contrasts), model=model,
        margin=MARGIN,
    )  # fmt: skip


CLAIMS_JA = {
    "fluff": "丁寧な前置きを省く",
    "shouting": "強調しすぎない",
    "reward-or-threat": "報酬を約束しない",
    "steps-and-only": "ラベルだけを書かせるとき、途中の考えを求めない",
    "no-delimiters": "データをタグで囲む",
    "instruction-last": "指示をデータの前に置く",
    "no-format": "答えの始まる場所を示す",
    "trailing-space": "出力の目印の後に空白を入れない",
    "language": "データと同じ言語で書く",
    "role": "モデルに役割を与える",
    "instruction-first": "指示を先に書き、データを ### で区切る",
    "specific": "求めるものを正確に書く",
    "no-fluff": "「短めに」ではなく数で書く",
    "format-by-example": "形式を例で示す",
    "what-to-do": "してはいけないことではなく、することを書く",
    "leading-words-python": "def などの書き出しを与える(コード)",
    "leading-words-sql": "SELECT などの書き出しを与える(SQL)",
}
VERDICTS = {"better": "helps", "worse": "hurts", "same": f"no difference within {MARGIN:g}"}
VERDICTS_JA = {"better": "役立つ", "worse": "害になる", "same": f"差は {MARGIN:g} 以内"}


def cell(finding: ContrastFinding, baselines: Baselines | None, language: str = "en") -> str:
    """Return a finding as a cell of the table: verdict, difference in points, and the share right with the advice.

    "No difference" is said only where a difference could show: a model that does not do the task under either prompt
    (nothing right, everything right, or no better than the commonest answer) gives *cannot tell*.
    """
    words, unknown = (VERDICTS_JA, "判定できない") if language == "ja" else (VERDICTS, "cannot tell")
    comparison = finding.comparison
    verdict = words.get(comparison.verdict, unknown)
    if comparison.verdict == "same" and all(
        _shows_nothing(m, baselines) for m in (comparison.mean_a, comparison.mean_b)
    ):
        verdict = unknown
    return f"{verdict} ({100 * comparison.difference.mean:+.0f}; {100 * comparison.mean_b:.0f} %)"


def _shows_nothing(share: float, baselines: Baselines | None) -> bool:
    """Return whether a share right says that the items are all too hard, all too easy, or answered all alike."""
    guesses = [b for b in (baselines.chance, baselines.majority) if b is not None] if baselines is not None else []
    return not 0.05 < share < 0.95 or any(abs(share - guess) < 0.05 for guess in guesses)


def advice_rows(analyses: Sequence[tuple[str, str, Analysis]], language: str = "en") -> list[list[str]]:
    """Return the table: a row for each piece of advice, a column for each (model, language, analysis)."""
    heads = {"en": ("rule", "advice"), "ja": ("規則", "助言")}[language]
    rows: dict[str, list[str]] = {}
    for column, (_, _, analysis) in enumerate(analyses):
        for finding in analysis.findings:
            rule = finding.contrast.b.removesuffix(", followed")
            claim = CLAIMS_JA[rule] if language == "ja" else finding.contrast.claim
            row = rows.setdefault(rule, [rule, claim, *["" for _ in analyses]])
            row[2 + column] = cell(finding, analysis.baselines.get(finding.task), language)
    return [[*heads, *(f"{model}, {code} (n = {_n(a)})" for model, code, a in analyses)], *rows.values()]


def _n(analysis: Analysis) -> int:
    return max((finding.comparison.n for finding in analysis.findings), default=0)


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """Return the table as Markdown."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])
