"""A short list of recommended models by language, all of families that kaiwa can read."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RecommendedModel:
    """A recommended model. gigabytes: size of the download and, roughly, of the memory needed (bf16 on a CPU)."""

    name: str
    gigabytes: float
    languages: tuple[str, ...]
    en: str
    ja: str


RECOMMENDED = (
    RecommendedModel(
        "SakanaAI/TinySwallow-1.5B-Instruct", 3.1, ("ja",), "good Japanese for its size", "大きさのわりに自然な日本語"
    ),
    RecommendedModel(
        "Qwen/Qwen2.5-0.5B-Instruct", 1.0, ("en", "ja"), "small, many languages", "小さく、多くの言語を話します"
    ),
    RecommendedModel("Qwen/Qwen2.5-1.5B-Instruct", 3.1, ("en", "ja"), "the same, better", "同じ系列の、より賢いもの"),
    RecommendedModel("Qwen/Qwen3-0.6B", 1.5, ("en", "ja"), "thinks before it answers", "考えてから答えます"),
    RecommendedModel(
        "HuggingFaceTB/SmolLM2-360M-Instruct", 0.7, ("en",), "fast on any laptop", "どのノート PC でも速い"
    ),
    RecommendedModel("HuggingFaceTB/SmolLM2-1.7B-Instruct", 3.4, ("en",), "the best of its family", "同じ系列で最良"),
)


def recommended_for(language: str) -> list[RecommendedModel]:
    """Return the recommended models, first the models for the language."""
    return sorted(RECOMMENDED, key=lambda r: language not in r.languages)
