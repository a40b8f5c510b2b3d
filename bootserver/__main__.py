"""`python -m bootserver` is `bootserver`."""

from bootserver.cli import main

main()
