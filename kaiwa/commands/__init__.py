"""What each command of the command line does; see kaiwa/cli.py."""
