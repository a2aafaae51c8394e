"""kaiwa doctor URL: checks whether a server keeps to OpenAI's protocol as used by real clients. Needs only the URL."""
