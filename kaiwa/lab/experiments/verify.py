"""Does mending what lint remarks help this model on these items? Each fix against the prompt as written, paired.

For each prompt of an experiment's tasks and each remark that lint can mend, an arm with that one fix stands against the
arm as written, with the same technique, on the same items; Holm runs over all of them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from kaiwa.core.errors import UserError
from kaiwa.lab.experiments.analysis import ContrastFinding
from kaiwa.lab.experiments.experiment import Arm, Contrast, Experiment
from kaiwa.lab.experiments.lint import lint_prompt
from kaiwa.lab.experiments.lint_fixes import fix_prompt
from kaiwa.lab.experiments.verdicts import verdict_text
from kaiwa.lab.techniques.shots import ZeroShot

AS_WRITTEN = "as written"


def fixed_rules(experiment: Experiment) -> list[tuple[str, str]]:
    """Return (task, rule) for every remark on a task's prompt that a fix changes."""
    pairs = []
    for task in experiment.tasks:
        for rule in dict.fromkeys(remark.rule for remark in lint_prompt(task.prompt)):
            if fix_prompt(task.prompt, rule) != task.prompt:
                pairs.append((task.name, rule))
    return pairs


def verification(experiment: Experiment) -> Experiment:
    """Return the experiment that tests each fix. UserError where lint has nothing that it can mend."""
    pairs = fixed_rules(experiment)
    if not pairs:
        raise UserError("lint has nothing here that it can mend by itself, so that there is nothing to verify")
    tasks = [task for task in experiment.tasks if any(name == task.name for name, _ in pairs)]
    arms: list[Arm] = []
    contrasts: list[Contrast] = []
    for task in tasks:
        arms.append(Arm(name=AS_WRITTEN, technique=ZeroShot(), task=task.name))
        for rule in (rule for name, rule in pairs if name == task.name):
            prompt = fix_prompt(task.prompt, rule)
            arms.append(Arm(name=f"{rule} mended", technique=ZeroShot(), task=task.name, prompt=prompt))
            claim = f"mending {rule} helps"
            contrasts.append(Contrast(a=AS_WRITTEN, b=f"{rule} mended", claim=claim, task=task.name))
    changes = {"name": f"{experiment.name}-verify", "tasks": tuple(tasks)}
    return dataclasses.replace(experiment, arms=tuple(arms), contrasts=tuple(contrasts), **changes)  # type: ignore[arg-type]


def verdict_lines(findings: Sequence[ContrastFinding]) -> list[str]:
    """Return one line for each finding: "task, rule: better by 12.0 points (n = 40)"."""
    return [
        f"{finding.task}: {finding.contrast.b}: {verdict_text(finding.comparison)} (n = {finding.comparison.n})"
        for finding in findings
    ]
