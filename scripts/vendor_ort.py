"""Fetch onnxruntime-web, with which the page runs styles in the browser itself.

    python scripts/vendor_ort.py [onnxruntime-web-VERSION.tgz]

It is fetched by npm, unless the package's file is given; its SHA-512 is checked, and the three
files that the page needs, 14 MB, are put into the cache where `fststyle serve` looks for them.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from fststyle.files import write_atomically
from fststyle.pagefiles import ORT_FILES, ORT_VERSION, ort_files, ort_folder

SHA512 = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
"""Of the package as npm's registry has it."""


def fetch(folder: Path) -> Path:
    """Have npm fetch the package into a folder."""
    npm = shutil.which("npm")
    if npm is None:
        raise SystemExit(
            "npm is not installed; install it, or download the package "
            f"onnxruntime-web {ORT_VERSION} elsewhere and give its .tgz."
        )
    command = [npm, "pack", "--silent", f"onnxruntime-web@{ORT_VERSION}"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)
    packages = list(folder.glob("*.tgz"))
    if done.returncode != 0 or not packages:
        reason = (done.stderr.strip().splitlines() or ["it says nothing"])[-1]
        raise SystemExit(f"npm cannot fetch onnxruntime-web {ORT_VERSION}: {reason}")
    return packages[0]


def unpack(package: Path, folder: Path) -> None:
    """Check the package, and put the files that the page needs into a folder."""
    content = package.read_bytes()
    if base64.b64encode(hashlib.sha512(content).digest()).decode() != SHA512:
        raise SystemExit(f"{package} is not onnxruntime-web {ORT_VERSION}: its SHA-512 differs.")
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(package) as archive:
        for name, ours in ORT_FILES.items():
            member = archive.extractfile(f"package/dist/{name}")
            if member is None:
                raise SystemExit(f"{package} lacks {name}.")
            write_atomically(folder / ours, member.read())


def main() -> None:
    """Fetch it, where it is not here yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("package", type=Path, nargs="?", metavar="TGZ", help="instead of npm's")
    arguments = parser.parse_args()
    if ort_files() and arguments.package is None:
        print(f"{ort_folder()} is there already.", file=sys.stderr)
        return
    with tempfile.TemporaryDirectory() as temporary:
        unpack(arguments.package or fetch(Path(temporary)), ort_folder())
    for path in ort_files().values():
        print(f"{path}  {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
