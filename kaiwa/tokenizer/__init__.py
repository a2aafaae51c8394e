"""Stage 3, and everything that turns text into token ids: byte-level BPE, token shards, streaming decoding."""
