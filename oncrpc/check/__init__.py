"""A conformance suite for anybody's ONC RPC server: RFC 5531 as numbered checks."""
