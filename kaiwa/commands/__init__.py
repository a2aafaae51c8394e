"""The commands of the command line, one module per command; see kaiwa/cli.py."""
