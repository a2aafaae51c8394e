"""The engine process and the client that talks to it. Only this folder may import torch."""
