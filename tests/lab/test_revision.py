"""Prompts that changed in git, before against now, on the same items."""

import subprocess
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from kaiwa.core.errors import UserError
from kaiwa.lab.experiments.analysis import analyse
from kaiwa.lab.experiments.experiment import Experiment
from kaiwa.lab.experiments.experiment_file import read_experiment
from kaiwa.lab.experiments.run import run
from kaiwa.lab.reports.revision import (
    changed_arms,
    changes_junit,
    changes_markdown,
    judge_changes,
    read_at_revision,
)
from tests.lab.fakes import RuleModel

FILE = """
name = "shop"
model = "m"
[[tasks]]
name = "tickets"
file = "t.csv"
answer = "topic"
choices = ["damage", "delivery"]
n_demos = 2
prompt = "asks.md"
[[arms]]
name = "plain"
technique = "zero-shot"
[[arms]]
name = "own"
technique = "zero-shot"
prompt = { input = "{ticket}", output_indicator = "Topic:" }
"""


def git(folder: Path, *words: str) -> None:
    settings = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
    subprocess.run(["git", "-C", str(folder), *settings, *words], check=True, capture_output=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = "".join(f"ticket {i},{['damage', 'delivery'][i % 2]}\n" for i in range(62))
    (tmp_path / "t.csv").write_text("ticket,topic\n" + rows)  # not tracked
    (tmp_path / "e.toml").write_text(FILE)
    (tmp_path / "asks.md").write_text("## instruction\nWhich topic?\n## input\n{ticket}\n")
    git(tmp_path, "init")
    git(tmp_path, "add", "e.toml", "asks.md")
    git(tmp_path, "commit", "-m", "first")
    return tmp_path


def changed(folder: Path) -> Experiment | None:
    return changed_arms(read_at_revision(folder / "e.toml", "HEAD"), read_experiment(folder / "e.toml"))


def test_nothing_changed(folder: Path) -> None:
    assert changed(folder) is None
    (folder / "t.csv").write_text((folder / "t.csv").read_text() + "more,damage\n")
    assert changed(folder) is None, "data are taken from today on both sides"


def test_a_changed_prompt_file_and_a_changed_arm(folder: Path) -> None:
    (folder / "asks.md").write_text("## instruction\nName the topic.\n## input\n{ticket}\n")
    experiment = changed(folder)
    assert experiment is not None
    assert [arm.name for arm in experiment.arms] == ["plain before", "plain now"]
    assert [arm.prompt.instruction for arm in experiment.arms if arm.prompt] == ["Which topic?", "Name the topic."]
    (folder / "e.toml").write_text(FILE.replace('"Topic:"', '"Label:"'))
    experiment = changed(folder)
    assert experiment is not None
    assert [(c.a, c.b) for c in experiment.contrasts] == [
        ("plain before", "plain now"), ("own before", "own now")
    ]  # fmt: skip


@pytest.mark.parametrize(("better", "passed"), [(True, True), (False, False)])
def test_verdict_summary_and_junit(folder: Path, better: bool, passed: bool) -> None:
    (folder / "asks.md").write_text("## instruction\nName the topic.\n## input\n{ticket}\n")
    experiment = changed(folder)
    assert experiment is not None

    def answer(text: str, temperature: float, seed: int) -> str:
        number = int(text.rsplit(" ", 1)[1])
        right = ["damage", "delivery"][number % 2]
        return right if ("Name" in text) == better else "damage"

    analysis = analyse(experiment, run(experiment, RuleModel(answer)))
    results = judge_changes(analysis, 3.0)
    assert [gate.passed for _, gate in results] == [passed]
    text = changes_markdown(results, "HEAD", 3.0)
    assert "| plain | tickets | 60 |" in text
    assert ("**not shown**" in text) == (not passed)
    root = ElementTree.fromstring(changes_junit(results))
    assert root.get("failures") == ("0" if passed else "1")


def test_what_git_does_not_know(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.raises(UserError, match="git ls-tree"):
        read_at_revision(folder / "e.toml", "nowhere")
    (folder / "new.toml").write_text(FILE)
    with pytest.raises(UserError, match="not in revision HEAD"):
        read_at_revision(folder / "new.toml", "HEAD")
    with pytest.raises(UserError, match=r"give a \.toml"):
        read_at_revision(folder / "e.py", "HEAD")
