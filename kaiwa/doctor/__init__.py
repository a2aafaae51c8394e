"""kaiwa doctor URL: does a server keep to OpenAI's protocol as clients really use it? Needs nothing but its URL."""
