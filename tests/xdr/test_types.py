"""Descriptors refuse what no wire could carry."""

from __future__ import annotations

from typing import Any

import pytest

import xdr


@pytest.mark.parametrize("descriptor", [xdr.FixedOpaque, xdr.Opaque, xdr.String, xdr.FixedArray, xdr.Array])
@pytest.mark.parametrize("bound", [-1, 1 << 32, 1.5, None])
def test_bounds_fit_a_length_word(descriptor: Any, bound: Any) -> None:
    with pytest.raises(xdr.XDRDeclarationError, match=r"must be 0\.\.4294967295"):
        descriptor(bound)


@pytest.mark.parametrize("descriptor", [xdr.Opaque, xdr.String, xdr.Array])
def test_no_bound_is_the_largest_one(descriptor: Any) -> None:
    assert descriptor().max == xdr.UNBOUNDED == 0xFFFFFFFF
    assert descriptor() == descriptor(max=0xFFFFFFFF)
    assert hash(descriptor()) == hash(descriptor(max=0xFFFFFFFF))
