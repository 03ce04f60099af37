"""Errors carry their facts, and build the text from them."""

from __future__ import annotations

import copy
import pickle
from typing import TYPE_CHECKING, Any

import pytest

import xdr

if TYPE_CHECKING:
    from collections.abc import Callable


def test_all_errors_are_xdr_errors_and_plain_ones_too() -> None:
    assert issubclass(xdr.XDREncodeError, xdr.XDRError | ValueError)
    assert issubclass(xdr.XDRDecodeError, xdr.XDRError | ValueError)
    assert issubclass(xdr.XDRDeclarationError, xdr.XDRError | TypeError)
    assert issubclass(xdr.XDRDecodeError, ValueError)


@pytest.mark.parametrize("again", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))])
def test_errors_survive_copying_and_pickling(again: Callable[[Any], Any]) -> None:
    error = again(xdr.XDRDecodeError("A.b", 12, "odd"))
    assert (error.path, error.offset, error.reason, str(error)) == ("A.b", 12, "odd", "A.b: odd, at byte 12")
    error = again(xdr.XDREncodeError("A.b", "odd"))
    assert (error.path, error.reason, str(error)) == ("A.b", "odd", "A.b: odd")
