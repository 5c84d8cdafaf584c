"""World models: (state, controls) -> (state, 81 frames)."""
