"""The prefix tree: which beginnings of texts are in the cache. Plain Python, no torch: blocks are only numbers here.

A node is BLOCK tokens after its parent's; its block holds their keys and values. A user of a node uses all nodes
above too. Nodes without users stay until their blocks are needed, and the least recently used go first. Every
adapter has a tree of its own (`space`), since keys and values of the same tokens differ between adapters. (Zheng et
al., 2023, "SGLang", section 3, with whole blocks instead of single tokens.)
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

BLOCK = 16  # tokens

Key = tuple[int, ...]


@dataclass(slots=True, eq=False)
class Node:
    """BLOCK tokens in the tree, their block of the cache, and how many rows use them."""

    key: Key
    block: int
    parent: Node | None
    children: dict[Key, Node] = field(default_factory=dict)
    users: int = 0


class PrefixTree:
    """Cached prefixes. Block numbers 0.. are handed out by `take` and come back by `give`, or stay in nodes."""

    def __init__(self, blocks: int) -> None:
        self.blocks = blocks
        self.roots: dict[int, Node] = {}  # by space
        self._free: list[int] = []
        self._next = 0  # blocks from here on were never used: their memory was never touched
        self._idle: OrderedDict[Node, None] = OrderedDict()  # without users; never a parent before its child

    def find(self, ids: Sequence[int], space: int = 0) -> list[Node]:
        """Return the nodes of the longest cached beginning of `ids`, in whole blocks."""
        node, path = self._root(space), []
        for at in range(0, len(ids) - BLOCK + 1, BLOCK):
            child = node.children.get(tuple(ids[at : at + BLOCK]))
            if child is None:
                break
            path.append(child)
            node = child
        return path

    def hold(self, nodes: Sequence[Node]) -> None:
        """Add a user to a path (returned by `find`, or any beginning of a returned path)."""
        for node in nodes:
            node.users += 1
            self._idle.pop(node, None)

    def release(self, nodes: Sequence[Node]) -> None:
        """Remove a user from a path."""
        for node in reversed(nodes):  # children become idle before their parents
            node.users -= 1
            assert node.users >= 0
            if node.users == 0:
                self._idle[node] = None

    def add(self, parent: Node | None, key: Sequence[int], block: int, space: int = 0) -> Node:
        """Return the node for `key` below `parent` (None: at the top of `space`), with an additional user.

        If the tree has the node already, `block` is free again. The parent must have a user.
        """
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
        """Return a block to write to: a free block, an untouched block, or the block of the node longest unused."""
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
        """Return a block without a node to the free blocks."""
        self._free.append(block)

    def shrink(self, idle: int) -> None:
        """Delete the least recently used nodes until at most `idle` unused ones remain."""
        while len(self._idle) > idle:
            node, _ = self._idle.popitem(last=False)
            assert node.parent is not None
            del node.parent.children[node.key]
            self._free.append(node.block)

    def forget(self, space: int) -> None:
        """Delete all nodes of a space without users."""
        nodes = [self._root(space)]
        for node in nodes:
            nodes += node.children.values()
        for node in nodes[1:]:
            del self._idle[node]
            self._free.append(node.block)
        del self.roots[space]

    def _root(self, space: int) -> Node:
        return self.roots.setdefault(space, Node((), -1, None))

    @property
    def idle(self) -> int:
        """Nodes without users."""
        return len(self._idle)
