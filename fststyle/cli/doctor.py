"""``fststyle doctor``: report what is installed, what was found, and what is missing."""

from __future__ import annotations

import argparse
import importlib.util
import json
import platform
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from fststyle import __version__
from fststyle.cli.extras import install_line
from fststyle.errors import FststyleError
from fststyle.styles.find import list_styles, user_styles_folder

_RUNTIME_EXTRAS: Final = ("train", "web", "video", "subject", "heif", "int8")
_TITLES: Final = {"gpu": "GPU", "vgg16": "VGG16"}
_MATRIX_FLAGS: Final = {
    "amx_tile": "AMX",
    "amx_bf16": "AMX bf16",
    "amx_int8": "AMX int8",
    "avx512_bf16": "AVX-512 bf16",
    "avx512_vnni": "AVX-512 VNNI",
    "avx512f": "AVX-512",
    "avx_vnni": "AVX VNNI",
    "avx2": "AVX2",
    "bf16": "Arm bf16",
    "i8mm": "Arm int8",
    "sme": "Arm SME",
}
"""Flags in Linux's ``/proc/cpuinfo`` for instructions that speed up networks."""


def add_command(commands: Any) -> None:
    """Add ``fststyle doctor`` to the command line."""
    command = commands.add_parser(
        "doctor",
        help="show versions, hardware, folders, and what is missing",
        description="Show what is installed, what was found, and what is missing, for example to "
        "include this information in a bug report.",
    )
    command.add_argument("--json", action="store_true", help="print a JSON document")
    command.set_defaults(run=doctor)


def doctor(options: argparse.Namespace) -> int:
    """Print information about this installation.

    Args:
        options: The parsed command line.

    Returns:
        The exit status, 0.
    """
    report = examine()
    if options.json:
        print(json.dumps(report, indent=2, ensure_ascii=False))
        return 0
    for title, facts in report.items():
        print(_TITLES.get(title, title.capitalize()))
        for line in _lines(facts):
            print(f"  {line}")
    return 0


def examine() -> dict[str, Any]:
    """Collect information about this installation.

    Returns:
        The information by topic, as values that JSON supports: ``versions``, ``packages``,
        ``processor``, ``gpu``, ``vgg16``, ``folders``, ``styles`` and ``missing``.
    """
    packages = _packages()
    missing = [
        f"{', '.join(name for name, version in needed.items() if version is None)} "
        f"({'base' if extra == 'base' else f'extra {extra}'}): {install_line(extra)}"
        for extra, needed in packages.items()
        if None in needed.values()
    ]
    return {
        "versions": {
            "fststyle": __version__,
            "python": platform.python_version(),
            "system": platform.platform(),
        },
        "packages": packages,
        "processor": processor(),
        "gpu": _gpu(),
        "vgg16": _vgg16(),
        "folders": _folders(),
        "styles": _styles(),
        "missing": missing,
    }


def _packages() -> dict[str, dict[str, str | None]]:
    """Return the versions of the packages, by extra, with ``None`` for a missing package."""
    import importlib.metadata

    found: dict[str, dict[str, str | None]] = {extra: {} for extra in ("base", *_RUNTIME_EXTRAS)}
    try:
        requirements = importlib.metadata.requires("fststyle") or []
    except importlib.metadata.PackageNotFoundError:  # run from a folder without being installed
        requirements = []
    for requirement in requirements:
        match = re.match(r"([\w.-]+)", requirement)
        extra = re.search(r"extra == ['\"]([\w-]+)['\"]", requirement)
        group = extra[1] if extra else "base"
        if match is None or group not in found:
            continue
        try:
            found[group][match[1]] = importlib.metadata.version(match[1])
        except importlib.metadata.PackageNotFoundError:
            found[group][match[1]] = None
    return found


def processor() -> dict[str, Any]:
    """Describe the processor: its name, cores, memory, and instructions that speed up networks."""
    import psutil

    return {
        "name": _processor_name(),
        "cores": psutil.cpu_count(logical=False),
        "threads": psutil.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "matrix_instructions": _matrix_instructions(),
        "openvino_precision": _openvino_precision(),
    }


def _cpuinfo() -> str:
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:  # not Linux
        return ""


def _processor_name() -> str:
    match = re.search(r"^model name\s*:\s*(.+)$", _cpuinfo(), re.MULTILINE)
    return match[1] if match else platform.processor() or platform.machine()


def _matrix_instructions() -> list[str]:
    match = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", _cpuinfo(), re.MULTILINE)
    flags = set(match[1].split()) if match else set()
    return [name for flag, name in _MATRIX_FLAGS.items() if flag in flags]


def _openvino_precision() -> str:
    """Return the number format that OpenVINO uses by default."""
    from fststyle.openvino_core import openvino_core

    try:
        core = openvino_core()
        precision: str = core.get_property("CPU", "INFERENCE_PRECISION_HINT").get_type_name()
    except Exception as error:  # the report must not fail, whatever is broken
        return f"cannot be found: {error}"
    return precision


def _gpu() -> str:
    if importlib.util.find_spec("torch") is None:
        return "cannot be found without torch"
    try:
        import torch

        if torch.cuda.is_available():
            return f"cuda: {torch.cuda.get_device_name()}"
        return "mps" if torch.backends.mps.is_available() else "none that torch can use"
    except Exception as error:  # a broken installation of torch
        return f"torch cannot be imported: {error}"


def _can_optimize() -> bool:
    return all(importlib.util.find_spec(name) for name in ("torch", "safetensors"))


def _vgg16() -> str:
    if not _can_optimize():
        return "not needed without the extra train"
    from fststyle.perceptual import vgg_weights

    for path in (vgg_weights.cache_path(), vgg_weights._package_file()):
        if path is not None and path.is_file():
            return str(path)
    return "not found; it will be downloaded when needed"


def _folders() -> dict[str, str]:
    folders = {"user_styles": user_styles_folder()}
    if _can_optimize():
        from fststyle.perceptual.vgg_weights import cache_path

        folders["cache"] = cache_path().parent
    return {name: f"{path} ({_access(path)})" for name, path in folders.items()}


def _access(folder: Path) -> str:
    """Describe whether a folder, or else its nearest existing parent, can be written to."""
    nearest = folder
    while not nearest.exists() and nearest != nearest.parent:
        nearest = nearest.parent
    try:
        with tempfile.NamedTemporaryFile(dir=nearest):
            can_write = "can be written"
    except OSError:
        can_write = "cannot be written"
    return can_write if nearest == folder else f"does not exist yet, {can_write}"


def _styles() -> dict[str, int | str]:
    try:
        kinds = [found.kind for found in list_styles()]
    except FststyleError as error:
        return {"error": str(error)}
    return {"networks": kinds.count("network"), "only_images": kinds.count("picture")}


def _lines(facts: object) -> Iterator[str]:
    """Format information as lines of text."""
    if isinstance(facts, dict):
        width = max(map(len, facts), default=0)
        for name, value in facts.items():
            label = name.replace("_", " ")
            if isinstance(value, dict):
                yield f"{label}:"
                for line in _lines({key: value[key] or "missing" for key in value}):
                    yield f"  {line}"
            else:
                text = ", ".join(value) or "none found" if isinstance(value, list) else value
                yield f"{label.ljust(width)}  {text}"
    elif isinstance(facts, list):
        yield from facts or ["nothing"]
    else:
        yield str(facts)
