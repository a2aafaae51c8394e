"""The language of the code, held by its syntax tree: names that say the noun, short functions, verbs first."""

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "kaiwa"
# Words that say that something was done to a thing, and not what the thing is.
VAGUE_WORDS = """
found told said made asked mine some given wanted shown seen kept left taken begun whose went there come gone held put
thing stuff
"""
VAGUE = set(VAGUE_WORDS.split())
LOOPS = {"run.py", "loop.py", "recipe.py"}  # a stage's loop may be longer than other functions
MOST_LINES, MOST_LOOP_LINES, MOST_POSITIONAL, MOST_FIELDS = 80, 150, 5, 25
# A command's dataclass is always called Options: nobody imports two of them.
SHARED_CLASS_NAMES = {"Options"}
# First words of docstrings that are no verb. A property's docstring and a class's may be a noun phrase.
NO_VERB_WORDS = """
a all an any anything both by each every everything for from here how if in it its nothing of on one only or our some
that the their these they this those to what when where whether which who whose why with without you
"""
NO_VERBS = set(NO_VERB_WORDS.split())
THIRD_PERSON = {"gives", "returns", "yields", "raises", "reads", "writes", "builds", "makes", "tells", "says", "loads"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def nodes() -> Iterator[tuple[str, ast.AST]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            yield str(path.relative_to(PACKAGE)), node


def functions() -> Iterator[tuple[str, Function]]:
    for place, node in nodes():
        if isinstance(node, Function):
            yield place, node


def decorators(node: Function) -> str:
    return " ".join(ast.unparse(decorator) for decorator in node.decorator_list)


def test_names_say_what_they_hold() -> None:
    vague = []
    for place, node in nodes():
        name = node.id if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) else ""
        name = node.arg if isinstance(node, ast.arg) else name
        if name in VAGUE:
            vague.append(f"{place}:{node.lineno} {name}")  # type: ignore[attr-defined]
    assert vague == []


def test_functions_are_not_named_by_a_participle() -> None:
    vague = [f"{place}:{node.lineno} {node.name}" for place, node in functions() if node.name.strip("_") in VAGUE]
    assert vague == []


def test_functions_are_short() -> None:
    long = []
    for place, node in functions():
        lines = (node.end_lineno or 0) - node.lineno + 1
        if lines > (MOST_LOOP_LINES if Path(place).name in LOOPS else MOST_LINES):
            long.append(f"{place}:{node.lineno} {node.name} has {lines} lines")
    assert long == []


def test_arguments_after_the_fifth_are_named() -> None:
    """torch calls the `forward` of an autograd function by position: it is no interface of ours."""
    many = []
    for place, node in functions():
        names = [arg.arg for arg in (*node.args.posonlyargs, *node.args.args)]
        n = len(names) - (names[:1] in (["self"], ["cls"]))
        if n > MOST_POSITIONAL and not (node.name == "forward" and "staticmethod" in decorators(node)):
            many.append(f"{place}:{node.lineno} {node.name} takes {n} positional arguments")
    assert many == []


def test_configurations_are_small() -> None:
    large = []
    for place, node in nodes():
        if isinstance(node, ast.ClassDef) and node.name.endswith("Config"):
            n = sum(isinstance(item, ast.AnnAssign) for item in node.body)
            if n > MOST_FIELDS:
                large.append(f"{place}: {node.name} has {n} fields; group them")
    assert large == []


def test_a_class_name_means_one_thing() -> None:
    names = Counter(node.name for _, node in nodes() if isinstance(node, ast.ClassDef))
    assert {name: n for name, n in names.items() if n > 1 and name not in SHARED_CLASS_NAMES} == {}


def test_docstrings_of_functions_begin_with_a_verb() -> None:
    wrong = []
    for place, node in functions():
        text = ast.get_docstring(node) or ""
        if not text or "property" in decorators(node) or node.name == "__init__":
            continue
        first = text.split()[0].strip("\"'`.,:;()[]").lower()
        if first in NO_VERBS | THIRD_PERSON or not text[0].isalpha():
            wrong.append(f"{place}:{node.lineno} {node.name}: {text.split(chr(10))[0][:60]}")
    assert wrong == []


def public_functions(node: ast.AST) -> Iterator[Function]:
    """Yield functions and methods that others call: none inside a function, none of a private class."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef) and not child.name.startswith("_"):
            yield from public_functions(child)
        elif isinstance(child, Function) and not child.name.startswith("_"):
            yield child


def test_functions_over_tensors_say_their_shapes() -> None:
    silent = []
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in public_functions(ast.parse(path.read_text(encoding="utf-8"))):
            arguments = [*node.args.args, *node.args.kwonlyargs]
            hints = [ast.unparse(hint) for hint in (*(a.annotation for a in arguments), node.returns) if hint]
            over_tensors = any(name in hint for hint in hints for name in ("Tensor", "ndarray", "NDArray"))
            if over_tensors and "[" not in (ast.get_docstring(node) or ""):
                silent.append(f"{path.relative_to(PACKAGE)}:{node.lineno} {node.name}")
    assert silent == []
