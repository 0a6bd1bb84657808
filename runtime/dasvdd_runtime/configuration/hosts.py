"""Names and addresses of machines."""

from __future__ import annotations

import ipaddress


def require_host(text: str) -> str:
    """`text`, which names a machine. Raises ValueError where something stands before or behind the name."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        if not text or any(sign.isspace() or sign in ":/@" for sign in text):
            raise ValueError(
                f"'{text}' is no host: a name or an IP address alone, without mqtt://, port, user or password"
            ) from None
    return text


def is_loopback(host: str) -> bool:
    """`host`, an IP address or a name, is this machine and can be reached from no other."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
