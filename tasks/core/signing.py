"""Ed25519 signatures of statements: canonical JSON, with a context in front so that a signature made for one purpose serves no other.

Source: RFC 8032, by the `cryptography` package.
"""

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from tasks.core.digests import canonical_json

CONTEXT = b"equipoise review, format 1\n"
PREFIX = "ed25519:"


def new_key() -> Ed25519PrivateKey:
    """A key from the operating system's randomness."""
    return Ed25519PrivateKey.generate()


def public_text(key: Ed25519PrivateKey) -> str:
    """The public half as configs/reviewers.yaml has it: `ed25519:` and base64 of its 32 bytes."""
    return PREFIX + base64.b64encode(key.public_key().public_bytes_raw()).decode()


def public_key(text: str) -> Ed25519PublicKey:
    """The key that `public_text` wrote. Raises: ValueError for any other text."""
    try:
        return Ed25519PublicKey.from_public_bytes(base64.b64decode(text.removeprefix(PREFIX), validate=True))
    except (ValueError, binascii.Error) as error:
        raise ValueError("not a public key: `ed25519:` and 44 characters, as `equipoise keys new` prints it") from error


def sign(key: Ed25519PrivateKey, statement: Mapping[str, Any]) -> str:
    """Base64 of the signature of a statement."""
    return base64.b64encode(key.sign(CONTEXT + canonical_json(dict(statement)))).decode()


def is_signed(public: str, statement: Mapping[str, Any], signature: str) -> bool:
    """Whether the signature is that of exactly this statement by the owner of the public key."""
    try:
        public_key(public).verify(base64.b64decode(signature, validate=True), CONTEXT + canonical_json(dict(statement)))
    except (InvalidSignature, ValueError, binascii.Error):
        return False
    return True
