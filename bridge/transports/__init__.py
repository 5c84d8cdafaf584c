"""Transports: thin skins that move messages."""
