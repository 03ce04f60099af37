"""Coverage-guided fuzzing of the compiler for .x files with atheris.

    python fuzz/compiler.py [-max_total_time=SECONDS] [CORPUS...]        (all options of libFuzzer)

Inputs are the text of a .x file, grown from the .x files of this repository by a dictionary of the language's words.
What must hold: the compiler either gives a module that compiles as Python, or refuses with its own error.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

with atheris.instrument_imports(include=["xdr.rpcl"]):
    from xdr import rpcl

WORDS = [
    "const",
    "typedef",
    "enum",
    "struct",
    "union",
    "switch",
    "case",
    "default",
    "void",
    "int",
    "unsigned",
    "hyper",
    "float",
    "double",
    "quadruple",
    "bool",
    "opaque",
    "string",
    "program",
    "version",
    "{",
    "}",
    "(",
    ")",
    "[",
    "]",
    "<",
    ">",
    "*",
    "=",
    ";",
    ":",
    ",",
    "0x10",
    "017",
    "-1",
    "a",
    "b",
    "#define",
    "#if",
    "#else",
    "#endif",
    "%",
    "//",
    "/*",
    "*/",
]

MOST = 700
"""Bytes of an input."""


def one_input(data: bytes) -> None:
    """Try one input."""
    text = data.decode("utf-8", "replace")
    try:
        made = rpcl.compile_text(text, "fuzz.x")
    except rpcl.CompileError:
        return
    compile(made.text, "fuzz", "exec")


def main() -> None:
    """Fuzz until told to stop."""
    with tempfile.TemporaryDirectory() as folder:
        words, seeds = Path(folder, "words"), Path(folder, "seeds")
        words.write_text("".join(f'"{word}"\n' for word in WORDS))
        seeds.mkdir()
        # One definition each: short inputs are tried hundreds of times a second, whole files a few times.
        for spec in sorted(ROOT.glob("*/spec/*.x")):
            for index, definition in enumerate(spec.read_text().split("\n};\n")):
                (seeds / f"{spec.stem}-{index}").write_text(definition[-MOST:] + "\n};\n")
        atheris.Setup([*sys.argv, f"-dict={words}", f"-max_len={MOST}", str(seeds)], one_input)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
