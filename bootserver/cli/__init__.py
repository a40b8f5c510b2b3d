"""The command line: parse, call one function, print. The only place that exits."""

from bootserver.cli.main import main

__all__ = ["main"]
