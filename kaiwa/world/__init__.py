"""The village: an invented world that supplies documents, demonstrations, prompts and simulated labellers."""

from kaiwa.world.demonstrations import DemonstrationRates, write_answer, write_demonstrations
from kaiwa.world.documents import write_documents
from kaiwa.world.judge import Verdict, judge
from kaiwa.world.labeller import GOLD, Labeller, label_comparison, labellers, measure_agreement
from kaiwa.world.prompts import VillagePrompt, prompt_from_json, write_prompts
from kaiwa.world.village import Village, VillageConfig, Villager, build_village, fresh_name, random_names_like

__all__ = [
    "GOLD",
    "DemonstrationRates",
    "Labeller",
    "Verdict",
    "Village",
    "VillageConfig",
    "VillagePrompt",
    "Villager",
    "build_village",
    "fresh_name",
    "judge",
    "label_comparison",
    "labellers",
    "measure_agreement",
    "prompt_from_json",
    "random_names_like",
    "write_answer",
    "write_demonstrations",
    "write_documents",
    "write_prompts",
]
