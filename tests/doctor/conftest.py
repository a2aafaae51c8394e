"""The running server, once for this folder."""

from tests.running_server import server as server
