"""The import table of the house. Imports inside functions count; a room may import itself and what its row names."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "kaiwa"
FLOOR_0_TO_2 = {"core", "text", "stats", "report", "world", "model", "train", "tokenizer", "engine", "catalog"}
STAGES = {"corpus", "pretrain", "sft", "reward", "dpo", "rlhf", "dialogue", "quantize", "hub", "evaluate"}
MAY_IMPORT: dict[str, set[str]] = {
    "core": set(),
    "text": {"core"},
    "stats": {"core"},
    "report": {"core"},
    "world": {"core", "text"},
    "model": {"core"},
    "train": {"core", "model", "tokenizer"},  # one reader of the token shards: docs/design/0001-layout.md
    "tokenizer": {"core", "text"},
    "engine": {"core", "text", "tokenizer", "model"},
    "catalog": {"core", "text", "tokenizer", "model", "engine"},
    "defend": {"core", "text"},
    "feedback": {"core", "text", "stats"},
    **{stage: set(FLOOR_0_TO_2) for stage in STAGES},
    "dpo": FLOOR_0_TO_2 | {"reward"},
    "rlhf": FLOOR_0_TO_2 | {"reward"},
    "dialogue": FLOOR_0_TO_2 | {"sft", "reward", "rlhf"},
    "hub": {"core", "text", "tokenizer", "model"},
    "evaluate": FLOOR_0_TO_2 | {"reward"},
    "lab": {"core", "text", "stats", "report", "world"},
    "redteam": {"core", "text", "stats", "report", "world", "lab", "defend"},
    "cluster": FLOOR_0_TO_2 | STAGES | {"feedback", "defend"},
    "serve": {"core", "text", "tokenizer", "engine", "catalog", "defend", "feedback", "stats"},
    "doctor": {"core", "text"},
    "web": {"core", "text", "stats", "report", "feedback", "defend", "lab", "redteam", "world"},
}
TOP = {"recipes", "recipe", "rounds", "cli", "studies", "commands", "__main__"}  # floor 6: everything
NO_TORCH = {"defend", "text", "stats", "report", "world", "tokenizer", "feedback", "web", "lab", "redteam"}


def imports(path: Path) -> list[tuple[int, str]]:
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import; write it out"
            found += [(node.lineno, f"{node.module}.{alias.name}") for alias in node.names]
    return found


def violations(package: Path) -> list[str]:
    found = []
    for path in sorted(package.rglob("*.py")):
        room = path.relative_to(package).parts[0].removesuffix(".py")
        if room in TOP or room == "__init__":
            continue
        if room not in MAY_IMPORT:
            found.append(f"{path}: room {room!r} is not in the table")
            continue
        for line, name in imports(path):
            parts = name.split(".")
            if parts[0] == "kaiwa" and len(parts) > 1 and parts[1] not in MAY_IMPORT[room] | {room, "__version__"}:
                found.append(f"{path}:{line}: {room} may not import {parts[1]}")
            if parts[0] == "torch" and room in NO_TORCH:
                found.append(f"{path}:{line}: {room} may not import torch")
    return found


def test_every_import_is_in_the_table() -> None:
    assert violations(PACKAGE) == []


@pytest.mark.parametrize("line", ["from kaiwa.sft import run", "def f():\n    import kaiwa.serve.app"])
def test_a_planted_violation_is_found(tmp_path: Path, line: str) -> None:
    room = tmp_path / "model"
    room.mkdir()
    (room / "bad.py").write_text(line)
    assert len(violations(tmp_path)) == 1


def test_size_budget() -> None:
    """A newcomer reads any file in one sitting."""
    long = {p.name: n for p in PACKAGE.rglob("*.py") if (n := len(p.read_text(encoding="utf-8").splitlines())) > 400}
    assert long == {}
