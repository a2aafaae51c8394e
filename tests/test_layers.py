"""The import table of the house: rooms, sub-rooms, circles, sizes. Imports inside functions count."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "kaiwa"
FLOOR_0_TO_2 = {"core", "text", "stats", "report", "world", "model", "train", "tokenizer", "engine", "catalog"}
# Sub-rooms from the bottom up: a file imports its own and lower ones. ".": the other files; a tuple names files.
SUBROOMS: dict[str, tuple[str | tuple[str, ...], ...]] = {
    "model": (".", "families", "formats", ("adapter", "lora")),
    "engine": (
        ".", "native", "rows",
        ("continuous_batching", "bulk_batching", "shared_prompts", "engine", "probes", "embed"),
    ),
    "lab": ("asking", "tasks", "techniques", "grading", "experiments", "reports"),
    "redteam": ("targets", "oracles", "attacks", "bench", "."),
    "serve": (("exceptions",), "http", "openai", "dialects", "worker", "defence", "tuning", ".", "routes", ("app",)),
}  # fmt: skip
TORCH_IN_SERVE = "worker"  # the engine process; the server stays without torch
# A stage is a room with a loop and a configuration; it needs no row of its own unless it needs another stage.
STAGES = {"hub"} | {path.parent.name for path in PACKAGE.glob("*/run.py") if (path.parent / "config.py").is_file()}
MAY_IMPORT: dict[str, set[str]] = {
    **{stage: set(FLOOR_0_TO_2) for stage in STAGES},
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
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import; write it out"
            names += [(node.lineno, f"{node.module}.{alias.name}") for alias in node.names]
    return names


def violations(package: Path) -> list[str]:
    problems = []
    for path in sorted(package.rglob("*.py")):
        room = path.relative_to(package).parts[0].removesuffix(".py")
        if room in TOP or room == "__init__":
            continue
        if room not in MAY_IMPORT:
            problems.append(f"{path}: room {room!r} is not in the table")
            continue
        for line, name in imports(path):
            parts = name.split(".")
            if parts[0] == "kaiwa" and len(parts) > 1 and parts[1] not in MAY_IMPORT[room] | {room, "__version__"}:
                problems.append(f"{path}:{line}: {room} may not import {parts[1]}")
            if parts[0] == "torch" and room in NO_TORCH:
                problems.append(f"{path}:{line}: {room} may not import torch")
            if parts[0] == "torch" and room == "serve" and path.parent.name != TORCH_IN_SERVE:
                problems.append(f"{path}:{line}: in serve only {TORCH_IN_SERVE}/ may import torch")
    return problems


def place_in_room(path: Path, package: Path) -> tuple[str, int]:
    """Return a file's room, and the place of its sub-room from the bottom up (0 in a room without a table)."""
    parts = path.relative_to(package).with_suffix("").parts
    order = SUBROOMS.get(parts[0], ())
    if len(parts) == 1 or not order:
        return parts[0], 0
    for place, subroom in enumerate(order):
        if (len(parts) > 2 and subroom == parts[1]) or (len(parts) == 2 and parts[1] in subroom and subroom != "."):
            return parts[0], place
    return parts[0], order.index(".") if "." in order else 0


def graph(package: Path) -> dict[Path, dict[Path, int]]:
    """Return file -> the files of the package that it imports, with the line."""
    files = {f"kaiwa.{'.'.join(f.relative_to(package).with_suffix('').parts)}": f for f in package.rglob("*.py")}
    files |= {name.removesuffix(".__init__"): f for name, f in files.items() if name.endswith(".__init__")}
    edges: dict[Path, dict[Path, int]] = {}
    for path in sorted(set(files.values())):
        edges[path] = {}
        for line, name in imports(path):
            target = files.get(name) or files.get(name.rpartition(".")[0])
            if target is not None and target != path:
                edges[path][target] = line
    return edges


def arrows_up(package: Path) -> list[str]:
    """Return the imports from a lower sub-room to a higher one of the same room."""
    problems = []
    for path, targets in graph(package).items():
        for target, line in targets.items():
            (room, low), (other, high) = place_in_room(path, package), place_in_room(target, package)
            if room == other and low < high and path.name != "__init__.py":
                problems.append(f"{path.relative_to(package)}:{line} imports {target.relative_to(package)} above it")
    return problems


def circles(package: Path) -> list[list[str]]:
    """Return the groups of files that import each other (Tarjan's strongly connected components of two or more)."""
    edges, index, low = graph(package), {}, {}
    stack: list[Path] = []
    groups: list[list[str]] = []

    def visit(node: Path) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for target in edges[node]:
            if target not in index:
                visit(target)
            if target in stack:
                low[node] = min(low[node], low[target])
        if low[node] == index[node]:
            group = [stack.pop()]
            while group[-1] != node:
                group.append(stack.pop())
            if len(group) > 1:
                groups.append(sorted(str(path.relative_to(package)) for path in group))

    for node in edges:
        if node not in index:
            visit(node)
    return groups


def test_no_arrow_runs_up_inside_a_room() -> None:
    assert arrows_up(PACKAGE) == []


def test_no_circle_of_files() -> None:
    assert circles(PACKAGE) == []


def test_planted_arrows_and_circles_are_seen(tmp_path: Path) -> None:
    for name, line in {
        "lab/tasks/a.py": "from kaiwa.lab.grading import b",
        "lab/grading/b.py": "def f():\n    from kaiwa.lab.tasks.a import x",
        "serve/app.py": "import kaiwa.serve.services",
        "serve/services.py": "",
    }.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(line)
    assert len(arrows_up(tmp_path)) == 1
    assert circles(tmp_path) == [["lab/grading/b.py", "lab/tasks/a.py"]]


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
