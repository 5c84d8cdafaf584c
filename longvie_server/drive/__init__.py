"""Programs that drive a server: the demo, and rendering a recording again."""
