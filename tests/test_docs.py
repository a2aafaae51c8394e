"""The documentation names what there is: commands, options, endpoints, metrics, files, the places of each recipe."""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted([*(ROOT / "docs").glob("*.md"), ROOT / "README.md", ROOT / "README.ja.md", ROOT / "CONTRIBUTING.md"])
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
RECIPES = dict(re.findall(r"^### (.*)\n((?:(?!^###? ).*\n?)*)", CONTRIBUTING, flags=re.M))
EXPECTED_RECIPES = {
    "a technique", "a corpus filter", "an attack", "a metric of training", "a metric in Prometheus", "an endpoint",
    "a sampling parameter", "a stage", "a stage's option", "a model family", "a page", "a defence", "a labeller's rule",
}  # fmt: skip


def python_output(code: str) -> str:
    """Return what a new process prints: the help of commands depends on nothing that the tests imported."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, check=True, capture_output=True, text=True
    ).stdout


def test_every_command_and_option_is_on_its_page() -> None:
    page = python_output("from kaiwa.commands.reference import page; print(page(), end='')")
    assert (ROOT / "docs" / "commands.md").read_text(encoding="utf-8") == page, (
        "python -m kaiwa.commands.reference > docs/commands.md"
    )
    for command in ("kaiwa up", "kaiwa lab run", "kaiwa redteam import", "kaiwa rlhf", "kaiwa best-of"):
        assert f"## {command}\n" in page
    assert "- `--kl-coefficient FLOAT`" in page


def test_every_endpoint_is_in_the_docs() -> None:
    pytest.importorskip("fastapi")
    from kaiwa.serve.app import make_app, make_services
    from kaiwa.serve.services import ServerSettings

    settings = ServerSettings(runs=ROOT / "runs", home=ROOT / "runs", port=1)
    paths = set(make_app(make_services(settings)).openapi()["paths"])
    docs = "".join((ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("serve.md", "fine_tuning.md"))
    plain = {re.sub(r"\{(\w+)(:path)?\}", r"{\1}", path) for path in paths}
    missing = {path for path in plain if path not in docs and path.rsplit("/", 1)[-1] not in docs}
    assert missing == set()
    assert "/v1/chat/completions" in plain


def test_every_prometheus_metric_is_in_the_docs() -> None:
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "kaiwa" / "serve").rglob("*metrics*.py"))
    names = {name for name in re.findall(r"\bkaiwa_[a-z_]+", source) if not name.endswith("_")}
    docs = (ROOT / "docs" / "serve.md").read_text(encoding="utf-8")
    assert len(names) > 5
    assert {name for name in names if name not in docs} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_a_page_names_exist(page: Path) -> None:
    """`engine/sampling.py` means kaiwa/engine/sampling.py; a bare name must be a file of the package."""
    text = page.read_text(encoding="utf-8")
    if page.name == "log.md":
        return  # what was: its files may be gone
    names = set(re.findall(r"`((?:[\w.-]+/)*[\w-]+\.(?:py|cpp|h|html|js|css|md))`", text))
    bare = {path.name for path in (ROOT / "kaiwa").rglob("*")} | {path.name for path in (ROOT / "docs").rglob("*")}
    missing = []
    for name in names:
        places = [ROOT / name, ROOT / "kaiwa" / name, page.parent / name, ROOT / "kaiwa" / page.stem / name]
        if (
            not any(place.exists() for place in places)
            and ("/" in name or name not in bare)
            and name not in EXAMPLES | {n for n in names if n.startswith("runs/") or "NAME" in n}
        ):
            missing.append(name)
    assert missing == []


# Files of the reader's own, and places to fill in.
EXAMPLES = {"rewards.py", "experiment.py", "recipe.py", "FILE.py", "utils.py"}


def test_the_recipes_are_all_there() -> None:
    assert set(RECIPES) == EXPECTED_RECIPES


@pytest.mark.parametrize("recipe", sorted(EXPECTED_RECIPES))
def test_the_places_of_a_recipe_exist(recipe: str) -> None:
    text = RECIPES[recipe]
    places = re.findall(r"`([\w./-]+\.(?:py|md|json|jsonl|html))`(?: \(((?:`[\w.]+`(?:, )?)+)\))?", text)
    assert places, f"the recipe for {recipe} names no file"
    for file, names in places:
        path = ROOT / file
        assert path.is_file(), f"{recipe}: {file} does not exist"
        content = path.read_text(encoding="utf-8")
        if path.suffix == ".json":
            json.loads(content)
        for name in re.findall(r"`([\w.]+)`", names):
            defined = set()
            if path.suffix == ".py":
                for node in ast.walk(ast.parse(content)):
                    if isinstance(node, ast.Name | ast.Attribute):
                        defined.add(ast.unparse(node))
                    elif isinstance(node, ast.FunctionDef | ast.ClassDef):
                        defined.add(node.name)
            assert name in defined, f"{recipe}: {file} has no {name}"


def test_the_log_has_dated_entries_newest_first_and_a_contents() -> None:
    text = (ROOT / "docs" / "log.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## (.*)$", text, flags=re.M)
    assert [h for h in headings if not re.fullmatch(r"\d{4}-\d\d-\d\d · [\w ]+ · .+: .+", h)] == []
    dates = [heading[:10] for heading in headings]
    assert dates == sorted(dates, reverse=True)
    anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    links = re.findall(r"\]\(#(.*?)\)", text)
    assert set(links) == anchors
    assert len(links) == len(headings)
