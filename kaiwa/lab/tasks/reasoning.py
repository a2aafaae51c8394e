"""Generated tasks with one right answer, English and Japanese: word sums, last letters, coin flip, dates, Game of 24.

Items carry their reasoning and equation, so that every arm of chain of thought has something to show.
"""

from __future__ import annotations

import datetime
import random
from collections.abc import Callable
from fractions import Fraction
from typing import TypedDict

from kaiwa.core.rng import python_rng
from kaiwa.lab.tasks.game24 import can_reach_24
from kaiwa.lab.tasks.prompt import Prompt
from kaiwa.lab.tasks.task import Grader, Item, Task

NAMES = {
    "en": ("Anna", "Ben", "Clara", "Daniel", "Emma", "Felix", "Grace", "Hugo", "Iris", "Jack", "Kate", "Leo"),
    "ja": (
        "さくら",
        "はると",
        "ゆい",
        "そうた",
        "ひなた",
        "れん",
        "あおい",
        "みなと",
        "つむぎ",
        "かなた",
        "りこ",
        "だいち",
    ),
}
OBJECTS = {
    "en": ("apples", "pencils", "stickers", "books", "coins", "marbles"),
    "ja": ("りんご", "えんぴつ", "シール", "みかん", "コイン", "ビー玉"),
}
SUMS = {
    "en": (
        "{a} has {x} {t}. {b} gives {a} {y} more. How many {t} does {a} have now?",
        "{a} had {x} {t} and gave {y} of them to {b}. How many {t} are left?",
        "{a} buys {x} bags with {y} {t} in each. How many {t} are there?",
        "{a} has {x} {t}, buys {y} more and then gives {z} to {b}. How many {t} does {a} have?",
    ),
    "ja": (
        "{a}さんは{t}を{x}個持っています。{b}さんが{y}個くれました。今、{t}は何個ですか。",
        "{a}さんは{t}を{x}個持っていて、{b}さんに{y}個あげました。残りは何個ですか。",
        "{a}さんは{t}が{y}個ずつ入った袋を{x}袋買いました。{t}は全部で何個ですか。",
        "{a}さんは{t}を{x}個持っています。{y}個買い、{b}さんに{z}個あげました。{t}は何個ですか。",
    ),
}
WORKED = {
    "en": ("At first there are {x}. Then {step}.", "{e} = {r}"),
    "ja": ("はじめは{x}です。{step}。", "{e} = {r}"),
}


def _items(name: str, seed: int, n: int, make: Callable[[random.Random], dict[str, object]]) -> tuple[Item, ...]:
    """Make n items with different inputs; their ids name task and number."""
    rng = python_rng(seed, "task", name)
    items: dict[str, Item] = {}
    for _ in range(200 * n):
        if len(items) == n:
            break
        values = make(rng)
        items.setdefault(str(values["input"]), Item(id=f"{name}-{len(items)}", **values))  # type: ignore[arg-type]
    return tuple(items.values())


class ItemSplit(TypedDict):
    demos: tuple[Item, ...]
    items: tuple[Item, ...]


def split_items(
    name: str, seed: int, n: int, n_demos: int, make: Callable[[random.Random], dict[str, object]]
) -> ItemSplit:
    items = _items(name, seed, n + n_demos, make)
    return {"demos": items[:n_demos], "items": items[n_demos:]}


def word_sums(language: str = "en", n: int = 100, seed: int = 0, n_demos: int = 16) -> Task:
    """Generate sums of one or two steps of + - x, told as stories."""

    def make(rng: random.Random) -> dict[str, object]:
        kind = rng.randrange(4)
        a, b = rng.sample(NAMES[language], 2)
        x, y, z = rng.randrange(11, 60), rng.randrange(2, 10), rng.randrange(2, 9)
        equation = [f"{x} + {y}", f"{x} - {y}", f"{x} * {y}", f"{x} + {y} - {z}"][kind]
        result = [x + y, x - y, x * y, x + y - z][kind]
        text = SUMS[language][kind].format(a=a, b=b, x=x, y=y, z=z, t=rng.choice(OBJECTS[language]))
        sum_text = f"{x} + {y} = {x + y}, {x + y} - {z} = {result}" if kind == 3 else f"{equation} = {result}"
        step = WORKED[language][0].format(x=x, step=sum_text)
        return {"input": text, "answer": str(result), "reasoning": step, "equation": f"{equation} = {result}."}

    prompt = _question(language)
    return Task(
        name=f"word-sums-{language}",
        language=language,
        kind="number",
        prompt=prompt,
        grader=Grader(name="number"),
        max_tokens=48,
        **split_items(f"word-sums-{language}", seed, n, n_demos, make),
    )


def last_letters(language: str = "en", n: int = 100, seed: int = 0, n_demos: int = 16, words: int = 2) -> Task:
    """Generate "join the last letters of some names" (Wei et al. 2022, section 5)."""

    def make(rng: random.Random) -> dict[str, object]:
        names = rng.sample(NAMES[language], words)
        answer = "".join(name[-1] for name in names)
        if language == "ja":
            steps_ja = "、".join(f"「{w}」の最後の文字は「{w[-1]}」" for w in names)
            question = f"「{'」「'.join(names)}」の最後の文字をつなげてください。"
            return {
                "input": question,
                "answer": answer,
                "reasoning": f"{steps_ja}です。",
                "equation": "+".join(answer) + "。",
            }
        steps = " ".join(f'The last letter of "{w}" is "{w[-1]}".' for w in names)
        question = f'Take the last letters of the words in "{" ".join(names)}" and join them.'
        return {"input": question, "answer": answer, "reasoning": steps, "equation": " + ".join(answer) + "."}

    name = f"last-letters-{language}"
    return Task(name=name, language=language, prompt=_question(language), **split_items(name, seed, n, n_demos, make))


def coin_flip(language: str = "en", n: int = 100, seed: int = 0, n_demos: int = 16) -> Task:
    """Generate "is the coin still heads up", after some people flipped it or did not (Wei et al. 2022, section 5)."""

    def make(rng: random.Random) -> dict[str, object]:
        names = rng.sample(NAMES[language], rng.choice((2, 3)))
        flips = [rng.random() < 0.5 for _ in names]
        up = sum(flips) % 2 == 0
        if language == "ja":
            story = "".join(
                f"{w}さんはコインを{'裏返します' if f else '裏返しません'}。" for w, f in zip(names, flips, strict=True)
            )
            return {
                "input": f"コインは表向きです。{story}コインはまだ表向きですか。",
                "answer": "はい" if up else "いいえ",
                "choices": ("はい", "いいえ"),
                "reasoning": f"コインは{sum(flips)}回裏返されました。{sum(flips)}は{'偶数' if up else '奇数'}です。",
                "equation": f"{sum(flips)}回。",
            }
        story = " ".join(
            f"{w} {'flips' if f else 'does not flip'} the coin." for w, f in zip(names, flips, strict=True)
        )
        times = sum(flips)
        return {
            "input": f"A coin is heads up. {story} Is the coin still heads up?",
            "answer": "yes" if up else "no",
            "choices": ("yes", "no"),
            "reasoning": f"The coin was flipped {times} times, and {times} is {'even' if up else 'odd'}.",
            "equation": f"{times} flips.",
        }

    name = f"coin-flip-{language}"
    return Task(
        name=name,
        language=language,
        kind="choice",
        prompt=_question(language),
        **split_items(name, seed, n, n_demos, make),
    )


def dates(language: str = "en", n: int = 100, seed: int = 0, n_demos: int = 16) -> Task:
    """Generate "which date is some days later or earlier", answered as YYYY-MM-DD."""

    def make(rng: random.Random) -> dict[str, object]:
        day = datetime.date(2024, 1, 1) + datetime.timedelta(days=rng.randrange(700))
        days = rng.choice((1, 2, 7, 10))
        later = rng.random() < 0.5
        other = day + datetime.timedelta(days=days if later else -days)
        if language == "ja":
            question = (
                f"今日は{day.isoformat()}です。{days}日{'後' if later else '前'}の日付をYYYY-MM-DDで答えてください。"
            )
            reasoning = f"{day.isoformat()}の{days}日{'後' if later else '前'}は{other.isoformat()}です。"
        else:
            way = "later" if later else "earlier"
            question = f"Today is {day.isoformat()}. What is the date {days} days {way} (YYYY-MM-DD)?"
            reasoning = f"{days} days {'after' if later else 'before'} {day.isoformat()} it is {other.isoformat()}."
        return {"input": question, "answer": other.isoformat(), "reasoning": reasoning, "equation": ""}

    name = f"dates-{language}"
    grader = Grader(name="contains")
    prompt = _question(language)
    return Task(name=name, language=language, grader=grader, prompt=prompt, **split_items(name, seed, n, n_demos, make))


def game_of_24(language: str = "en", n: int = 50, seed: int = 0, n_demos: int = 4) -> Task:
    """Generate Games of 24, all of which can be solved."""

    def make(rng: random.Random) -> dict[str, object]:
        while True:
            numbers = sorted(rng.randrange(1, 14) for _ in range(4))
            if can_reach_24(tuple(map(Fraction, numbers))):
                text = " ".join(map(str, numbers))
                return {"input": text, "answer": text}

    instructions = {
        "en": "Use each of the four numbers once, with + - * / and brackets, to make 24. Write the expression only.",
        "ja": "四つの数を一度ずつ使い、+ - * / と括弧で24を作ってください。式だけを書いてください。",
    }
    name = f"game-of-24-{language}"
    return Task(
        name=name,
        language=language,
        grader=Grader(name="game24"),
        prompt=Prompt(instruction=instructions[language], language=language),
        **split_items(name, seed, n, n_demos, make),
    )


def _question(language: str) -> Prompt:
    if language == "ja":
        return Prompt(input="質問: {input}", output_indicator="答え:", language="ja")
    return Prompt(input="Question: {input}", output_indicator="Answer:")
