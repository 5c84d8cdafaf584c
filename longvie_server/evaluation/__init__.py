"""Evaluation: how close the generated video is to the engine's truth."""
