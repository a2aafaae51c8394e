"""The prefix tree: which beginnings of texts are in the cache. Plain Python, no torch: it deals in numbers of blocks.

A node is BLOCK tokens that follow its parent's; its block holds their keys and values. Whoever uses a node uses all
nodes above it, too. Nodes that nobody uses stay, least recently used first to go, until their blocks are wanted.
Every adapter has a tree of its own (`space`): the same tokens have other keys and values there.
(Zheng et al., 2023, "SGLang", section 3, with whole blocks instead of single tokens.)
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

BLOCK = 16  # tokens

Key = tuple[int, ...]


@dataclass(slots=True, eq=False)
class Node:
    key: Key
    block: int
    parent: Node | None
    children: dict[Key, Node] = field(default_factory=dict)
    users: int = 0


class PrefixTree:
    """`blocks` numbers 0.. are handed out by `take` and come back by `give`, or stay in nodes."""

    def __init__(self, blocks: int) -> None:
        self.blocks = blocks
        self.roots: dict[int, Node] = {}  # by space
        self._free: list[int] = []
        self._next = 0  # blocks from here on were never used: their memory was never touched
        self._idle: OrderedDict[Node, None] = OrderedDict()  # without users; never a parent before its child

    def find(self, ids: Sequence[int], space: int = 0) -> list[Node]:
        """The nodes of the longest beginning of `ids` that is here, whole blocks only."""
        node, found = self._root(space), []
        for at in range(0, len(ids) - BLOCK + 1, BLOCK):
            child = node.children.get(tuple(ids[at : at + BLOCK]))
            if child is None:
                break
            found.append(child)
            node = child
        return found

    def hold(self, nodes: Sequence[Node]) -> None:
        """One more user of a path (as `find` gives it, or any beginning of it)."""
        for node in nodes:
            node.users += 1
            self._idle.pop(node, None)

    def release(self, nodes: Sequence[Node]) -> None:
        """One user of a path less."""
        for node in reversed(nodes):  # children become idle before their parents
            node.users -= 1
            assert node.users >= 0
            if node.users == 0:
                self._idle[node] = None

    def add(self, parent: Node | None, key: Sequence[int], block: int, space: int = 0) -> Node:
        """A node for `key` below `parent` (None: at the top of `space`), held once. If there is one already, that one,
        and `block` is free again. The parent must be held."""
        above = self._root(space) if parent is None else parent
        assert parent is None or parent.users > 0
        name = tuple(key)
        assert len(name) == BLOCK
        node = above.children.get(name)
        if node is None:
            node = above.children[name] = Node(name, block, above)
        else:
            self.give(block)
        self.hold([node])
        return node

    def take(self) -> int:
        """A block to write to: a free one, an untouched one, or that of the node longest unused."""
        if self._free:
            return self._free.pop()
        if self._next < self.blocks:
            self._next += 1
            return self._next - 1
        assert self._idle, "the scheduler admitted more than the cache holds"
        node, _ = self._idle.popitem(last=False)
        assert not node.children
        assert node.parent is not None
        del node.parent.children[node.key]
        return node.block

    def give(self, block: int) -> None:
        """A block that is in no node."""
        self._free.append(block)

    def shrink(self, idle: int) -> None:
        """Forgets nodes until at most `idle` unused ones stay."""
        while len(self._idle) > idle:
            node, _ = self._idle.popitem(last=False)
            assert node.parent is not None
            del node.parent.children[node.key]
            self._free.append(node.block)

    def forget(self, space: int) -> None:
        """All nodes of a space, which nobody uses any more."""
        found = [self._root(space)]
        for node in found:
            found += node.children.values()
        for node in found[1:]:
            del self._idle[node]
            self._free.append(node.block)
        del self.roots[space]

    def _root(self, space: int) -> Node:
        return self.roots.setdefault(space, Node((), -1, None))

    @property
    def idle(self) -> int:
        return len(self._idle)
