"""Code written for xdrlib as codecs of types here, and types here as such code."""

from __future__ import annotations

import time
from typing import Annotated, Any

import pytest
import xdrlib3
from hypothesis import given

import xdr
from tests.xdr import declarations as d
from xdr.bridge import Bridge, Packer, Unpacker, pack_function, unpack_function
from xdr.testing import values


def pack_device(packer: Any, value: dict[str, Any]) -> None:
    packer.pack_string(value["name"])
    packer.pack_hyper(value["serial"])
    packer.pack_array(value["channels"], packer.pack_int)
    packer.pack_bool(value["on"])
    packer.pack_float(value["gain"])


def unpack_device(unpacker: Any) -> dict[str, Any]:
    return {
        "name": unpacker.unpack_string(),
        "serial": unpacker.unpack_hyper(),
        "channels": unpacker.unpack_array(unpacker.unpack_int),
        "on": unpacker.unpack_bool(),
        "gain": unpacker.unpack_float(),
    }


Device = Annotated[dict[str, Any], Bridge(pack_device, unpack_device)]
Devices = Annotated[list[Device], xdr.Array(max=5)]
DEVICE = {"name": b"scope", "serial": -7, "channels": [1, 2], "on": True, "gain": 0.5}
DATA = xdr.encode(Device, DEVICE)


@xdr.struct
class Rack:
    number: Annotated[int, xdr.Int]
    device: Device
    spare: Device | None
    last: Annotated[int, xdr.Int]


class TestBridgedTypes:
    def test_the_bytes_are_those_of_xdrlib3(self) -> None:
        packer = xdrlib3.Packer()
        pack_device(packer, DEVICE)
        assert packer.get_buffer() == DATA
        assert xdr.decode(Device, DATA) == DEVICE
        assert xdr.codec(Device).shape.name == "device"

    def test_they_are_parts_of_our_types(self) -> None:
        rack = Rack(1, DEVICE, None, 2)
        data = xdr.encode(Rack, rack)
        assert data == b"\0\0\0\1" + DATA + b"\0\0\0\0" + b"\0\0\0\2"
        for form in (data, memoryview(data), memoryview(b"abcd" + data)[4:], bytearray(data)):
            assert xdr.decode(Rack, form) == rack
        assert xdr.decode(Devices, xdr.encode(Devices, [DEVICE] * 3)) == [DEVICE] * 3

    @pytest.mark.parametrize(
        ("data", "text"),
        [
            (b"", "Rack.number: 4 bytes needed, 0 left, at byte 0"),
            (bytes(4) + DATA[:-1], "Rack.device: 4 bytes needed, 3 left, at byte 4"),
            (bytes(4) + b"\0\0\0\1a\0\0\1", "Rack.device: padding is not zero, at byte 4"),
            (bytes(4) + DATA[:-8] + b"\0\0\0\2" + DATA[-4:], "Rack.device: 2 is neither 0 nor 1, at byte 4"),
            (bytes(4) + b"\xff" * 4, "Rack.device: 4294967296 bytes needed, 0 left, at byte 4"),
        ],
    )
    def test_what_they_refuse_has_path_and_offset(self, data: bytes, text: str) -> None:
        with pytest.raises(xdr.XDRDecodeError) as caught:
            xdr.decode(Rack, data)
        assert str(caught.value) == text

    @pytest.mark.parametrize(
        ("change", "text"),
        [
            ({"serial": 1 << 63}, "9223372036854775808 is no hyper"),
            ({"serial": 1.5}, "1.5 is no hyper"),
            ({"name": "scope"}, "bytes expected, str given"),
            ({"channels": [1 << 31]}, "'l' format requires"),
            ({"gain": 1e300}, "float too large"),
        ],
    )
    def test_what_does_not_fit_is_refused_on_the_way_out(self, change: dict[str, Any], text: str) -> None:
        with pytest.raises(xdr.XDREncodeError, match=text) as caught:
            xdr.encode(Rack, Rack(1, {**DEVICE, **change}, None, 2))
        assert caught.value.path == "Rack.device"
        assert isinstance(caught.value.__cause__, Exception)

    def test_any_exception_of_the_functions_becomes_one_of_ours(self) -> None:
        with pytest.raises(xdr.XDREncodeError, match=r"Rack\.device: 'name'"):
            xdr.encode(Rack, Rack(1, {}, None, 2))

    def test_a_function_that_leaves_the_data_is_refused(self) -> None:
        of = Annotated[int, Bridge(lambda _p, _v: None, lambda u: u.set_position(100), name="jumpy")]
        with pytest.raises(xdr.XDRDecodeError, match="jumpy: the function for jumpy left the data, at byte 0"):
            xdr.decode(of, bytes(8))

    def test_counts_are_checked_against_the_least_size(self) -> None:
        with pytest.raises(xdr.XDRDecodeError, match="4294967295 elements announced, 4 bytes left"):
            xdr.decode(Annotated[list[Device], xdr.Array()], b"\xff" * 4 + bytes(4))


class TestPacker:
    def test_hypers_that_do_not_fit_are_refused(self) -> None:
        packer = Packer()
        packer.pack_hyper(-1 << 63)
        packer.pack_uhyper((1 << 64) - 1)
        assert packer.get_buffer() == b"\x80" + bytes(7) + b"\xff" * 8
        for method, number in (
            (packer.pack_hyper, 1 << 63),
            (packer.pack_hyper, (-1 << 63) - 1),
            (packer.pack_uhyper, -1),
            (packer.pack_uhyper, 1 << 64),
        ):
            with pytest.raises(xdrlib3.ConversionError):
                method(number)

    @pytest.mark.parametrize("data", [b"abc", b"abcde", "abcd"])
    def test_fixed_strings_are_neither_cut_nor_filled(self, data: Any) -> None:
        with pytest.raises(xdrlib3.ConversionError):
            Packer().pack_fstring(4, data)


class TestUnpacker:
    def test_the_end_of_data_is_an_error_of_xdrlib3(self) -> None:
        for name in ("uint", "int", "enum", "bool", "uhyper", "hyper", "float", "double", "string", "opaque"):
            with pytest.raises(xdrlib3.Error):
                getattr(Unpacker(b"\0\0\0"), f"unpack_{name}")()

    def test_everything_there_is_read_as_xdrlib3_does(self) -> None:
        packer = xdrlib3.Packer()
        packer.pack_double(1.5)
        packer.pack_uhyper(5)
        packer.pack_enum(-3)
        packer.pack_list([1, 2], packer.pack_uint)
        packer.pack_fopaque(3, b"abc")
        unpacker = Unpacker(packer.get_buffer())
        assert unpacker.unpack_double() == 1.5
        assert unpacker.unpack_uhyper() == 5
        assert unpacker.unpack_enum() == -3
        assert unpacker.unpack_list(unpacker.unpack_uint) == [1, 2]
        assert unpacker.unpack_fopaque(3) == b"abc"
        unpacker.done()

    def test_elements_without_bytes_end_soon(self) -> None:
        unpacker = Unpacker(b"\xff" * 4)
        began = time.process_time()
        with pytest.raises(xdrlib3.Error, match="4294967295 elements without a byte announced, 64 allowed"):
            unpacker.unpack_array(lambda: None)
        assert time.process_time() - began < 1


@d.BRIEF
@given(values(d.Everything, max_elements=2))
def test_our_types_serve_in_code_that_has_an_xdrlib_packer(value: d.Everything) -> None:
    pack, unpack = pack_function(d.Everything), unpack_function(d.Everything)
    packer = xdrlib3.Packer()
    packer.pack_int(5)
    pack(packer, value)
    packer.pack_int(6)
    assert packer.get_buffer()[4:-4] == xdr.encode(d.Everything, value)
    unpacker = xdrlib3.Unpacker(packer.get_buffer())
    assert unpacker.unpack_int() == 5
    assert unpack(unpacker) == value
    assert unpacker.unpack_int() == 6
    unpacker.done()
