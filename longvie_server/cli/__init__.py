"""The command `longvie`."""
