"""Red team: attacks × defences on one's own system prompt, with exact oracles and intervals (docs/redteam.md)."""
