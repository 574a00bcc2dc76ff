"""Random tokens and what is derived from them; of a login only the hash is ever stored."""

import hashlib
import hmac
import secrets

TOKEN_BYTES = 32
MAX_TOKEN_LENGTH = 64


def new_token() -> str:
    """Return 256 random bits as text that fits into a cookie or an address."""
    return secrets.token_urlsafe(TOKEN_BYTES)


def token_sha256(token: str) -> str:
    """Return what is stored in place of a token; 256 random bits need no salt."""
    return hashlib.sha256(token.encode()).hexdigest()


def form_token(token: str) -> str:
    """Return the token that every form of this login carries; it does not give the login away."""
    return hmac.new(token.encode(), b"partgate form", hashlib.sha256).hexdigest()


def same(given: str, expected: str) -> bool:
    """Return whether two secrets are equal, in a time that does not tell where they differ."""
    return hmac.compare_digest(given.encode(), expected.encode())
