"""Stage 3, and the conversion between text and token ids: byte-level BPE, token shards, streaming decoding."""
