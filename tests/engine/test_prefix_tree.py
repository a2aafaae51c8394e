"""The prefix tree against a plain dictionary: what is found is right, what is used stays, blocks are never lost."""

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from kaiwa.engine.rows.prefix_tree import BLOCK, Node, PrefixTree


def whole(ids: list[int]) -> list[tuple[int, ...]]:
    return [tuple(ids[: n + BLOCK]) for n in range(0, len(ids) - BLOCK + 1, BLOCK)]


@given(st.integers(4, 40), st.integers(0, 12), st.randoms(use_true_random=False))
@settings(max_examples=120, deadline=None)
def test_random_use(blocks: int, kept: int, rng: Random) -> None:
    tree = PrefixTree(blocks)
    content: dict[int, tuple[int, ...]] = {}  # block -> the whole beginning it ends
    users: list[tuple[list[Node], list[int]]] = []  # held paths and what they stand for
    for _ in range(60):
        ids = [token for _ in range(rng.randrange(1, 6)) for token in [rng.randrange(2)] * BLOCK]
        found = tree.find(ids)
        for node, prefix in zip(found, whole(ids), strict=False):
            assert content[node.block] == prefix
        if rng.random() < 0.6 and sum(len(path) for path, _ in users) + len(ids) // BLOCK <= blocks:
            tree.hold(found)
            path = list(found)
            for prefix in whole(ids)[len(found) :]:
                block = tree.take()
                assert all(block not in [node.block for node in held] for held, _ in users)
                assert block not in [node.block for node in path]
                content[block] = prefix
                path.append(tree.add(path[-1] if path else None, prefix[-BLOCK:], block))
            users.append((path, ids))
        elif users:
            path, _ = users.pop(rng.randrange(len(users)))
            tree.release(path)
            tree.shrink(kept)
            assert tree.idle <= kept
        for path, held in users:  # whoever uses a path finds it
            assert tree.find(held) == path
    for path, _ in users:
        tree.release(path)
    tree.shrink(0)
    assert tree.find([0] * BLOCK) == tree.find([1] * BLOCK) == []
    assert sorted(tree.take() for _ in range(blocks)) == list(range(blocks))  # each block once


def test_the_longest_unused_goes_first_and_leaves_before_their_parents() -> None:
    tree = PrefixTree(4)
    a, b = [[token] * BLOCK for token in (1, 2)]

    def add(ids: list[int]) -> list[Node]:
        path: list[Node] = []
        for prefix in whole(ids):
            path.append(tree.add(path[-1] if path else None, prefix[-BLOCK:], tree.take()))
        tree.release(path)
        return path

    add(a + b)
    add(b)
    tree.hold(found := tree.find(a + b))
    tree.release(found)  # used last: now b goes first, then the end of a + b
    tree.shrink(2)
    assert (len(tree.find(a + b)), len(tree.find(b))) == (2, 0)
    tree.shrink(1)
    assert len(tree.find(a + b)) == 1


def test_the_same_computed_twice_is_kept_once() -> None:
    tree = PrefixTree(3)
    one = tree.add(None, [5] * BLOCK, tree.take())
    two = tree.add(None, [5] * BLOCK, tree.take())
    assert one is two
    assert one.users == 2
    assert {tree.take(), tree.take()} == {1, 2}
