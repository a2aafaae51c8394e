"""Red team: attacks × defences on your own system prompt, with exact oracles and intervals (docs/redteam.md)."""
