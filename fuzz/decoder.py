"""Coverage-guided fuzzing of the XDR decoders with atheris.

    python fuzz/decoder.py [-max_total_time=SECONDS] [CORPUS...]        (all options of libFuzzer)

The first byte chooses a type of tests/xdr/declarations.py, the rest is decoded as that type. What must hold: nothing
but XDRDecodeError is raised; bytes and memoryview agree; what decodes encodes to the same bytes (NaN aside), survives
the JSON form, and its items are the data. The specialised functions are instrumented as they are made, so that coverage
sees into them.

What was found was fixed, and is kept as tests beside the others of the module it was in.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import atheris

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

with atheris.instrument_imports(include=["xdr"]):
    import xdr
    from xdr import jsonform, source, tree

from tests.xdr import declarations

_plain = source.Source.function


def _instrumented(self: source.Source, head: str, of: str) -> Any:
    function = atheris.instrument_func(_plain(self, head, of))
    self.names[function.__name__] = function
    return function


source.Source.function = _instrumented  # type: ignore[method-assign]

CODECS = [xdr.codec(annotation) for annotation in declarations.EVERY]


def one_input(data: bytes) -> None:
    """Try one input.

    Raises:
        AssertionError: Something that must hold does not.
    """
    if not data:
        return
    codec = CODECS[data[0] % len(CODECS)]
    data = data[1:]
    try:
        value = codec.decode(data)
    except xdr.XDRDecodeError as error:
        assert 0 <= error.offset <= len(data), error
        assert "interpreter" not in error.reason, error
        _check_refused(codec, data, str(error))
        return
    again = codec.encode(value)
    assert codec.encode(codec.decode(memoryview(data))) == again
    assert b"".join(item.data for item in tree.walk(codec, data)) == data
    # The interpreter makes a signalling NaN of 32 bits a quiet one.
    if "nan" not in repr(value):
        assert again == data
        assert codec.encode(jsonform.loads(codec, jsonform.dumps(codec, value))) == data


def _check_refused(codec: xdr.Codec[Any], data: bytes, text: str) -> None:
    for form in (memoryview(data), bytearray(data)):
        try:
            codec.decode(form)
        except xdr.XDRDecodeError as error:
            assert str(error) == text, (str(error), text)
        else:
            message = f"{codec} refuses bytes but takes {type(form).__name__}: {text}"
            raise AssertionError(message)
    try:
        for _item in tree.walk(codec, data):
            pass
    except xdr.XDRDecodeError as error:
        assert str(error) == text, (str(error), text)
    else:
        message = f"{codec} is refused but its tree is not: {text}"
        raise AssertionError(message)
    try:
        codec.decode(data, lenient_padding=True)
    except xdr.XDRDecodeError as error:
        assert "padding" not in error.reason, error


def main() -> None:
    """Fuzz until told to stop."""
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
