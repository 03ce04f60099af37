"""Compile every .x file of a folder, import what came out, and send random values of every type there and back.

    python tools/corpus.py FOLDER [--rpcgen] [--verbose] [--values 5]

Files with equal bytes count once. A file is right if it compiles, if its module imports, and if random values of every
type that it defines are the same after encoding and decoding. Types and constants that only a C header has are no
fault of a file that rpcgen takes too: such a file is compiled again with ``--stub-opaque``, then also with a ``-D`` for
each constant that the compiler said was missing, and counted apart.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import random
import re
import struct
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xdr
from xdr import shapes
from xdr.rpcl.compiler import Compiled, Settings, compile_text, read_file
from xdr.rpcl.errors import CompileError
from xdr.rpcl.model import Module, ProgramEntry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

MAX_DEPTH = 4
"""Levels of structs below which optional data is absent and arrays are empty."""
HOPELESS = 10**6
"""The depth of a type that never ends."""
RPCGEN_SECONDS = 20
RIGHT = ("ok", "stubbed", "told")
ROUNDS = 5
MISSING = re.compile(r"the constant '(\w+)' is not defined")


class Values:
    """Makes random values of shapes."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - test data
        self._depths: dict[int, int] = {}

    def depth(self, shape: shapes.Shape, busy: frozenset[int] = frozenset()) -> int:
        """Give the levels that the shallowest value of a shape has."""
        if id(shape) in busy:
            return HOPELESS
        if id(shape) not in self._depths:
            inner = busy | {id(shape)}
            match shape:
                case shapes.StructShape():
                    found = 1 + max((self.depth(s, inner) for _, s in shape.fields), default=0)
                case shapes.UnionShape():
                    found = 1 + min(self._arm_depth(arm, inner) for arm in shape.arms)
                case shapes.FixedArrayShape():
                    found = self.depth(shape.element, inner) if shape.count else 0
                case _:
                    found = 0
            if busy and found >= HOPELESS:
                return found
            self._depths[id(shape)] = found
        return self._depths[id(shape)]

    def _arm_depth(self, arm: shapes.Arm, busy: frozenset[int]) -> int:
        return max((self.depth(s, busy) for _, s in arm.fields), default=0)

    def value(self, shape: shapes.Shape, level: int = 0) -> Any:
        """Make a value."""
        rng = self._random
        match shape:
            case shapes.ScalarShape(code="f"):
                return struct.unpack(">f", struct.pack(">f", rng.uniform(-1e30, 1e30)))[0]
            case shapes.ScalarShape(code="d"):
                return rng.uniform(-1e300, 1e300)
            case shapes.ScalarShape(code=code):
                low, high = {
                    "i": (-(2**31), 2**31 - 1),
                    "I": (0, 2**32 - 1),
                    "q": (-(2**63), 2**63 - 1),
                    "Q": (0, 2**64 - 1),
                }[code]
                return rng.choice([low, high, rng.randint(low, high)])
            case shapes.BoolShape():
                return rng.random() < 0.5  # noqa: PLR2004
            case shapes.EnumShape():
                return rng.choice(list(shape.members.values()))
            case shapes.QuadShape():
                return xdr.Quad.from_bytes(struct.pack(">d", rng.uniform(-1, 1)) + bytes(8))
            case shapes.VoidShape():
                return None
            case shapes.FixedOpaqueShape(count=count):
                return rng.randbytes(count)
            case shapes.OpaqueShape():
                return rng.randbytes(rng.randint(0, min(shape.max, 9)))
            case shapes.StringShape():
                return "".join(rng.choices("abcäö", k=rng.randint(0, min(shape.max // 2, 5))))
            case shapes.FixedArrayShape(count=count):
                return [self.value(shape.element, level + 1)] * count
            case shapes.ArrayShape():
                count = 0 if level > MAX_DEPTH else rng.randint(0, min(shape.limit, 3))
                return [self.value(shape.element, level + 1) for _ in range(count)]
            case shapes.OptionalShape():
                return None if level > MAX_DEPTH or rng.random() < 0.3 else self.value(shape.element, level + 1)  # noqa: PLR2004
            case shapes.StructShape():
                return shape.cls(**{name: self.value(inner, level + 1) for name, inner in shape.fields})
            case shapes.UnionShape():
                return self._union(shape, level)
        raise TypeError(shape)

    def _union(self, union: shapes.UnionShape, level: int) -> object:
        choices = [(value, arm) for value, arm in union.by_case.items()]
        if union.default is not None:
            choices += [(value, union.default) for value in self._others(union)]
        if level > MAX_DEPTH:
            least = min(self._arm_depth(arm, frozenset()) for _, arm in choices)
            choices = [choice for choice in choices if self._arm_depth(choice[1], frozenset()) == least]
        value, arm = self._random.choice(choices)
        kind: Any = value
        if isinstance(union.kind, shapes.EnumShape):
            kind = union.kind.members[value]
        elif isinstance(union.kind, shapes.BoolShape):
            kind = bool(value)
        fields = {name: self.value(inner, level + 1) for name, inner in arm.fields}
        return arm.cls(**{union.discriminant: kind, **fields})

    @staticmethod
    def _others(union: shapes.UnionShape) -> Iterator[int]:
        match union.kind:
            case shapes.EnumShape(members=members):
                possible = list(members)
            case shapes.BoolShape():
                possible = [0, 1]
            case _:
                possible = list(range(len(union.by_case) + 1))
        return (value for value in possible if value not in union.by_case)


@dataclass
class Outcome:
    """What became of one file."""

    path: Path
    stage: str
    """ok, stubbed (ok with --stub-opaque), told (ok with -D too), refused, import, or values"""
    message: str = ""
    types: int = 0
    lines: int = 0
    seconds: float = 0.0
    rpcgen: bool | None = None


def load(text: str, name: str, folder: Path) -> ModuleType:
    """Import a module from its text."""
    path = folder / f"{name}.py"
    path.write_text(text, encoding="utf-8", errors="surrogateescape")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def check_values(module: ModuleType, model: Module, values: Values, count: int) -> int:
    """Send random values of every type, and of every argument and result, there and back; give the number of types."""
    annotations: dict[str, Any] = {name: getattr(module, name, None) for name in model.types}
    annotations = {name: found for name, found in annotations.items() if found is not None}
    for entry in model.entries:
        if isinstance(entry, ProgramEntry):
            for version in entry.versions:
                server = getattr(module, f"{entry.name}_{version.number}_Server")
                for procedure in server.procedures:
                    kinds = [*procedure.arguments, procedure.result]
                    annotations |= {f"{server.__name__}.{procedure.name}.{i}": kind for i, kind in enumerate(kinds)}
    for name, annotation in annotations.items():
        codec = xdr.codec(annotation, module=module.__name__)
        shape = shapes.shape_of(annotation, module.__name__)
        for _ in range(count):
            value = values.value(shape)
            data = codec.encode(value)
            back = codec.decode(data)
            if back != value or codec.encode(back) != data:
                message = f"{name}: {value!r} came back as {back!r}"
                raise AssertionError(message)
    return len(model.types)


def compile_somehow(text: str, path: str) -> tuple[Compiled, str]:
    """Compile a file as it is, or with stubs for its types, or with numbers for its constants too."""
    try:
        return compile_text(text, path), "ok"
    except CompileError:
        pass
    try:
        return compile_text(text, path, Settings(stub_opaque=True)), "stubbed"
    except CompileError as error:
        last = error
    defines: dict[str, str] = {}
    # A constant may hide behind another: as many rounds as a patient user would make.
    for _ in range(ROUNDS):
        missing = [found[1] for d in last.diagnostics if (found := MISSING.match(d.message))]
        if not missing:
            break
        defines |= {name: str(len(defines) + index + 1) for index, name in enumerate(missing)}
        try:
            return compile_text(text, path, Settings(stub_opaque=True, defines=defines)), "told"
        except CompileError as error:
            last = error
    raise last


def examine(path: Path, number: int, folder: Path, count: int) -> Outcome:
    """Compile, import and try one file."""
    text = read_file(str(path))
    started = time.perf_counter()
    try:
        compiled, stage = compile_somehow(text, str(path))
    except CompileError as error:
        return Outcome(path, "refused", str(error), lines=text.count("\n"))
    seconds = time.perf_counter() - started
    lines = text.count("\n")
    try:
        module = load(compiled.text, f"corpus_{number}", folder)
    except Exception:  # noqa: BLE001 - whatever it was is what is counted
        return Outcome(path, "import", traceback.format_exc(limit=-2), lines=lines)
    try:
        types = check_values(module, compiled.module, Values(number), count)
    except Exception:  # noqa: BLE001 - whatever it was is what is counted
        return Outcome(path, "values", traceback.format_exc(limit=-3), lines=lines)
    return Outcome(path, stage, types=types, lines=lines, seconds=seconds)


def rpcgen_takes(path: Path) -> bool:
    """Ask the real rpcgen, with new-style arguments if it needs them."""
    for options in ([], ["-N"]):
        with tempfile.TemporaryDirectory() as scratch:
            good = True
            for kind in ("-h", "-c"):
                try:
                    run = subprocess.run(
                        ["rpcgen", *options, kind, "-o", f"{scratch}/out{kind}", path.name],
                        cwd=path.parent,
                        capture_output=True,
                        timeout=RPCGEN_SECONDS,
                        check=False,
                    )
                except subprocess.TimeoutExpired:
                    good = False
                    break
                good &= run.returncode == 0
            if good:
                return True
    return False


def distinct(folder: Path) -> list[Path]:
    """List the .x files of a folder, one for each content."""
    seen: dict[str, Path] = {}
    for path in sorted(folder.rglob("*.x")):
        if path.is_file():
            seen.setdefault(hashlib.sha256(path.read_bytes()).hexdigest(), path)
    return sorted(seen.values())


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rpcgen", action="store_true", help="ask the real rpcgen too")
    parser.add_argument("--verbose", action="store_true", help="say why a file failed")
    parser.add_argument("--keep", type=Path, help="leave the modules in this folder")
    parser.add_argument("--values", type=int, default=5, help="random values of each type")
    options = parser.parse_args()
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.keep or Path(scratch)
        for number, path in enumerate(distinct(options.folder)):
            outcome = examine(path, number, folder, options.values)
            if options.rpcgen:
                outcome.rpcgen = rpcgen_takes(path)
            outcomes.append(outcome)
            if outcome.stage not in RIGHT and options.verbose:
                print(f"--- {outcome.stage}: {path} (rpcgen: {outcome.rpcgen})\n{outcome.message}")
    report(outcomes, asked=options.rpcgen)


def report(outcomes: list[Outcome], *, asked: bool) -> None:
    """Print the counts."""
    stages = Counter(outcome.stage for outcome in outcomes)
    good = sum(stages[stage] for stage in RIGHT)
    total = len(outcomes)
    print(f"{total} distinct files, {sum(o.lines for o in outcomes)} lines, {sum(o.types for o in outcomes)} types")
    print(
        f"right: {good} ({100 * good / max(total, 1):.1f} %), {stages['stubbed']} of them with --stub-opaque, "
        f"{stages['told']} with -D as well",
    )
    for stage in ("refused", "import", "values"):
        print(f"{stage}: {stages[stage]}")
    if asked:
        taken = [outcome for outcome in outcomes if outcome.rpcgen]
        ours = sum(outcome.stage in RIGHT for outcome in taken)
        print(f"rpcgen takes {len(taken)}; of these right here: {ours}")


if __name__ == "__main__":
    main()
