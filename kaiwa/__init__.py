"""kaiwa (会話, "conversation"): the whole ChatGPT, built, understood and tested on one machine."""

__version__ = "0.1.0"
