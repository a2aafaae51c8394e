"""What the lecture says about prompts, on a model: demonstrations, labels, worked thought, knowledge, tools, form.

The comparisons are the homework's (lab/experiments/assignment.py), 28 in each language, with its control arms. Most say
that something helps; three say that something makes no difference, or helps no more than its control does.
"""

from __future__ import annotations

from collections.abc import Sequence

from kaiwa.lab.experiments.analysis import Analysis
from kaiwa.lab.reports.claims import claim_text
from kaiwa.studies.statements import StatementResult, by_comparison, points

SAME = ("random labels cost little (Min 2022)", "small models ignore flipped labels (Wei 2023)")
CONTROL = ("any text before the question helps",)  # the lecture's point is that it does not
TITLES = {"en": "What the lecture says about prompts", "ja": "プロンプトについての講義の主張"}
AGAINST = {
    CONTROL[0]: ("knowledge about something else does not help", "関係のない知識は効かない"),
}
LEADS = {
    "… more than the equation": "a chain of thought helps more than the equation alone",
    "… more than as many dots": "a chain of thought helps more than as many dots",
    "… more than the answer first": "a chain of thought helps more than the answer first",
}
LEADS_JA = {
    "… more than the equation": "思考の連鎖は式だけより効く",
    "… more than as many dots": "思考の連鎖は同じ数の点より効く",
    "… more than the answer first": "思考の連鎖は答えを先に書くより効く",
}


def statements(analyses: Sequence[Analysis]) -> list[StatementResult]:
    """Return a result for every statement, model and language, in the homework's order."""
    return [result for analysis in analyses for result in _of_model(analysis)]


def _of_model(analysis: Analysis) -> list[StatementResult]:
    results = []
    for finding in analysis.findings:
        claim, comparison = finding.contrast.claim, finding.comparison
        kind = "same" if claim in SAME else "gain"
        outcome = by_comparison(comparison, kind)
        text, japanese = LEADS.get(claim, claim), LEADS_JA.get(claim, claim_text(claim, "ja"))
        if claim in CONTROL:
            text, japanese = AGAINST[claim]
            outcome = {"held": "did not hold", "did not hold": "held"}.get(outcome, outcome)
        results.append(
            StatementResult(
                model=analysis.model, language=finding.task.rpartition("-")[2], text=text, text_ja=japanese,
                outcome=outcome, figure=points(comparison.difference), n=comparison.n,
            )
        )  # fmt: skip
    return results
