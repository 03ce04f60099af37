"""Constant expressions: their grammar, with C's precedence, and their values.

RFC 4506 allows a constant or a name only; rpcgen passes anything on to C, and files make use of that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from xdr.rpcl.nodes import Binary, Expression, Name, Number, Text, Unary

if TYPE_CHECKING:
    from collections.abc import Callable

    from xdr.rpcl.cursor import Cursor
    from xdr.rpcl.tokens import Token

__all__ = ["MAX_DEPTH", "MAX_SHIFT", "apply_binary", "apply_unary", "parse_expression", "parse_number"]

MAX_DEPTH: Final = 64
"""Parentheses and signs within each other in one expression; C compilers must allow 63 (C17, 5.2.4.1)."""
MAX_SHIFT: Final = 128
"""Places of one shift. The widest number on the wire has 64 bits; without a bound 1 << 4000000000 fills the memory."""
_MAX_DIGITS: Final = 64

_LEVELS: Final = (("|",), ("^",), ("&",), ("<<", ">>"), ("+", "-"), ("*", "/", "%"))


def parse_expression(cursor: Cursor, what: str) -> Expression:
    """Parse one expression.

    Args:
        cursor: Stands at its first token.
        what: What it is for, to end an error's sentence, such as "the size of 'data'".

    Raises:
        ParseError: There is none.
    """
    return _binary(cursor, what, 0, 0)


def _binary(cursor: Cursor, what: str, level: int, depth: int) -> Expression:
    if level == len(_LEVELS):
        return _operand(cursor, what, depth)
    left = _binary(cursor, what, level + 1, depth)
    chained = 0
    while cursor.sees(*_LEVELS[level]):
        chained += 1
        if chained > MAX_DEPTH * 4:
            cursor.fail(f"{what} has too many operators", token=cursor.next)
        operator = cursor.take()
        right = _binary(cursor, what, level + 1, depth)
        left = Binary(operator.text, left, right, operator.place)
    return left


def _operand(cursor: Cursor, what: str, depth: int) -> Expression:
    token = cursor.next
    if depth > MAX_DEPTH:
        cursor.fail(f"{what} is nested more than {MAX_DEPTH} deep", token=token)
    if cursor.accept("("):
        inner = _binary(cursor, what, 0, depth + 1)
        cursor.expect(")", f"to close the parenthesis in {what}")
        return inner
    if cursor.accept("-", "+", "~"):
        return Unary(token.text, _operand(cursor, what, depth + 1), token.place)
    if token.text == "--" and token.kind == "--":
        cursor.take()
        operand = _operand(cursor, what, depth + 1)
        return Unary("-", Unary("-", operand, token.place), token.place)
    match token.kind:
        case "number":
            cursor.take()
            if cursor.sees("."):
                cursor.fail("constants are integers", token=token)
            return parse_number(cursor, token)
        case "char":
            cursor.take()
            return Number(_character(cursor, token), token.text, token.place)
        case "string":
            cursor.take()
            return Text(_string(token.text), token.place)
        case "name":
            token = cursor.take_qualified()
            return Name(token.text, token.place)
        case ":" if cursor.peek().text == ":" and cursor.peek(2).kind == "name":
            token = cursor.take_qualified()
            return Name(token.text, token.place)
        case "float":
            cursor.fail("constants are integers", token=token)
    cursor.fail(f"expected a number or the name of a constant as {what}")
    return None


def parse_number(cursor: Cursor, token: Token) -> Number:
    """Read a decimal, octal or hexadecimal constant (RFC 4506, section 6.2), with C's suffixes left aside."""
    digits = token.text.rstrip("uUlL").replace("'", "")
    if len(digits) > _MAX_DIGITS:
        cursor.fail("this number is too long", token=token)
    if digits[:2] in ("0x", "0X"):
        value = int(digits, 16)
    elif len(digits) > 1 and digits[0] == "0":
        if set(digits) - set("01234567"):
            cursor.fail(f"{token.text} is no octal number, though it begins with 0", token=token)
        value = int(digits, 8)
    else:
        value = int(digits)
    return Number(value, digits, token.place)


_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}


def _string(literal: str) -> str:
    out: list[str] = []
    characters = iter(literal[1:-1])
    for character in characters:
        if character == "\\":
            escaped = next(characters, "")
            out.append(_ESCAPES.get(escaped, escaped))
        else:
            out.append(character)
    return "".join(out)


def _character(cursor: Cursor, token: Token) -> int:
    text = _string(token.text.removeprefix("L"))
    if not text:
        cursor.fail("an empty character constant", token=token)
    # Several characters make one number in C, first character highest: 'NFS4'.
    value = 0
    for byte in text.encode()[:8]:
        value = value << 8 | byte
    return value


def _shift_left(left: int, right: int) -> int:
    if not 0 <= right <= MAX_SHIFT:
        message = f"cannot shift by {right}"
        raise ValueError(message)
    return left << right


def _shift_right(left: int, right: int) -> int:
    if right < 0:
        message = f"cannot shift by {right}"
        raise ValueError(message)
    return left >> right


def _quotient(left: int, right: int) -> int:
    """Divide as C does, towards zero."""
    if right == 0:
        message = "division by zero"
        raise ValueError(message)
    quotient = abs(left) // abs(right)
    return quotient if (left < 0) == (right < 0) else -quotient


_BINARY: Final[dict[str, Callable[[int, int], int]]] = {
    "|": lambda left, right: left | right,
    "^": lambda left, right: left ^ right,
    "&": lambda left, right: left & right,
    "<<": _shift_left,
    ">>": _shift_right,
    "+": lambda left, right: left + right,
    "-": lambda left, right: left - right,
    "*": lambda left, right: left * right,
    "/": _quotient,
    "%": lambda left, right: left - right * _quotient(left, right),
}

_MAX_BITS: Final = 256


def apply_binary(operator: str, left: int, right: int) -> int:
    """Calculate with two numbers.

    Raises:
        ValueError: A division by zero, a shift out of bounds, or a number that no constant can have.
    """
    value = _BINARY[operator](left, right)
    if value.bit_length() > _MAX_BITS:
        message = "the number is too large"
        raise ValueError(message)
    return value


def apply_unary(operator: str, operand: int) -> int:
    """Calculate with one number."""
    match operator:
        case "-":
            return -operand
        case "~":
            return ~operand
        case _:
            return operand
