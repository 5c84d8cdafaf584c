"""Run by Blender: `blender -b shot.blend -P generate.py -- --server tcp://host:5555 --prompt "..." --out frames`.

It stands inside the add-on and finds it by its own place, so it works from an installed extension, from an unpacked
zip and from a clone. With PyPI's bpy: `python generate.py -- --blend shot.blend ...`.
"""

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

_HERE = Path(__file__).resolve().parent


def _addon() -> ModuleType:
    """Return the package that this file lies in, loaded once under whatever name it has."""
    for module in tuple(sys.modules.values()):
        if getattr(module, "__file__", None) and Path(str(module.__file__)).resolve() == _HERE / "__init__.py":
            return module
    spec = importlib.util.spec_from_file_location(
        "longvie", _HERE / "__init__.py", submodule_search_locations=[str(_HERE)]
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["longvie"] = module
    spec.loader.exec_module(module)
    return module


def main() -> None:
    """Generate and leave, with the exit code that a farm looks at."""
    arguments = sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else []
    headless = importlib.import_module(f"{_addon().__name__}.headless")
    sys.exit(headless.run(arguments))


if __name__ == "__main__":
    main()
