"""The words of the project: plain modern English, one word for each thing.

``python tests/test_words.py [PATH ...]`` lists the places that break the rules, by file.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# What to avoid, and what to write instead. Each key is a regular expression of whole words.
AVOID = {
    r"(?:file )?endings?": "extension",
    r"mend(?:s|ed|ing)?": "fix",
    r"told": "say what happens: kept, written, shown",
    r"anew": "again",
    r"beside": "next to, in addition to",
    r"so many": "that number of, or the number itself",
    r"films?": "video",
    r"shall": "must, should, or the imperative",
    r"(?:thereof|therein|wherein|whereof|whence|hence|thereby|whereby|hereby)": "two sentences",
    r"likewise": "say it again in full",
    r"by which": "a verb: uses, with",
    r"(?<!there )(?:is|are|was|were) no(?! longer| more than| less than)": "cannot, is not",
    r"(?:is|are) (?:already there|there already)": "already exists",
    r"see there": "name the place",
    r"as there(?! is| are)": "name the place",
    r"all the same": "anyway, still",
    r"taken in": "accepted, read",
    r"of its own accord": "automatically",
    r"laid out": "arranged",
    r"no such (?!file|thing)": "unknown",
    r"leaves? (?:it|this|that|them) out": "skips, omits",
}  # fmt: skip
PATTERN = re.compile(r"(?<![\w-])(?:" + "|".join(AVOID) + r")(?![\w-])", re.IGNORECASE)

# Docstrings are noun phrases or imperatives. "What ..." and the like are fragments.
FRAGMENT = re.compile(
    r"(?:What|How|Whether|Who|Which|Where|When|That|Likewise|As|Of|It|They|See there)\b"
)
# A parameter's line must make sense alone.
BAD_PARAMETER = re.compile(
    r"^ {4,}\w+(?: \([^)]*\))?: (?:Of|As in|As there|As for|Likewise|See there|It|They|That)\b"
)
SECTION = re.compile(r"^ *(?:Args|Attributes):$")

# File, words that are right there, and why.
ALLOWED = {
    "tests/test_words.py": "it lists them",
    "CONTRIBUTING.md": "it shows what to avoid",
}

PYTHON = ("fststyle", "scripts", "tests")
OTHERS = (
    "*.md", "docs/**/*.md", "configs/**/*.yaml", "fststyle/web/page/*.html",
    "fststyle/web/page/*.js", ".github/**/*.md", "pyproject.toml", "mkdocs.yml",
)  # fmt: skip


def sources() -> list[Path]:
    """List every file that people read, of the package, the scripts and the documentation."""
    found = [path for folder in PYTHON[:2] for path in (ROOT / folder).rglob("*.py")]
    found += [path for pattern in OTHERS for path in ROOT.glob(pattern)]
    found.append(ROOT / "train.py")
    return sorted(path for path in found if relative(path) not in ALLOWED)


def relative(path: Path) -> str:
    path = path.resolve()
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else str(path)


def prose_of_python(text: str) -> Iterator[tuple[int, str]]:
    """Yield the line and text of each comment, docstring and string that holds a sentence."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            for number, line in enumerate(node.value.splitlines()):
                yield node.lineno + number, line


def docstring_faults(text: str) -> Iterator[tuple[int, str]]:
    """Yield fragments that stand for docstrings, and parameters that say nothing alone."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, kinds) or ast.get_docstring(node, clean=False) is None:
            continue
        constant = node.body[0].value  # type: ignore[attr-defined]
        docstring: str = constant.value
        if FRAGMENT.match(docstring):
            yield constant.lineno, f"docstring is a fragment: {docstring.splitlines()[0]}"
        in_section = False
        for number, line in enumerate(docstring.splitlines()):
            in_section = bool(SECTION.match(line)) or (in_section and bool(line.strip()))
            if in_section and BAD_PARAMETER.match(line):
                yield constant.lineno + number, f"parameter says nothing alone: {line.strip()}"


def faults(path: Path) -> list[str]:
    """List what a file says against the rules, as ``path:line: reason``."""
    text = path.read_text(encoding="utf-8")
    is_python = path.suffix == ".py"
    lines = prose_of_python(text) if is_python else enumerate(text.splitlines(), 1)
    found = []
    for number, line in lines:
        # Code, addresses and names of files are no prose.
        prose = re.sub(r"`[^`]*`|https?://\S+|\]\([^)]*\)", " ", line)
        for match in PATTERN.finditer(prose):
            found.append((number, f"{match[0]!r} ({advice(match[0])}): {line.strip()[:110]}"))
    if is_python:
        found += docstring_faults(text)
        if not path.is_relative_to(ROOT / "tests"):
            for number, line in enumerate(text.splitlines(), 1):
                if re.search(r"\w[Ff]ilm|[Ff]ilm\w*_|Film\w|_film", line):
                    found.append((number, f"a name with 'film' (video): {line.strip()[:110]}"))
    return [f"{relative(path)}:{number}: {reason}" for number, reason in sorted(set(found))]


def advice(word: str) -> str:
    return next(
        better for pattern, better in AVOID.items() if re.fullmatch(pattern, word, re.IGNORECASE)
        or re.match(pattern, word, re.IGNORECASE)
    )  # fmt: skip


# The checks themselves


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ('"""Return the video."""\n', 0),
        ('"""What a film is."""\n', 2),
        ('x = "the file ending"\n', 1),
        ("x = 'ending'\n", 0),
        ("# mended\n", 1),
        ("x = 'There is no room.'\n", 0),
        ("x = f'{x} is no photo.'\n", 1),
        ('def f(x):\n    """Do it.\n\n    Args:\n        x: Of the style.\n    """\n', 1),
        ("FilmStylizer = 1\n", 1),
    ],
)
def test_faults_are_found(tmp_path: Path, text: str, number: int) -> None:
    path = tmp_path / "module.py"
    path.write_text(text, encoding="utf-8")
    assert len(faults(path)) == number


@pytest.mark.parametrize("path", sources(), ids=relative)
def test_words(path: Path) -> None:
    assert faults(path) == []


if __name__ == "__main__":
    chosen = [Path(name).resolve() for name in sys.argv[1:]]
    for source in sources():
        if not chosen or any(source.is_relative_to(place) for place in chosen):
            sys.stdout.writelines(f"{fault}\n" for fault in faults(source))
