"""Codecs: messages to bytes and back, for each transport. No I/O."""
