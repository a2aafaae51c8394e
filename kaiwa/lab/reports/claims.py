"""The titles and claims of the assignment and the studies in both languages; a user's own titles and claims stay as
written.
"""

from __future__ import annotations

JAPANESE = {
    "an instruction helps": "指示は効く",
    "an output indicator helps": "出力の合図は効く",
    "demonstrations help (Brown 2020)": "例示は効く(Brown 2020)",
    "random labels cost little (Min 2022)": "例のラベルがでたらめでもほとんど下がらない(Min 2022)",
    "small models ignore flipped labels (Wei 2023)": "小さなモデルは逆のラベルに従わない(Wei 2023)",
    "show the format by example": "形式は例で示す",
    "generated knowledge helps (Liu 2022)": "生成した知識は効く(Liu 2022)",
    "true knowledge helps": "正しい知識は効く",
    "any text before the question helps": "質問の前の文なら何でも効く",
    "a chain of thought helps (Wei 2022)": "思考の連鎖は効く(Wei 2022)",
    "… more than the equation": "… 式だけより効く",
    "… more than as many dots": "… 同じ数の点より効く",
    "… more than the answer first": "… 答えを先に書くより効く",
    "'step by step' helps (Kojima 2022)": "「ステップに分けて」は効く(Kojima 2022)",
    "a vote beats one sample (Wang 2022)": "多数決は一つの標本に勝る(Wang 2022)",
    "a vote beats the greedy answer": "多数決は貪欲な回答に勝る",
    "asking oneself helps (Press 2023)": "自問自答は効く(Press 2023)",
    "simpler questions first help (Zhou 2023)": "易しい問いから解くと効く(Zhou 2023)",
    "tools help (Yao 2023)": "道具は効く(Yao 2023)",
    "thoughts help the actions (Yao 2023)": "思考は行動を助ける(Yao 2023)",
    "instruction first, data between ###": "指示を先に、データは ### で区切る",
    "say exactly what is wanted": "求めることを正確に書く",
    "numbers instead of 'fairly short'": "「かなり短く」ではなく数で書く",
    "show the format by an example": "形式を例で示す",
    "say what to do, not what not to do": "禁止ではなく、することを書く",
    "leading words such as 'def' help code": "def のような書き出しはコードに効く",
    "leading words such as SELECT help SQL": "SELECT のような書き出しは SQL に効く",
    "planted: +25 points": "仕込み: +25 ポイント",
    "planted: nothing": "仕込み: 差なし",
    "working it out helps (Wei 2022)": "途中の計算を書くと効く(Wei 2022)",
    "… only before the answer": "… 答えの前に書くときだけ",
    "more tokens alone help": "トークンが増えるだけで効く",
    "the searched prompt is better": "探したプロンプトのほうが良い",
}


def claim_text(text: str, language: str) -> str:
    """Return a claim in the report's language."""
    return JAPANESE.get(text, text) if language == "ja" else text


TITLES = {
    "assignment": {
        "en": "Do prompt engineering and confirm its effect",
        "ja": "プロンプトエンジニアリングを行い、効果を確かめる",
    },
    "chain of thought": {
        "en": "Chain of thought on a model taught to work sums out",
        "ja": "計算の途中を書くよう教えたモデルと思考の連鎖",
    },
}


def title_text(name: str, language: str) -> str:
    """Return an experiment's heading: its name, or for the built-in experiments a sentence."""
    return TITLES.get(name, {}).get(language, name)
