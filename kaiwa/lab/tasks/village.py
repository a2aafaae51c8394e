"""Tasks over the village: labels, facts that must be looked up, extraction; and format tasks (lists, length, code).

Facts about invented people are in no model's memory: without the text the right answer is a guess, so any gain of a
technique here comes from the prompt.
"""

from __future__ import annotations

import json
import random

from kaiwa.lab.tasks.prompt import Prompt
from kaiwa.lab.tasks.reasoning import split_items
from kaiwa.lab.tasks.task import Grader, Task
from kaiwa.world import Village, VillageConfig, build_village
from kaiwa.world.language import ATTRIBUTES, LANGUAGES, VALUE_IDS

GOOD = {
    "en": ("wonderful", "a joy from start to end", "clever and warm", "the best evening in years", "simply lovely"),
    "ja": ("とても素晴らしい", "最後まで楽しい", "心が温まる", "何年ぶりかの良い時間だった", "本当に見事だ"),
}
BAD = {
    "en": ("dull", "a waste of an evening", "clumsy and far too long", "painful to sit through", "a sad mess"),
    "ja": ("退屈だ", "時間の無駄だった", "長すぎて雑だ", "見ていて苦痛だった", "ひどい出来だ"),
}
SUBJECTS = {
    "en": ("The play", "This film", "The concert", "The new café", "Her second book", "The market"),
    "ja": ("この芝居は", "この映画は", "演奏会は", "新しい喫茶店は", "二冊目の本は", "市場は"),
}
LABELS = {"en": ("positive", "negative"), "ja": ("良い", "悪い")}
QUESTIONS = {
    "en": {
        "trade": "What does {name} do for a living?",
        "home": "Where does {name} live?",
        "animal": "What animal does {name} keep?",
        "food": "What does {name} like to eat?",
    },
    "ja": {
        "trade": "{name}さんの仕事は何ですか。",
        "home": "{name}さんはどこに住んでいますか。",
        "animal": "{name}さんが飼っている動物は何ですか。",
        "food": "{name}さんの好きな食べ物は何ですか。",
    },
}


def make_village(language: str = "en", seed: int = 0) -> Village:
    return build_village(VillageConfig(seed=seed, n_taught=60, n_held_out=20, languages=(language,)))


def sentiment(language: str = "en", n: int = 100, seed: int = 0, n_demos: int = 24) -> Task:
    """Generate reviews with the labels positive and negative."""

    def make(rng: random.Random) -> dict[str, object]:
        good = rng.random() < 0.5
        first, second = rng.sample((GOOD if good else BAD)[language], 2)
        subject = rng.choice(SUBJECTS[language])
        text = (
            f"{subject}{first}。{second}。" if language == "ja" else f"{subject} was {first}. For me it was {second}."
        )
        return {"input": text, "answer": LABELS[language][0 if good else 1], "choices": LABELS[language]}

    prompts = {
        "en": Prompt(
            instruction="Is the review positive or negative?", input="Review: {input}", output_indicator="Label:"
        ),
        "ja": Prompt(
            instruction="感想は良いですか、悪いですか。", input="感想: {input}", output_indicator="評価:", language="ja"
        ),
    }
    return Task(
        name=f"sentiment-{language}",
        language=language,
        kind="choice",
        prompt=prompts[language],
        max_tokens=24,
        **split_items(f"sentiment-{language}", seed, n, n_demos, make),
    )


def facts(language: str = "en", n: int = 100, seed: int = 0, n_demos: int = 16, n_choices: int = 4) -> Task:
    """Generate closed-book questions about villagers with choices; `knowledge` is the true sentence, which helps."""
    place, words = make_village(language, seed), LANGUAGES[language]

    def make(rng: random.Random) -> dict[str, object]:
        person, attribute = rng.choice(place.villagers), rng.choice(ATTRIBUTES)
        right = person.facts[attribute]
        others = rng.sample([v for v in VALUE_IDS[attribute] if v != right], n_choices - 1)
        values = [right, *others]
        rng.shuffle(values)
        choices = tuple(words.values[attribute][v] for v in values)
        name = person.names[language]
        question = QUESTIONS[language][attribute].format(name=name)
        listed = ("、" if language == "ja" else ", ").join(choices)
        answer = words.values[attribute][right]
        true_sentence = words.facts[attribute][0].format(name=name, value=answer)
        return {
            "input": f"{question} ({listed})",
            "answer": answer,
            "choices": choices,
            "knowledge": true_sentence,
            "cluster": person.id,
            "columns": {"asked": question},  # without the choices
        }

    prompt = Prompt(input="Question: {input}", output_indicator="Answer:")
    if language == "ja":
        prompt = Prompt(input="質問: {input}", output_indicator="答え:", language="ja")
    name = f"facts-{language}"
    return Task(name=name, language=language, kind="choice", prompt=prompt, **split_items(name, seed, n, n_demos, make))


def fact_texts(language: str = "en", seed: int = 0) -> tuple[str, ...]:
    """Return one text per villager, for ReAct's search."""
    place, words = make_village(language, seed), LANGUAGES[language]
    return tuple(
        words.joint.join(
            words.facts[a][0].format(name=v.names[language], value=words.values[a][v.facts[a]]) for a in ATTRIBUTES
        )
        for v in place.villagers
    )


def extraction(language: str = "en", n: int = 100, seed: int = 0, n_demos: int = 16) -> Task:
    """Generate sentences about somebody, to be turned into JSON with three keys: format and content in one."""
    place, words = make_village(language, seed), LANGUAGES[language]
    keys = ("name", "home", "trade")

    def make(rng: random.Random) -> dict[str, object]:
        person = rng.choice(place.villagers)
        values = {key: words.values[key][person.facts[key]] for key in keys[1:]}
        name = person.names[language]
        text = words.joint.join(words.facts[k][0].format(name=name, value=values[k]) for k in rng.sample(keys[1:], 2))
        return {"input": text, "answer": json.dumps({"name": name, **values}, ensure_ascii=False), "cluster": person.id}

    instructions = {
        "en": "Extract the name, home and trade from the text as a JSON object.",
        "ja": "文章から name, home, trade を抜き出し、JSON オブジェクトで答えてください。",
    }
    text = {key: {"type": "string"} for key in keys}
    schema = {"type": "object", "properties": text, "required": list(keys), "additionalProperties": False}
    prompt = Prompt(
        instruction=instructions[language],
        input="Text: {input}" if language == "en" else "文章: {input}",
        output_indicator="JSON:",
        language=language,
    )
    return Task(
        name=f"extraction-{language}",
        language=language,
        kind="json",
        prompt=prompt,
        grader=Grader(name="json", schema=schema),
        max_tokens=56,
        **split_items(f"extraction-{language}", seed, n, n_demos, make),
    )


TOPICS = {
    "en": (
        "the sea",
        "old clocks",
        "learning to cook",
        "a rainy Sunday",
        "trains",
        "the moon",
        "bread",
        "gardens",
        "winter",
        "letters",
        "bees",
    ),
    "ja": ("海", "古い時計", "料理を習うこと", "雨の日曜日", "電車", "月", "パン", "庭", "冬", "手紙", "蜂"),
}


def length(language: str = "en", n: int = 60, seed: int = 0, n_demos: int = 8, *, low: int = 2, high: int = 2) -> Task:
    """Generate topics to write `low` to `high` sentences about."""

    def make(rng: random.Random) -> dict[str, object]:
        topics = rng.sample(TOPICS[language], 2)
        joint = "と" if language == "ja" else " and "
        example = {
            "en": f"I like {topics[0]}. I also like {topics[1]}.",
            "ja": f"{topics[0]}が好きです。{topics[1]}も好きです。",
        }
        return {"input": joint.join(topics), "answer": example[language]}

    instructions = {
        "en": "Write exactly 2 sentences about the topic.",
        "ja": "題について、ちょうど2文で書いてください。",
    }
    label = "Topic: {input}" if language == "en" else "題: {input}"
    return Task(
        name=f"length-{language}",
        language=language,
        kind="text",
        prompt=Prompt(instruction=instructions[language], input=label, language=language),
        grader=Grader(name="count", low=low, high=high),
        max_tokens=80,
        **split_items(f"length-{language}", seed, n, n_demos, make),
    )


FUNCTIONS = (
    "add two numbers",
    "reverse a text",
    "count the words of a text",
    "find the largest of a list",
    "square a number",
)
TABLES = ("users", "orders", "books", "cities", "songs")


def code_prefix(language: str = "en", n: int = 60, seed: int = 0, n_demos: int = 8, kind: str = "python") -> Task:
    """Generate requests for Python functions or SQL queries, which must at least parse."""

    def make(rng: random.Random) -> dict[str, object]:
        if kind == "sql":
            table, column = rng.choice(TABLES), rng.choice(("name", "year", "price", "city", "size"))
            wording = rng.choice(("all {t} sorted by {c}", "how many {t} have a {c}", "the {t} with {c} above {x}"))
            text = f"A SQL query for {wording.format(t=table, c=column, x=rng.randrange(5, 90))}."
            return {"input": text, "answer": f"SELECT {column} FROM {table}"}
        number = rng.randrange(2, 90)
        text = f"A Python function f{number} to {rng.choice(FUNCTIONS)}."
        return {"input": text, "answer": f"def f{number}(x):\n    return x"}

    instruction = (
        "Write the code only, no explanation." if language == "en" else "コードだけを書いてください。説明は不要です。"
    )
    name = f"code-{kind}-{language}"
    return Task(
        name=name,
        language=language,
        kind="code",
        prompt=Prompt(instruction=instruction, language=language),
        grader=Grader(name="sql" if kind == "sql" else "python"),
        max_tokens=80,
        **split_items(name, seed, n, n_demos, make),
    )


def lists(language: str = "en", n: int = 60, seed: int = 0, n_demos: int = 8) -> Task:
    """Generate three words to be sorted by the alphabet and separated by commas, with nothing else."""

    def make(rng: random.Random) -> dict[str, object]:
        words = rng.sample(("pear", "book", "lamp", "coin", "tree", "shoe", "bell", "fork", "kite", "drum"), 3)
        return {"input": " ".join(words), "answer": ", ".join(sorted(words))}

    instructions = {
        "en": "Sort the words by alphabet and write them separated by commas, nothing else.",
        "ja": "単語をアルファベット順に並べ、コンマ区切りで、それだけを書いてください。",
    }
    name = f"lists-{language}"
    prompt = Prompt(instruction=instructions[language], input="Words: {input}", language=language)
    return Task(name=name, language=language, prompt=prompt, **split_items(name, seed, n, n_demos, make))
