"""The rules of the house that a program can check: who imports whom, safety, sizes."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import fststyle

PACKAGE = Path(fststyle.__file__).parent
ROOT = PACKAGE.parent
MODULES = sorted(path.stem for path in PACKAGE.glob("*.py") if path.stem != "__init__")
SOURCES = sorted([*PACKAGE.rglob("*.py"), *(ROOT / "scripts").glob("*.py"), *ROOT.glob("*.py")])

MOST_LINES = 450

# Each line may import only from the lines above it.
ORDER = (
    ("tensors", "errors", "colour", "similarity", "palette", "exif", "xmp", "webguard"),
    ("files", "profiles", "deep", "metadata", "resize", "blend", "limits", "compiler", "refusal")
    + ("onnxmessages",),
    ("encode", "workqueue"),
    ("weberrors",),
    ("images", "network", "steady", "tiling", "vgg"),
    ("vggweights", "arrays", "pipeline"),
    ("animation", "sheets", "figures", "onnxgraph", "presets", "guards", "gates", "strokes"),
    ("photolist", "readers"),
    ("losses", "optimize_options"),
    ("measure",),
    ("stylefile",),
    ("styles", "quality"),
    ("runtime", "warmstart", "checkpoints", "export"),
    ("stylizer", "optimize", "data", "module", "optimizers", "runs", "videofile", "flow", "frames"),
    ("evaluate", "callbacks", "settings", "transforms", "stylize_files", "video", "film"),
    ("report", "sweep", "videowriter", "served"),
    ("videopipe", "uploads", "jobs", "pagefiles"),
    ("webmodels",),
    ("webapp",),
    ("training", "interop_command", "optimize_command", "styles_command", "stylize_command")
    + ("video_command", "serve_command"),
    ("cli",),
    ("__main__",),
)
LEVELS = {module: level for level, line in enumerate(ORDER) for module in line}

# Heavy or delicate packages, and the only modules that may import them.
ONLY_IN = {
    "pytorch_lightning": {"callbacks", "data", "module", "training"},
    "hydra": {"settings", "training"},
    "omegaconf": {"settings", "training"},
    # stylizer and transforms: for the type of an image; arrays stretches a mask
    "PIL": (
        {"animation", "arrays", "colour", "deep", "encode", "images", "limits", "metadata"}
        | {"resize", "sheets", "stylizer", "transforms"}
    ),
    "openvino": {"compiler", "export"},
    "pillow_heif": {"images"},
    "torchvision": {"transforms", "vggweights"},
    "av": {"video", "videofile", "videowriter"},
    "cv2": {"flow"},
    "fastapi": {"webapp", "weberrors", "webmodels"},
    "pydantic": {"webmodels"},
    "python_multipart": {"uploads"},
    "starlette": {"uploads", "weberrors"},
    "uvicorn": {"serve_command"},
}
PICKLES = {"cloudpickle", "cPickle", "dill", "joblib", "marshal", "pickle", "shelve"}


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def nodes_that_run(node: ast.AST) -> Iterator[ast.AST]:
    """Walk a tree without what stands under ``if TYPE_CHECKING:``."""
    yield node
    if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
        children: list[ast.AST] = list(node.orelse)
    else:
        children = list(ast.iter_child_nodes(node))
    for child in children:
        yield from nodes_that_run(child)


def imported_names(tree: ast.AST) -> set[str]:
    """Name what is imported anywhere in a module: ``package.module`` or ``package.module.name``."""
    names: set[str] = set()
    for node in nodes_that_run(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            # Relative imports come out as "" and fail every check here.
            module = node.module if node.level == 0 and node.module else ""
            names.update(f"{module}.{alias.name}" for alias in node.names)
    return names


def imported_packages(tree: ast.AST) -> set[str]:
    return {name.partition(".")[0] for name in imported_names(tree)}


def imported_modules(tree: ast.AST) -> set[str]:
    """Name the modules of fststyle that a module imports."""
    own = {name.split(".")[1] for name in imported_names(tree) if name.startswith("fststyle.")}
    return own - {"__version__"}


def unsafe_loads(tree: ast.AST) -> list[str]:
    """Find the calls that may read a pickle: those that do not say that they refuse to."""
    unsafe = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "torch":
            unsafe += [ast.unparse(node) for alias in node.names if alias.name == "load"]
        if not isinstance(node, ast.Call):
            continue
        options = {k.arg: k.value.value for k in node.keywords if isinstance(k.value, ast.Constant)}
        is_torch_load = ast.unparse(node.func) == "torch.load"
        says_pickle = any(k.arg == "allow_pickle" for k in node.keywords)
        if (is_torch_load and options.get("weights_only") is not True) or (
            says_pickle and options.get("allow_pickle") is not False
        ):
            unsafe.append(ast.unparse(node))
    return unsafe


def run_python(program: str) -> str:
    """Run a program in a process of its own and return what it printed last."""
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, cwd=ROOT
    )
    return done.stdout.strip().splitlines()[-1]


# The checks themselves


def test_imports_are_found() -> None:
    tree = ast.parse(
        "import a.b\n"
        "from fststyle import c, __version__\n"
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    from fststyle.no import x\nelse:\n    from fststyle.d import y\n"
        "def f():\n    from fststyle.e import z\n"
    )
    assert imported_modules(tree) == {"c", "d", "e"}
    assert imported_packages(tree) == {"a", "fststyle", "typing"}
    assert imported_packages(ast.parse("from . import x")) == {""}


@pytest.mark.parametrize(
    ("line", "is_safe"),
    [
        ("torch.load(path, weights_only=True)", True),
        ("np.load(path, allow_pickle=False)", True),
        ("json.load(file)", True),
        ("torch.load(path)", False),
        ("torch.load(path, weights_only=False)", False),
        ("torch.load(path, weights_only=flag)", False),
        ("np.load(path, allow_pickle=True)", False),
        ("np.load(path, allow_pickle=flag)", False),
        ("from torch import load", False),
    ],
)
def test_unsafe_loads_are_found(line: str, is_safe: bool) -> None:
    assert (unsafe_loads(ast.parse(line)) == []) == is_safe


# Imports


def test_every_module_has_its_place_in_the_order() -> None:
    assert set(MODULES) <= set(LEVELS)
    assert sum(map(len, ORDER)) == len(LEVELS)


@pytest.mark.parametrize("module", MODULES)
def test_modules_import_only_from_above(module: str) -> None:
    imported = imported_modules(parse(PACKAGE / f"{module}.py"))
    assert "" not in imported_packages(parse(PACKAGE / f"{module}.py")), "a relative import"
    assert imported <= set(LEVELS), "only modules and __version__ are imported from fststyle"
    assert [name for name in sorted(imported) if LEVELS[name] >= LEVELS[module]] == []
    if module == "cli":
        assert "training" not in imported


@pytest.mark.parametrize("module", MODULES)
def test_packages_are_imported_only_where_they_belong(module: str) -> None:
    packages = imported_packages(parse(PACKAGE / f"{module}.py"))
    assert [p for p in sorted(packages) if module not in ONLY_IN.get(p, {module})] == []


def test_package_imports_only_errors_and_stylizer() -> None:
    assert imported_modules(parse(PACKAGE / "__init__.py")) == {"errors", "stylizer"}


def test_train_script_imports_only_training() -> None:
    assert imported_modules(parse(ROOT / "train.py")) == {"training"}


def test_importing_the_package_loads_nothing_heavy() -> None:
    heavy = {"PIL", "hydra", "matplotlib", "numpy", "onnx", "openvino", "torch"}
    program = f"import sys, fststyle; print(sorted({heavy} & set(sys.modules)))"
    assert run_python(program) == "[]"


def test_modules_on_the_way_to_a_picture_load_no_torch() -> None:
    names = ("errors", "colour", "images", "sheets", "onnxgraph", "stylefile", "styles", "runtime")
    film = ("film", "video", "videopipe", "video_command")
    imports = ", ".join(f"fststyle.{name}" for name in (*names, "strokes", "stylizer", *film))
    heavy = {"hydra", "matplotlib", "onnx", "openvino", "pytorch_lightning", "torch", "av", "cv2"}
    program = f"import sys, {imports}; print(sorted({heavy} & set(sys.modules)))"
    assert run_python(program) == "[]"


def test_help_of_the_command_line_loads_no_torch() -> None:
    heavy = {"hydra", "matplotlib", "onnx", "openvino", "pytorch_lightning", "torch"}
    heavy |= {"fastapi", "pydantic", "starlette", "uvicorn"}
    program = (
        "import sys, fststyle.cli\n"
        "sys.argv = ['fststyle', '--help']\n"
        "try:\n    status = fststyle.cli.main()\n"
        "except SystemExit as stop:\n    status = stop.code\n"
        f"print(status or 0, sorted({heavy} & set(sys.modules)))"
    )
    assert run_python(program) == "0 []"


def test_public_names() -> None:
    assert fststyle.__all__ == sorted(set(fststyle.__all__))
    for name in fststyle.__all__:
        assert getattr(fststyle, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = fststyle.nothing


# Safety and size


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_pickle_is_read(path: Path) -> None:
    tree = parse(path)
    assert imported_packages(tree) & PICKLES == set()
    assert unsafe_loads(tree) == []


@pytest.mark.parametrize("module", MODULES)
def test_modules_are_not_too_long(module: str) -> None:
    lines = len((PACKAGE / f"{module}.py").read_text(encoding="utf-8").splitlines())
    assert lines <= MOST_LINES
