"""The server: OpenAI's protocol over the engine process, and builds as child processes. No torch in the server."""
