"""Private keys of reviewers: one PEM file each, readable by its owner only, under a passphrase unless it is refused."""

import os
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tasks.core.errors import AccessError, ConflictError, UnavailableError
from tasks.core.signing import new_key
from tasks.core.strict import NAME


def keys_folder() -> Path:
    """`EQUIPOISE_KEYS`, or `equipoise/keys` in the user's configuration folder: not in the project, which others read."""
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(os.environ.get("EQUIPOISE_KEYS") or Path(base) / "equipoise" / "keys").expanduser()


def make_key(name: str, passphrase: str) -> tuple[Path, Ed25519PrivateKey]:
    """A new key in a file of mode 0600. An empty passphrase leaves it unprotected.

    Raises: ConflictError when there is one of that name; UnavailableError when it cannot be written.
    """
    path = _path(name)
    key = new_key()
    protection = serialization.BestAvailableEncryption(passphrase.encode()) if passphrase else serialization.NoEncryption()
    data = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, protection)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
    except FileExistsError:
        raise ConflictError("is there already; a key is never overwritten.", where=str(path), fix="Choose another name, or move the old key away.") from None
    except OSError as error:
        raise UnavailableError(f"cannot be written: {error.strerror}.", where=str(path), fix="Set EQUIPOISE_KEYS to a folder of yours.") from error
    return path, key


def load_key(name: str, passphrase: str) -> Ed25519PrivateKey:
    """The private key of a name.

    Raises: AccessError when there is none, when others may read it, or when the passphrase is not its own.
    """
    path = _path(name)
    try:
        if path.stat().st_mode & 0o077:
            raise AccessError("may be read by others, so it proves nothing.", where=str(path), fix=f"Run: chmod 600 {path}; make a new key if it was copied.")
        data = path.read_bytes()
    except FileNotFoundError:
        raise AccessError(f"There is no key of {name}.", where=str(path), fix=f"Run: equipoise keys new {name}") from None
    except OSError as error:
        raise UnavailableError(f"cannot be read: {error.strerror}.", where=str(path)) from error
    try:
        key = serialization.load_pem_private_key(data, passphrase.encode() or None)
    except (ValueError, TypeError) as error:
        raise AccessError("cannot be opened: the passphrase is not its own, or the file is damaged.", where=str(path), fix="Try again.") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise AccessError("is not an Ed25519 key.", where=str(path), fix=f"Move it away and run: equipoise keys new {name}")
    return key


def needs_passphrase(name: str) -> bool:
    """Whether the key of a name is protected."""
    try:
        return b"ENCRYPTED" in _path(name).read_bytes()
    except OSError:
        return False


def _path(name: str) -> Path:
    if not NAME.fullmatch(name):
        raise AccessError(f"{name!r} cannot name a key.", fix="Use lower-case letters, digits, '-' and '_', starting with a letter.")
    return keys_folder() / f"{name}.pem"
