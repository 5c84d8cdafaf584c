"""LongVie Bridge: send an engine's ticks, receive generated video."""
