"""The command line's beginning: `bootserver`, and `python -m bootserver`."""

from __future__ import annotations

import signal

HELD = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGINT)


def main() -> None:
    """Run the command; until it is known which, these signals wait: `serve` survives some."""
    signal.pthread_sigmask(signal.SIG_BLOCK, HELD)
    from bootserver.cli import main as run_command

    run_command()


if __name__ == "__main__":
    main()
