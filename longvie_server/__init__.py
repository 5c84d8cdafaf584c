"""The server: ticks become control signals, a world model makes frames of them."""
