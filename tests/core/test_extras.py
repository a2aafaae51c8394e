"""The extras: their modules equal pyproject.toml, the core imports nothing beyond it, a missing one is one line."""

import ast
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from kaiwa.cli import main
from kaiwa.core.extras import INCLUDED, MODULES, missing_extra

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
# Brought by a core package (jinja2: markupsafe) or used only where the user has it.
BESIDE = {"markupsafe", "transformers", "llama_cpp", "wandb", "trackio", "yaml"}
BROUGHT = {"starlette": "fastapi", "pydantic": "fastapi", "typing_extensions": "fastapi"}
CORE_ROOMS = ["core", "defend", "doctor", "feedback", "lab", "redteam", "report", "stats", "text", "world"]


def package(requirement: str) -> str:
    """Return the normalised name of a requirement: "lxml-html-clean>=0.4" -> "lxml-html-clean"."""
    for mark in "[<>=!;":
        requirement = requirement.partition(mark)[0]
    return requirement.strip().lower().replace("_", "-")


def packages(extra: str) -> set[str]:
    return {package(r) for r in EXTRAS[extra] if not r.startswith("kaiwa[")}


def test_each_module_of_an_extra_is_of_one_of_its_packages() -> None:
    distributions = packages_distributions()
    for extra, modules in MODULES.items():
        for module in modules:
            names = (
                {BROUGHT[module]} if module in BROUGHT else {package(d) for d in distributions.get(module, [module])}
            )
            assert names & packages(extra), f"{module} is not brought by kaiwa[{extra}]"
    for extra, included in INCLUDED.items():
        assert {f"kaiwa[{','.join(included)}]"} <= set(EXTRAS[extra])


def test_every_import_is_in_the_core_or_in_an_extra() -> None:
    core = {package(r).replace("-", "_") for r in PROJECT["dependencies"]}
    known = core | BESIDE | {module for modules in MODULES.values() for module in modules}
    for file in (ROOT / "kaiwa").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            for name in names:
                top = name.partition(".")[0]
                assert top == "kaiwa" or top in sys.stdlib_module_names or top in known, f"{file}: {name}"


# scipy serves tests only; the core's own tyro brings typing_extensions.
BLOCKED = set().union({"scipy"}, *MODULES.values()) - {"typing_extensions"}
BLOCK = f"""
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {BLOCKED!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Missing())
"""


def test_the_core_rooms_import_without_any_extra() -> None:
    files = [f for room in CORE_ROOMS for f in sorted((ROOT / "kaiwa" / room).rglob("*.py"))]
    names = [".".join(f.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for f in files]
    code = BLOCK + f"import importlib\nfor name in {names!r}: importlib.import_module(name)\n"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 0, result.stderr[-800:]


@pytest.mark.parametrize(
    ("words", "module", "extra"),
    [
        (["pull", "a/b"], "huggingface_hub", "local"),
        (["up"], "uvicorn", "web"),
        (["build", "tiny"], "torch", "train"),
        (["corpus", "--source", "hf:a/b", "--out", "x"], "datasets", "data"),
        (["corpus", "--source", "page.html", "--out", "x"], "trafilatura", "train"),
    ],
)
def test_a_missing_extra_is_one_line(words: list[str], module: str, extra: str, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("<html><body><p>A page.</p></body></html>")
    code = BLOCK + f"from kaiwa.cli import main\nmain({words!r})"
    environment = {"PYTHONPATH": str(ROOT), "KAIWA_HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert result.returncode == 2, result.stderr
    line = f"kaiwa: kaiwa {words[0]} needs {module}, which is not installed; pip install 'kaiwa[{extra}]'\n"
    assert result.stderr == line


def test_a_module_that_no_extra_brings_is_no_user_error(monkeypatch: pytest.MonkeyPatch) -> None:
    error = ModuleNotFoundError("No module named 'kaiwa.nothing'", name="kaiwa.nothing")
    assert missing_extra(error, "kaiwa chat") is None

    def fail(words: list[str]) -> None:
        raise error

    monkeypatch.setattr("kaiwa.cli.command", lambda name: fail)
    with pytest.raises(ModuleNotFoundError):
        main(["chat"])
