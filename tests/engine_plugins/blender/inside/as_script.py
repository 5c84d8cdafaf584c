"""Run another file of this folder in the blender program: `blender -b -P as_script.py -- FILE ARGUMENTS`."""

from __future__ import annotations

import runpy
import sys

sys.argv = sys.argv[sys.argv.index("--") + 1 :]
runpy.run_path(sys.argv[0], run_name="__main__")
