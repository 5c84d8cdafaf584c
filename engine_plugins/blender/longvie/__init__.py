"""The LongVie add-on for Blender."""
