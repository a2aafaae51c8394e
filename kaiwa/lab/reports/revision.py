"""What changed in an experiment's prompts since a git revision, as an experiment of its own: before against now.

The file and its prompt files are taken from the revision, the data from today: both sides answer the same items. Arms
are matched by name; only those whose prompt, technique or sampling changed are asked again.
"""

from __future__ import annotations

import dataclasses
import subprocess
import tempfile
import tomllib
from pathlib import Path

from kaiwa.core.errors import UserError
from kaiwa.lab.experiments.analysis import Analysis, ContrastFinding
from kaiwa.lab.experiments.experiment import Arm, Contrast, Experiment
from kaiwa.lab.experiments.experiment_file import read_experiment
from kaiwa.lab.experiments.verdicts import points_text, verdict_text
from kaiwa.lab.reports.gate import GateResult, check_gate, parse_gate
from kaiwa.report.junit import JUnitCase, JUnitSuite, junit_xml

PROMPT_FILES = (".toml", ".md")
BEFORE, NOW = "before", "now"


def read_at_revision(file: Path, revision: str) -> Experiment:
    """Read an experiment's file and its prompt files as of a git revision, its data files as of today.

    UserError without git, for an unknown revision, and where the file was not there.
    """
    if file.suffix != ".toml":
        raise UserError(f"{file}: give a .toml file; a Python file cannot be read at a revision")
    folder = file.parent.resolve()
    names = _git(folder, "ls-tree", "-r", "--name-only", revision, "--", ".").splitlines()
    if file.name not in names:
        raise UserError(f"{file}: not in revision {revision}, so there is nothing to compare with")
    with tempfile.TemporaryDirectory() as temporary:
        for name in (name for name in names if name.endswith(PROMPT_FILES)):
            target = Path(temporary) / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(_git(folder, "show", f"{revision}:./{name}"), encoding="utf-8")
        copy = Path(temporary) / file.name
        try:
            tasks = tomllib.loads(copy.read_text(encoding="utf-8")).get("tasks", ())
        except tomllib.TOMLDecodeError as error:
            raise UserError(f"{file} at {revision}: not TOML ({error})") from None
        for data in {str(task["file"]) for task in tasks if "file" in task}:
            link = Path(temporary) / data
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.exists() and (folder / data).exists():
                link.symlink_to(folder / data)
        return read_experiment(copy)


def _git(folder: Path, *words: str) -> str:
    try:
        done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, check=True)
    except FileNotFoundError:
        raise UserError("git is not installed; lab diff compares with a git revision") from None
    except subprocess.CalledProcessError as error:
        line = (error.stderr.decode(errors="replace").strip().splitlines() or ["it failed"])[0]
        raise UserError(f"git {words[0]} in {folder}: {line[:160]}") from None
    return done.stdout.decode("utf-8", errors="replace")


def changed_arms(old: Experiment, new: Experiment) -> Experiment | None:
    """Return the experiment of all arms that changed, before against now; None where none did."""
    arms: list[Arm] = []
    contrasts: list[Contrast] = []
    tasks = []
    old_tasks = {task.name: task for task in old.tasks}
    for task in new.tasks:
        earlier = {arm.name: arm for arm in old.arms_of(old_tasks[task.name])} if task.name in old_tasks else {}
        pairs = []
        for arm in new.arms_of(task):
            if arm.name not in earlier:
                continue
            one = _settled(earlier[arm.name], old, old_tasks[task.name].prompt)
            other = _settled(arm, new, task.prompt)
            if one != other:
                pairs.append((one, other))
        for one, other in pairs:
            names = f"{other.name} {BEFORE}", f"{other.name} {NOW}"
            arms += [
                dataclasses.replace(arm, name=name, task=task.name)
                for arm, name in zip((one, other), names, strict=True)
            ]
            contrasts.append(Contrast(a=names[0], b=names[1], claim=f"{other.name}: the change", task=task.name))
        tasks += [task] if pairs else []
    if not arms:
        return None
    changes = {"tasks": tuple(tasks), "arms": tuple(arms), "contrasts": tuple(contrasts), "name": f"{new.name}-diff"}
    return dataclasses.replace(new, **changes)  # type: ignore[arg-type]


def _settled(arm: Arm, experiment: Experiment, prompt: object) -> Arm:
    """Return the arm with everything that it would take from its task and experiment."""
    own = arm.prompt if arm.prompt is not None else prompt
    sampling = arm.sampling or experiment.sampling
    return dataclasses.replace(arm, prompt=own, sampling=sampling, task="")  # type: ignore[arg-type]


def judge_changes(analysis: Analysis, points: float) -> list[tuple[ContrastFinding, GateResult]]:
    """Return each change with the gate "now not worse than before by `points` points"."""
    results = []
    for finding in analysis.findings:
        task = next(task for task in analysis.experiment.tasks if task.name == finding.task)
        ids = [item.id for item in task.items]
        clusters = {item.id: item.cluster for item in task.items}
        a, b = (analysis.scores(finding.task, name) for name in (finding.contrast.a, finding.contrast.b))
        both = [id for id in ids if id in a and id in b]
        gate = parse_gate(f"B not worse than A by {points:g} points")
        groups = [clusters[id] for id in both] if any(clusters.values()) else None
        scores = [a[id] for id in both], [b[id] for id in both]
        results.append((finding, check_gate(gate, *scores, groups, n_failed=len(ids) - len(both))))
    return results


def changes_markdown(results: list[tuple[ContrastFinding, GateResult]], revision: str, points: float) -> str:
    """Return the summary for a pull request: a table of all changes, with the gate of each."""
    lines = [f"### Prompts changed since `{revision}`", ""]
    lines += [
        "| arm | task | n | now − before, points | verdict | not worse by " + f"{points:g} |",
        "|---|---|---|---|---|---|",
    ]
    for finding, gate in results:
        d = finding.comparison.difference
        name = finding.contrast.b.removesuffix(f" {NOW}").replace("|", "\\|")
        interval = f"{points_text(d.mean)} [{points_text(d.low)}, {points_text(d.high)}]"
        passed = "shown" if gate.passed else "**not shown**"
        verdict = verdict_text(finding.comparison)
        lines.append(f"| {name} | {finding.task} | {finding.comparison.n} | {interval} | {verdict} | {passed} |")
    return "\n".join(lines) + "\n"


def changes_junit(results: list[tuple[ContrastFinding, GateResult]]) -> str:
    """Return JUnit XML with one test case a changed arm."""
    cases = []
    for finding, gate in results:
        text = f"{finding.task}: {finding.contrast.text}: {verdict_text(finding.comparison)}"
        failure = "" if gate.passed else gate.sentence
        cases.append(
            JUnitCase(classname=finding.task, name=finding.contrast.b, failure=failure, detail=text, output=text)
        )
    return junit_xml([JUnitSuite(name="kaiwa lab diff", cases=cases)])
