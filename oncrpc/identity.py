"""How a client proves who it is: the plug for authentication flavors on the calling side (RFC 5531, section 8.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from oncrpc.auth import AUTH_NONE, Credential, encode_opaque_auth

if TYPE_CHECKING:
    from oncrpc.replies import ReplyHeader

__all__ = ["NOBODY", "Identity"]


class Identity:
    """Puts credential and verifier into calls, and looks at the verifier of replies.

    This class serves the flavors that need no secret: AUTH_NONE, AUTH_SYS, AUTH_SHORT. A flavor with
    one (RPCSEC_GSS) overrides both methods: they see the whole header that a verifier covers, may
    replace the arguments by protected ones, and may refuse a reply.

    Args:
        credential: Who calls.

    Raises:
        ValueError: A field of the credential does not fit.
    """

    verifies: ClassVar[bool] = False
    """True if unseal() has something to do; else it is not called for the plainest replies."""

    def __init__(self, credential: Credential = AUTH_NONE) -> None:
        self.credential = credential
        self._proof = encode_opaque_auth(credential.flavor, credential.encode()) + encode_opaque_auth(0, b"")

    def seal(self, header: bytes, arguments: bytes) -> bytes:
        """Complete a call.

        Args:
            header: The message from the xid to the procedure number, 24 bytes.
            arguments: The encoded arguments.

        Returns:
            The whole message.
        """
        return header + self._proof + arguments

    def unseal(self, header: ReplyHeader, results: memoryview) -> memoryview | bytes:
        """Check the verifier of a successful reply and uncover its results.

        Args:
            header: The reply's xid and verifier.
            results: The bytes behind the header.

        Raises:
            AuthenticationFailed: AUTH_INVALIDRESP: the verifier is not the server's.
        """
        del header
        return results


NOBODY: Final = Identity()
"""AUTH_NONE, for calls in no name."""
