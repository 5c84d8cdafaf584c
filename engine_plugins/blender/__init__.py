"""The Blender plugin: `longvie` is the add-on, `build` makes its zips."""
