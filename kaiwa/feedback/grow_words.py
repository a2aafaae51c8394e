"""The prompts with which a writer is asked to rewrite requests and to go on with dialogues, in both languages."""

from __future__ import annotations

_EN = (
    "Below is a request that a person sends to an assistant. {how}\n"
    "Keep its language. The result must make sense by itself and be something that an assistant can answer. "
    "Write only the new request, without comments.\n\nRequest:\n{{request}}"
)
_JA = (
    "次は、人がアシスタントに送った依頼です。{how}\n"
    "言語は変えないでください。それだけで意味が通り、アシスタントが答えられるものにしてください。"
    "書くのは新しい依頼だけで、説明は要りません。\n\n依頼：\n{{request}}"
)
_HOW = {
    "deepen: constraint": (
        "Make it somewhat harder: add one more condition that the answer has to meet, in at most 20 words.",
        "もう少し難しくしてください。答えが満たすべき条件を一つ、短く付け加えます。",
    ),
    "deepen: reasons": (
        "Make it somewhat harder: ask in addition for the reasons behind the answer, or for the steps that lead to it.",
        "もう少し難しくしてください。答えの理由か、そこに至る手順も尋ねる形にします。",
    ),
    "deepen: input": (
        "Make it somewhat harder: give it a harder input, written out, such as figures, a table, code or a long text.",
        "もう少し難しくしてください。数値、表、プログラム、長めの文章など、より難しい材料を実際に書き込みます。",
    ),
    "widen: topic": (
        "Write another request of the same kind and length, on a different topic that is asked about less often.",
        "同じ種類で同じくらいの長さの、別の話題についての依頼を一つ書いてください。あまり尋ねられない話題を選びます。",
    ),
}
REWRITE = {
    "en": {name: _EN.format(how=how[0]) for name, how in _HOW.items()},
    "ja": {name: _JA.format(how=how[1]) for name, how in _HOW.items()},
}
FOLLOW_UP = {
    "en": (
        "Below is a conversation between a person and an assistant. Write what the person says next: one short message "
        "that builds on what was said, such as a question about a detail, a doubt, a wish for a change, or the next "
        "step. Write only this message.\n\n{talk}"
    ),
    "ja": (
        "次は、人とアシスタントの会話です。人が次に言うことを書いてください。これまでの話を踏まえた短い一言で、"
        "細かい点への質問、疑問、直してほしい所、次の一歩などです。書くのはその一言だけです。\n\n{talk}"
    ),
}
SPEAKERS = {"en": {"user": "Person", "assistant": "Assistant"}, "ja": {"user": "人", "assistant": "アシスタント"}}
