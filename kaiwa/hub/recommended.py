"""A short list of recommended models by language, all of families that kaiwa can read."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RecommendedModel:
    """A recommended model. gigabytes: size of the download and, roughly, of the memory needed (bf16 on a CPU, fp32 for
    an embedding model). licence: as the hub's page of the model says. gated: its terms are accepted on the hub first.
    """

    name: str
    gigabytes: float
    languages: tuple[str, ...]
    licence: str
    en: str
    ja: str
    gated: bool = False
    embeds: bool = False  # turns texts into vectors and writes none


RECOMMENDED = (
    RecommendedModel(
        name="sbintuitions/sarashina2.2-0.5b-instruct-v0.1",
        gigabytes=1.6,
        languages=("ja", "en"),
        licence="MIT",
        en="the smallest that speaks good Japanese",
        ja="自然な日本語を話すものでは最小",
    ),
    RecommendedModel(
        name="SakanaAI/TinySwallow-1.5B-Instruct",
        gigabytes=3.1,
        languages=("ja",),
        licence="Apache-2.0 and Gemma's terms",
        en="good Japanese for its size",
        ja="大きさのわりに自然な日本語",
    ),
    RecommendedModel(
        name="sbintuitions/sarashina2.2-3b-instruct-v0.1",
        gigabytes=6.7,
        languages=("ja", "en"),
        licence="MIT",
        en="the best Japanese of this list",
        ja="この一覧で最も日本語が得意",
    ),
    RecommendedModel(
        name="Qwen/Qwen2.5-0.5B-Instruct",
        gigabytes=1.0,
        languages=("en", "ja"),
        licence="Apache-2.0",
        en="small, many languages",
        ja="小さく、多くの言語を話します",
    ),
    RecommendedModel(
        name="Qwen/Qwen2.5-1.5B-Instruct",
        gigabytes=3.1,
        languages=("en", "ja"),
        licence="Apache-2.0",
        en="the same, better",
        ja="同じ系列の、より賢いもの",
    ),
    RecommendedModel(
        name="Qwen/Qwen3-0.6B",
        gigabytes=1.5,
        languages=("en", "ja"),
        licence="Apache-2.0",
        en="thinks before it answers",
        ja="考えてから答えます",
    ),
    RecommendedModel(
        name="google/gemma-3-270m-it",
        gigabytes=0.6,
        languages=("en", "ja"),
        licence="Gemma's terms",
        en="tiny, many languages; made to be fine-tuned",
        ja="とても小さく多言語。ファインチューニング向け",
        gated=True,
    ),
    RecommendedModel(
        name="google/gemma-2-2b-jpn-it",
        gigabytes=5.3,
        languages=("ja", "en"),
        licence="Gemma's terms",
        en="Gemma 2, tuned for Japanese",
        ja="日本語向けに調整された Gemma 2",
        gated=True,
    ),
    RecommendedModel(
        name="HuggingFaceTB/SmolLM2-360M-Instruct",
        gigabytes=0.7,
        languages=("en",),
        licence="Apache-2.0",
        en="fast on any laptop",
        ja="どのノート PC でも速い",
    ),
    RecommendedModel(
        name="HuggingFaceTB/SmolLM2-1.7B-Instruct",
        gigabytes=3.4,
        languages=("en",),
        licence="Apache-2.0",
        en="the best of its family",
        ja="同じ系列で最良",
    ),
    RecommendedModel(
        name="intfloat/multilingual-e5-small",
        gigabytes=0.5,
        languages=("en", "ja"),
        licence="MIT",
        en="embeddings in many languages; texts begin with 'query: ' or 'passage: '",
        ja="多言語の埋め込み。文の前に「query: 」か「passage: 」を付けます",
        embeds=True,
    ),
    RecommendedModel(
        name="sentence-transformers/all-MiniLM-L6-v2",
        gigabytes=0.1,
        languages=("en",),
        licence="Apache-2.0",
        en="embeddings, tiny and fast",
        ja="小さくて速い埋め込み",
        embeds=True,
    ),
)


def recommended_for(language: str) -> list[RecommendedModel]:
    """Return the recommended models, first the models for the language."""
    return sorted(RECOMMENDED, key=lambda r: language not in r.languages)
