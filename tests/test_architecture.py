"""The rules that a program can check: who imports whom, safety, sizes."""

from __future__ import annotations

import ast
import graphlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import fststyle

PACKAGE = Path(fststyle.__file__).parent
ROOT = PACKAGE.parent
MODULES = sorted(
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
    for path in PACKAGE.rglob("*.py")
    if path != PACKAGE / "__init__.py"
)
SOURCES = sorted([*PACKAGE.rglob("*.py"), *(ROOT / "scripts").rglob("*.py"), *ROOT.glob("*.py")])

MOST_LINES = 450

ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")

# Each package may import only from itself and from what stands before it; docs/architecture.md
# shows the same line.
ORDER = (
    "errors", "files", "markdown", "openvino_core", "images", "styles", "runtime", "stylize",
    "transforms", "video", "perceptual", "training", "web", "cli", "__main__",
)  # fmt: skip
# Up to here torch is imported only inside functions, but for these modules.
LAST_WITHOUT_TORCH = "video"
WITH_TORCH = {"styles.network", "styles.import_pytorch", "transforms"}
# They start training as a process of its own.
NEVER_IMPORT_TRAINING = ("web", "cli")

# Heavy or delicate packages, and the only packages or modules that may import them.
ONLY_IN = {
    "pytorch_lightning": {"training"},
    "hydra": {"training.settings", "training.main", "training.arguments"},
    "omegaconf": {f"training.{name}" for name in ("settings", "prepare", "train", "main")},
    # control, stylizer and transforms: for the type of an image; arrays stretches a mask
    "PIL": {"images", "stylize.arrays", "stylize.control", "stylize.stylizer", "transforms"},
    "openvino": {"openvino_core", "styles.export"},
    "pillow_heif": {"images"},
    "torchvision": {"transforms", "perceptual.vgg_weights"},
    "av": {"video"},
    "cv2": {"video.flow"},
    "fastapi": {"web"},
    "pydantic": {"web.models"},
    "python_multipart": {"web.uploads"},
    "starlette": {"web"},
    "uvicorn": {"cli.serve", "web.connection"},
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


def path_of(module: str) -> Path:
    return PACKAGE / (module.replace(".", "/") + ".py")


def imported_modules(tree: ast.AST) -> set[str]:
    """Name the modules of fststyle that a module imports, such as ``images.resize``."""
    found = set()
    for name in imported_names(tree):
        if not name.startswith("fststyle.") or name == "fststyle.__version__":
            continue
        inside = name.removeprefix("fststyle.")
        # Either a module, or a name in one.
        is_module = inside in MODULES or f"{inside}.__init__" in MODULES
        found.add(inside if is_module else inside.rpartition(".")[0] or inside)
    return found


def level(module: str) -> int:
    return ORDER.index(module.partition(".")[0])


def imports_at_once(tree: ast.Module) -> set[str]:
    """Name the packages that are imported when the module is, not inside a function."""
    found: set[str] = set()
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            waiting += node.orelse
            continue
        if isinstance(node, ast.Import | ast.ImportFrom):
            found |= imported_packages(node)
        waiting += ast.iter_child_nodes(node)
    return found


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
        "from fststyle import images, __version__\n"
        "from fststyle.images import resize\n"
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    from fststyle.no import x\n"
        "else:\n    from fststyle.errors import y\n"
        "def f():\n    from fststyle.files import z\n"
    )
    assert imported_modules(tree) == {"images", "images.resize", "errors", "files"}
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


def test_order_names_every_package() -> None:
    assert {module.partition(".")[0] for module in MODULES} == set(ORDER)
    assert len(set(ORDER)) == len(ORDER)


def test_architecture_page_shows_the_order_and_every_package() -> None:
    assert f"\n{' ← '.join(ORDER)}\n" in ARCHITECTURE
    tree = re.findall(r"^[├└]── (\w+)(\.py|/) ", ARCHITECTURE, re.MULTILINE)
    shown = {name for name, _ in tree}
    assert shown == {*ORDER, "__init__", "art", "zoo"}
    for name, suffix in tree:
        assert (PACKAGE / name).is_dir() if suffix == "/" else path_of(name).is_file()


def test_paths_that_the_architecture_page_names_exist() -> None:
    for path in re.findall(r"`((?:\w+/)+\w+\.py)`", ARCHITECTURE):
        assert (PACKAGE / path).is_file() or (ROOT / path).is_file() or "NAME" in path, path


@pytest.mark.parametrize("module", MODULES)
def test_modules_import_only_from_the_left(module: str) -> None:
    tree = parse(path_of(module))
    imported = imported_modules(tree)
    assert "" not in imported_packages(tree), "a relative import"
    assert [name for name in sorted(imported) if level(name) > level(module)] == []
    if "." not in module:
        assert [name for name in sorted(imported) if level(name) == level(module)] == []
    if module.startswith(NEVER_IMPORT_TRAINING):
        assert [name for name in sorted(imported) if name.startswith("training")] == []


def test_no_circle_inside_a_package() -> None:
    imports = {module: imported_modules(parse(path_of(module))) for module in MODULES}
    graphlib.TopologicalSorter(imports).prepare()  # raises CycleError


@pytest.mark.parametrize("module", MODULES)
def test_torch_wall(module: str) -> None:
    packages = imports_at_once(parse(path_of(module)))
    if level(module) <= ORDER.index(LAST_WITHOUT_TORCH) and module not in WITH_TORCH:
        assert not packages & {"torch", "torchvision"}


@pytest.mark.parametrize("module", MODULES)
def test_packages_are_imported_only_where_they_belong(module: str) -> None:
    packages = imported_packages(parse(path_of(module)))
    places = {module, module.partition(".")[0]}
    assert [p for p in sorted(packages) if not places & ONLY_IN.get(p, places)] == []


def test_package_imports_only_errors_and_stylizer() -> None:
    assert imported_modules(parse(PACKAGE / "__init__.py")) == {"errors", "stylize.stylizer"}


def test_train_script_imports_only_training() -> None:
    # And what says, without torch, that its packages are missing.
    expected = {"cli.errors", "cli.train", "errors", "training.main"}
    assert imported_modules(parse(ROOT / "train.py")) == expected


def test_importing_the_package_loads_nothing_heavy() -> None:
    heavy = {"PIL", "hydra", "matplotlib", "numpy", "onnx", "openvino", "torch"}
    program = f"import sys, fststyle; print(sorted({heavy} & set(sys.modules)))"
    assert run_python(program) == "[]"


def test_modules_on_the_way_to_a_picture_load_no_torch() -> None:
    parts = ORDER[: ORDER.index(LAST_WITHOUT_TORCH) + 1]
    names = [m for m in MODULES if m.partition(".")[0] in parts and m not in WITH_TORCH]
    imports = ", ".join(
        f"fststyle.{name.removesuffix('.__init__')}" for name in (*names, "cli.video")
    )
    heavy = {"hydra", "matplotlib", "onnx", "openvino", "pytorch_lightning", "torch", "av", "cv2"}
    program = f"import sys, {imports}; print(sorted({heavy} & set(sys.modules)))"
    assert run_python(program) == "[]"


def test_help_of_the_command_line_loads_no_torch() -> None:
    heavy = {"hydra", "matplotlib", "onnx", "openvino", "pytorch_lightning", "torch"}
    heavy |= {"fastapi", "pydantic", "starlette", "uvicorn"}
    program = (
        "import sys, fststyle.cli.main\n"
        "sys.argv = ['fststyle', '--help']\n"
        "try:\n    status = fststyle.cli.main.main()\n"
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
    lines = len(path_of(module).read_text(encoding="utf-8").splitlines())
    assert lines <= MOST_LINES
