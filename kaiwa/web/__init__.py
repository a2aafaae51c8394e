"""The pages: HTML rendered here, small native modules in the browser. Never imports torch, the engine or the server."""
