"""The engine process and its client in the server. In kaiwa/serve, only the files here may import torch."""
