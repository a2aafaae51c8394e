"""Text included in every Python installation: its documentation (English) and its standard library (code).

`builtin:docs` is `pydoc_data.topics` (the language reference) and the docstrings of the standard library; about 2.1 MB.
`builtin:code` is the library's source, 11 MB, limited by the source's max_bytes. Files are ordered by a hash of their
path, so that a small budget is a broad sample. The text depends on the Python version; the card names the version.
"""

from __future__ import annotations

import ast
import hashlib
import sysconfig
import warnings
from collections.abc import Iterator
from pathlib import Path

from kaiwa.core.errors import UserError
from kaiwa.corpus.raw import Raw

NOT_LIBRARY = {"site-packages", "dist-packages", "test", "tests", "idlelib", "lib2to3", "turtledemo", "pydoc_data"}
NOT_LIBRARY |= {"_bundled", "__pycache__", "idle_test", "__phello__"}
MIN_DOCSTRING = 40  # characters; shorter docstrings add nothing to their heading


def library_files() -> list[tuple[str, Path]]:
    """Return (dotted module path with slashes, file) of the standard library, in hash order."""
    root = Path(sysconfig.get_path("stdlib"))
    modules = []
    for path in root.rglob("*.py"):
        relative = path.relative_to(root)
        if not NOT_LIBRARY & set(relative.parts) and not relative.parts[0].startswith("config-"):
            modules.append((relative.with_suffix("").as_posix(), path))
    if not modules:
        raise UserError(f"{root}: this Python has no library source; give text of your own with --source PATH")
    return sorted(modules, key=lambda item: (hashlib.sha256(item[0].encode()).digest(), item[0]))


def read_code(source: str) -> Iterator[Raw]:
    """Yield the unchanged source of each module as one document."""
    for name, path in library_files():
        text = _source_text(path)
        if text is not None:
            yield Raw(text, "text", f"{source}/{name}.py", "code")


def read_docs(source: str) -> Iterator[Raw]:
    """Yield the topics, then each module's source; `docstrings` extracts the docstrings later, in a worker process."""
    from pydoc_data.topics import topics

    for topic in sorted(topics):
        yield Raw(_plain(topics[topic]), "text", f"{source}/topics::{topic}", "en")
    for name, path in library_files():
        text = _source_text(path)
        if text is not None and ('"""' in text or "'''" in text):
            yield Raw(text, "docstrings", f"{source}/{name}", "en")


def _plain(topic: str) -> str:
    """Return a topic without the asterisks of its underlined title (pydoc's own layout otherwise)."""
    lines = topic.strip("\n").splitlines()
    return "\n".join(line.rstrip() for line in lines if set(line.strip()) != {"*"})


def _source_text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except (UnicodeDecodeError, OSError):
        return None  # another encoding, or no permission to read


def docstrings(source: str, name: str) -> list[tuple[str, str]]:
    """Return (id suffix, text): one document for a module with its functions, one for each class with its methods."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in the library's own strings
            tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return []  # a template, or not valid in this Python version
    module = name.replace("/", ".").removesuffix(".__init__")
    documents = []
    parts = []
    if doc := ast.get_docstring(tree):
        parts.append(f"{module}\n\n{doc}")
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            parts += _function(node, module)
        elif isinstance(node, ast.ClassDef):
            text = "\n\n".join(_class(node, module))
            if text:
                documents.append((f"::{node.name}", text))
    if parts:
        documents.insert(0, ("::module", "\n\n".join(parts)))
    return documents


def _class(node: ast.ClassDef, owner: str) -> list[str]:
    pieces = []
    doc = ast.get_docstring(node)
    if doc and len(doc) >= MIN_DOCSTRING:
        pieces.append(f"class {owner}.{node.name}\n\n{doc}")
    for child in node.body:
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            pieces += _function(child, node.name)
        elif isinstance(child, ast.ClassDef):
            pieces += _class(child, f"{owner}.{node.name}")
    return pieces


def _function(node: ast.FunctionDef | ast.AsyncFunctionDef, owner: str) -> list[str]:
    doc = ast.get_docstring(node)
    if not doc or len(doc) < MIN_DOCSTRING:
        return []
    names = [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs) if a.arg != "self"]
    return [f"{owner}.{node.name}({', '.join(names)})\n\n{doc}"]
