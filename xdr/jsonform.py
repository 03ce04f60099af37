"""Values as JSON and back, with nothing lost (docs/reference/xdr-json.md).

int, unsigned int: a number. hyper, unsigned hyper: decimal text, since many readers of JSON keep 53 bits of a number.
float, double: a number; ``"NaN"``, ``"Infinity"``, ``"-Infinity"``; any NaN but the usual one with its bits in hex,
``"NaN:7ff8000000000001"``. quadruple: decimal text, or the same words. bool: true, false. enum: its name. opaque: hex,
or base64 behind ``base64:``. string: text; bytes that are no UTF-8 as lone surrogates U+DC80..U+DCFF. arrays: an array.
struct: an object. optional: null if absent. union: an object with the discriminant first. void: null. A linked list is
an array of its entries without the link.

Names are those of the ``.x`` file, where Python has others too. Reading takes, besides what writing gives, Python's
names, and numbers for hypers and enums.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from struct import Struct
from typing import TYPE_CHECKING, Any, Final, Literal

from xdr import shapes as s
from xdr.codec import Codec, codec
from xdr.errors import XDREncodeError
from xdr.quad import Quad
from xdr.source import is_list_node

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["dumps", "from_json", "loads", "to_json"]

_BASE64: Final = "base64:"
_INFINITIES: Final = {"Infinity": math.inf, "-Infinity": -math.inf}
_USUAL_NAN: Final = {4: 0x7FC00000, 8: 0x7FF8 << 48, 16: 0x7FFF8 << 108}
"""The quiet NaN without anything in it, by the size of its type: what ``float("nan")`` is."""


def to_json(
    annotation: Any,
    value: Any,
    *,
    opaque: Literal["hex", "base64"] = "hex",
    module: str | None = None,
) -> Any:
    """Return a value as what the ``json`` module writes.

    Args:
        annotation: The value's type, or its codec.
        value: The value.
        opaque: How opaque data is written.
        module: Where names in a string annotation are looked up.

    Raises:
        XDREncodeError: The value does not fit its type.
        XDRDeclarationError: The annotation means no XDR type.
    """
    of = annotation if isinstance(annotation, Codec) else codec(annotation, module=module)
    of.encode(value)  # refuses whatever does not fit; what follows need not look
    try:
        return _Writer(base64=opaque == "base64").write(of.shape, value)
    except RecursionError:
        raise XDREncodeError(of.shape.name, "nested more deeply than the interpreter's stack allows") from None


def from_json(annotation: Any, form: Any, *, module: str | None = None) -> Any:
    """Return the value that the ``json`` module read.

    Args:
        annotation: The value's type, or its codec.
        form: What :func:`to_json` gives.
        module: Where names in a string annotation are looked up.

    Raises:
        XDREncodeError: The form does not fit the type; the error's path says where.
        XDRDeclarationError: The annotation means no XDR type.
    """
    of = annotation if isinstance(annotation, Codec) else codec(annotation, module=module)
    try:
        value = _Reader().read(of.shape, of.shape.name, form)
    except RecursionError:
        raise XDREncodeError(of.shape.name, "nested more deeply than the interpreter's stack allows") from None
    of.encode(value)
    return value


def dumps(
    annotation: Any,
    value: Any,
    *,
    opaque: Literal["hex", "base64"] = "hex",
    indent: int | None = None,
    module: str | None = None,
) -> str:
    """Return a value as JSON text; arguments and errors as for :func:`to_json`."""
    form = to_json(annotation, value, opaque=opaque, module=module)
    try:
        return json.dumps(form, indent=indent, allow_nan=False)
    except RecursionError:
        message = "JSON"
        raise XDREncodeError(message, "nested more deeply than the interpreter's stack allows") from None


def loads(annotation: Any, text: str | bytes, *, module: str | None = None) -> Any:
    """Return the value that JSON text stands for; errors as for :func:`from_json`.

    Raises:
        XDREncodeError: Also for text that is no JSON, or has a key twice in one object.
    """
    try:
        form = json.loads(text, object_pairs_hook=_object, parse_constant=str)
    except XDREncodeError:
        raise
    except RecursionError:
        message = "JSON"
        raise XDREncodeError(message, "nested more deeply than the interpreter's stack allows") from None
    except ValueError as error:
        message = "JSON"
        raise XDREncodeError(message, str(error)) from None
    return from_json(annotation, form, module=module)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _value in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        message = "JSON"
        raise XDREncodeError(message, f"{twice!r} comes twice in one object")
    return made


def _bits(code: str, value: float) -> int:
    return int.from_bytes(Struct(">" + code).pack(value), "big")


class _Writer:
    """Writes values that are known to fit.

    Args:
        base64: Whether opaque data is written so.
    """

    def __init__(self, *, base64: bool) -> None:
        self._base64 = base64

    def write(self, shape: s.Shape, value: Any) -> Any:
        """Return a value's form."""
        match shape:
            case s.ScalarShape():
                return self._scalar(shape, value)
            case s.EnumShape():
                name = shape.members[int(value)].name
                return shape.spelled.get(name, name)
            case s.QuadShape():
                return _quad_text(value)
            case s.FixedOpaqueShape() | s.OpaqueShape():
                return self._opaque(bytes(value))
            case s.FixedArrayShape() | s.ArrayShape():
                return [self.write(shape.element, item) for item in value]
            case s.OptionalShape():
                if is_list_node(shape.element):
                    return self._nodes(shape.element, value)
                return None if value is None else self.write(shape.element, value)
            case s.StructShape() if is_list_node(shape):
                return self._nodes(shape, value)
            case s.StructShape():
                return self._fields(shape.fields, shape.spelled, value)
            case s.UnionShape():
                arm = next(arm for arm in shape.arms if isinstance(value, arm.cls))
                return self._fields(((shape.discriminant, shape.kind), *arm.fields), arm.spelled, value)
            case s.BridgeShape():
                parts: list[bytes] = []
                shape.bridge.pack_into(value, parts.append)
                return self._opaque(b"".join(parts))
            case _:
                return value

    @staticmethod
    def _scalar(shape: s.ScalarShape, value: Any) -> Any:
        if shape.code in "qQ":
            return str(int(value))
        if shape.code in "iI":
            return int(value)
        # As the wire has it: a float keeps 24 bits of what is given.
        value = Struct(">" + shape.code).unpack(Struct(">" + shape.code).pack(value))[0]
        if math.isnan(value):
            bits = _bits(shape.code, value)
            return "NaN" if bits == _USUAL_NAN[shape.width] else f"NaN:{bits:0{2 * shape.width}x}"
        if math.isinf(value):
            return "Infinity" if value > 0 else "-Infinity"
        return value

    def _opaque(self, value: bytes) -> str:
        return _BASE64 + base64.b64encode(value).decode("ascii") if self._base64 else value.hex()

    def _fields(self, fields: Sequence[tuple[str, s.Shape]], spelled: Mapping[str, str], value: Any) -> dict[str, Any]:
        return {spelled.get(name, name): self.write(of, getattr(value, name)) for name, of in fields}

    def _nodes(self, shape: Any, value: Any) -> list[Any]:
        made = []
        while value is not None:
            made.append(self._fields(shape.fields[:-1], shape.spelled, value))
            value = getattr(value, shape.fields[-1][0])
        return made


def _quad_text(value: Quad) -> str:
    if value.is_nan():
        return "NaN" if value.bits == _USUAL_NAN[16] else f"NaN:{value.bits:032x}"
    if value.is_infinite():
        return "Infinity" if float(value) > 0 else "-Infinity"
    return str(value)


def _kind(form: Any) -> str:
    names = {dict: "an object", list: "an array", str: "text", bool: "a bool", type(None): "null"}
    return names.get(type(form), "a number")


class _Reader:
    """Reads forms; whether the values fit is seen when they are encoded."""

    def read(self, shape: s.Shape, path: str, form: Any) -> Any:
        """Return the value of a form."""
        match shape:
            case s.ScalarShape():
                return self._scalar(shape, path, form)
            case s.BoolShape():
                self._want(bool, "a bool", path, form)
                return form
            case s.EnumShape():
                return self._enum(shape, path, form)
            case s.QuadShape():
                return self._quad(path, form)
            case s.VoidShape():
                self._want(type(None), "null", path, form)
                return None
            case s.FixedOpaqueShape() | s.OpaqueShape():
                return self._opaque(path, form)
            case s.StringShape():
                self._want(str, "text", path, form)
                return form
            case s.FixedArrayShape() | s.ArrayShape():
                self._want(list, "an array", path, form)
                return [self.read(shape.element, f"{path}[{index}]", item) for index, item in enumerate(form)]
            case s.OptionalShape():
                if is_list_node(shape.element):
                    return None if form is None else self._nodes(shape.element, path, form)
                return None if form is None else self.read(shape.element, path, form)
            case s.StructShape() if is_list_node(shape):
                value = self._nodes(shape, path, form)
                if value is None:
                    raise XDREncodeError(path, "a list with at least one entry expected")
                return value
            case s.StructShape():
                return shape.cls(**self._fields(shape.fields, shape.spelled, path, form))
            case s.UnionShape():
                return self._union(shape, path, form)
            case s.BridgeShape():
                return Codec(shape).decode(self._opaque(path, form))
        raise AssertionError(shape)

    @staticmethod
    def _want(kind: type, name: str, path: str, form: Any) -> None:
        if type(form) is not kind:
            raise XDREncodeError(path, f"{name} expected, {_kind(form)} given")

    def _scalar(self, shape: s.ScalarShape, path: str, form: Any) -> int | float:
        if shape.code in "fd":
            if isinstance(form, str):
                return self._special(shape, path, form)
            if isinstance(form, int | float) and not isinstance(form, bool):
                return form
            raise XDREncodeError(path, f"a number expected, {_kind(form)} given")
        if shape.code in "qQ" and isinstance(form, str):
            try:
                return int(form, 10)
            except ValueError:
                raise XDREncodeError(path, f"{form!r} is no whole number") from None
        if type(form) is not int:
            expected = "a whole number" if shape.code in "iI" else "a whole number or text of one"
            given = repr(form) if isinstance(form, float) else _kind(form)
            raise XDREncodeError(path, f"{expected} expected, {given} given")
        return form

    @staticmethod
    def _special(shape: s.ScalarShape, path: str, form: str) -> float:
        if form in _INFINITIES:
            return _INFINITIES[form]
        if form == "NaN":
            return math.nan
        if form.startswith("NaN:"):
            try:
                data = bytes.fromhex(form[4:])
            except ValueError:
                data = b""
            if len(data) == shape.width:
                value: float = Struct(">" + shape.code).unpack(data)[0]
                if math.isnan(value):
                    return value
        raise XDREncodeError(path, f"{form!r} is no {shape.name}")

    @staticmethod
    def _enum(shape: s.EnumShape, path: str, form: Any) -> Any:
        value = None
        if isinstance(form, str):
            names = {file: python for python, file in shape.spelled.items()}
            value = shape.cls.__members__.get(names.get(form, form))
        if type(form) is int:
            value = shape.members.get(form)
        if value is None:
            raise XDREncodeError(path, f"{form!r} is no {shape.name}")
        return value

    @staticmethod
    def _quad(path: str, form: Any) -> Quad:
        if isinstance(form, str) and form.startswith("NaN:"):
            try:
                value = Quad.from_bits(int(form[4:], 16))
            except (ValueError, OverflowError):
                value = Quad(0)
            if value.is_nan():
                return value
            raise XDREncodeError(path, f"{form!r} is no quadruple")
        if isinstance(form, str | int | float) and not isinstance(form, bool):
            try:
                return Quad(form)
            except ValueError as error:
                raise XDREncodeError(path, str(error)) from None
        raise XDREncodeError(path, f"a number or text of one expected, {_kind(form)} given")

    def _opaque(self, path: str, form: Any) -> bytes:
        self._want(str, "hex or base64", path, form)
        try:
            if form.startswith(_BASE64):
                return base64.b64decode(form[len(_BASE64) :], validate=True)
            return bytes.fromhex(form)
        except (ValueError, binascii.Error):
            raise XDREncodeError(path, "neither hex nor base64 behind 'base64:'") from None

    def _fields(
        self, fields: Sequence[tuple[str, s.Shape]], spelled: Mapping[str, str], path: str, form: Any
    ) -> dict[str, Any]:
        self._want(dict, "an object", path, form)
        given = self._in_python(fields, spelled, path, form)
        made = {}
        for name, of in fields:
            if name not in given:
                raise XDREncodeError(path, f"field {spelled.get(name, name)!r} is missing")
            made[name] = self.read(of, f"{path}.{spelled.get(name, name)}", given[name])
        return made

    @staticmethod
    def _in_python(
        fields: Sequence[tuple[str, s.Shape]], spelled: Mapping[str, str], path: str, form: dict[str, Any]
    ) -> dict[str, Any]:
        """Return an object with Python's names for the fields; the file's and Python's are taken."""
        names = {name: name for name, _of in fields} | {spelled[name]: name for name, _of in fields if name in spelled}
        made: dict[str, Any] = {}
        for key, value in form.items():
            if key not in names:
                raise XDREncodeError(path, f"no field {key!r}")
            if names[key] in made:
                raise XDREncodeError(path, f"field {spelled.get(names[key], key)!r} comes twice")
            made[names[key]] = value
        return made

    def _nodes(self, shape: Any, path: str, form: Any) -> Any:
        self._want(list, "an array", path, form)
        value = None
        for index in range(len(form) - 1, -1, -1):
            fields = self._fields(shape.fields[:-1], shape.spelled, f"{path}[{index}]", form[index])
            value = shape.cls(**fields, **{shape.fields[-1][0]: value})
        return value

    def _union(self, shape: s.UnionShape, path: str, form: Any) -> Any:
        self._want(dict, "an object", path, form)
        tag = shape.arms[0].spelled.get(shape.discriminant, shape.discriminant)
        key = tag if tag in form else shape.discriminant
        if key not in form:
            raise XDREncodeError(path, f"field {tag!r} is missing")
        place = f"{path}.{tag}"
        chosen = self.read(shape.kind, place, form[key])
        arm = shape.by_case.get(int(chosen), shape.default)
        if arm is None:
            raise XDREncodeError(place, f"{form[key]!r} is no case of {shape.name}")
        return arm.cls(**self._fields(((shape.discriminant, shape.kind), *arm.fields), arm.spelled, path, form))
