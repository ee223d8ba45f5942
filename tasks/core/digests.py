"""SHA-256 digests, and the canonical JSON they are taken of."""

import hashlib
import json
from typing import Any


def digest_bytes(data: bytes) -> str:
    """`sha256:` and 64 hexadecimal digits."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def canonical_json(value: Any) -> bytes:
    """UTF-8 JSON with sorted keys, no white space, and no NaN or infinity: equal values give equal bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def digest_of(value: Any) -> str:
    """The digest of a value's canonical JSON.

    >>> digest_of({"b": 1, "a": 2}) == digest_of({"a": 2, "b": 1})
    True
    """
    return digest_bytes(canonical_json(value))


def finite(value: Any) -> Any:
    """The same value as JSON has it: NaN and infinity as null, tuples as lists."""
    return json.loads(json.dumps(value), parse_constant=lambda _: None)


def json_bytes(value: Any) -> bytes:
    """A value as indented JSON for people to read, in UTF-8; NaN and infinity as null."""
    return json.dumps(finite(value), indent=1, ensure_ascii=False).encode()
