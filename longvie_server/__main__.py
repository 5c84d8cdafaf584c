"""`python -m longvie_server` is the command `longvie`."""

from .cli import main

main()
