"""Best practices as pairs of prompts, BAD and GOOD, each with an outcome that a program can measure.

The advice comes from model vendors; the lab measures whether the advice helps the model at hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kaiwa.lab.tasks.prompt import Prompt
from kaiwa.lab.tasks.task import Grader


@dataclass(frozen=True, slots=True, kw_only=True)
class Practice:
    """One piece of advice as two prompts by language. `outcome` describes the grader's count in words."""

    id: str
    claim: str
    outcome: str
    task: str
    bad: Mapping[str, Prompt]
    good: Mapping[str, Prompt]
    grader: Grader | None = None
    kind: str = ""


PRACTICES = (
    Practice(
        id="instruction-first",
        claim="instruction first, data between ###",
        outcome="the label is right",
        task="sentiment",
        bad={
            "en": Prompt(input="{input} Is this positive or negative?"),
            "ja": Prompt(input="{input} これは良いですか、悪いですか。", language="ja"),
        },
        good={
            "en": Prompt(
                "Say whether the review is positive or negative.", delimiters="hashes", output_indicator="Label:"
            ),
            "ja": Prompt(
                "感想が良いか悪いかを答えてください。", delimiters="hashes", output_indicator="評価:", language="ja"
            ),
        },
    ),
    Practice(
        id="specific",
        claim="say exactly what is wanted",
        outcome="exactly two sentences",
        task="length",
        bad={
            "en": Prompt("Write something about {input}.", input=""),
            "ja": Prompt("{input}について何か書いてください。", input="", language="ja"),
        },
        good={
            "en": Prompt("Write exactly 2 sentences about {input}. Stop after the second sentence.", input=""),
            "ja": Prompt(
                "{input}について、ちょうど2文で書いてください。2文で終えてください。", input="", language="ja"
            ),
        },
    ),
    Practice(
        id="no-fluff",
        claim="numbers instead of 'fairly short'",
        outcome="three sentences at most",
        task="length",
        grader=Grader(name="count", low=1, high=3),
        bad={
            "en": Prompt(
                "Describe {input}. It should be fairly short, a few sentences only, and not too much more.", input=""
            ),
            "ja": Prompt(
                "{input}について、かなり短く、あまり長くなりすぎない程度に説明してください。", input="", language="ja"
            ),
        },
        good={
            "en": Prompt("Describe {input} in 1 to 3 sentences.", input=""),
            "ja": Prompt("{input}を1文から3文で説明してください。", input="", language="ja"),
        },
    ),
    Practice(
        id="format-by-example",
        claim="show the format by an example",
        outcome="JSON with the right keys and values",
        task="extraction",
        bad={
            "en": Prompt("Extract the name, home and trade from the text.", input="{input}"),
            "ja": Prompt("文章から名前と家と仕事を抜き出してください。", language="ja"),
        },
        good={
            "en": Prompt(
                'Extract the name, home and trade from the text as JSON such as {{"name": "Ann", "home": "Hill Road",'
                ' "trade": "clerk"}}.',
                output_indicator="JSON:",
            ),
            "ja": Prompt(
                '文章から name, home, trade を抜き出し、{{"name": "アン", "home": "丘の道", "trade": "書記"}} のような'
                "JSON で答えてください。",
                output_indicator="JSON:",
                language="ja",
            ),
        },
    ),
    Practice(
        id="what-to-do",
        claim="say what to do, not what not to do",
        outcome="three sorted words and nothing else",
        task="lists",
        bad={
            "en": Prompt(
                "Sort the words by alphabet. Do not explain. Do not use lines or numbers. Do not repeat the task."
            ),
            "ja": Prompt(
                "単語をアルファベット順に並べてください。説明しないでください。改行や番号を使わないでください。",
                language="ja",
            ),
        },
        good={
            "en": Prompt("Sort the words by alphabet. Answer with the three words in one line, separated by commas."),
            "ja": Prompt(
                "単語をアルファベット順に並べ、三つの単語をコンマ区切りで一行に書いてください。", language="ja"
            ),
        },
    ),
    Practice(
        id="leading-words-python",
        claim="leading words such as 'def' help code",
        outcome="Python that parses",
        task="code-python",
        bad={
            "en": Prompt("Write {input}", input=""),
            "ja": Prompt("次のコードを書いてください: {input}", input="", language="ja"),
        },
        good={
            "en": Prompt("Write {input}", input="", leading_words="def"),
            "ja": Prompt("次のコードを書いてください: {input}", input="", leading_words="def", language="ja"),
        },
    ),
    Practice(
        id="leading-words-sql",
        claim="leading words such as SELECT help SQL",
        outcome="SQL that parses",
        task="code-sql",
        bad={
            "en": Prompt("Write {input}", input=""),
            "ja": Prompt("次のコードを書いてください: {input}", input="", language="ja"),
        },
        good={
            "en": Prompt("Write {input} Only the query.", input="", leading_words="SELECT"),
            "ja": Prompt(
                "次のコードを書いてください: {input} 問い合わせだけを書きます。",
                input="",
                leading_words="SELECT",
                language="ja",
            ),
        },
    ),
)
