"""What the tests of scripts share."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[2]


def load_script(name: str) -> ModuleType:
    """Import ``scripts/NAME.py``."""
    path = ROOT / "scripts" / f"{name}.py"
    specification = importlib.util.spec_from_file_location(
        f"scripts_{name.replace('/', '_')}", path
    )
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[module.__name__] = module  # dataclasses look their module up
    specification.loader.exec_module(module)
    return module
