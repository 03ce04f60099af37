"""What can go wrong between a value and its bytes.

The tree::

    XDRError
    ├── XDRDeclarationError    a type was declared in a way that means nothing
    ├── XDREncodeError         our value does not fit its type
    └── XDRDecodeError         their bytes do not fit the type
"""

from __future__ import annotations

__all__ = ["XDRDeclarationError", "XDRDecodeError", "XDREncodeError", "XDRError"]


class XDRError(Exception):
    """Base of every error of this package."""


class XDRDeclarationError(XDRError, TypeError):
    """A declaration that is no XDR type: a plain ``int``, two arms for one case, an unknown name."""


class XDREncodeError(XDRError, ValueError):
    """A value does not fit the type that it is encoded as.

    Args:
        path: Where in the value, such as ``MsgSendArgs.body`` or ``entries[3].name``.
        reason: What is wrong there.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class XDRDecodeError(XDRError, ValueError):
    """Bytes do not fit the type that they are decoded as.

    Args:
        path: Where in the type, such as ``MsgSendArgs.body`` or ``entries[3].name``.
        offset: The byte, counted from the start of the data given, where the faulty item begins.
        reason: What is wrong there.
    """

    def __init__(self, path: str, offset: int, reason: str) -> None:
        super().__init__(path, offset, reason)
        self.path = path
        self.offset = offset
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}, at byte {self.offset}"
