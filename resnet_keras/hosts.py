"""Whether a host can be reached, found out in seconds where a download would try for minutes."""

import socket
import urllib.parse
import urllib.request

CONNECTING = 5.0  # seconds for each address of a host
_PORTS = {"http": 80, "https": 443, "ftp": 21, "socks5": 1080, "socks5h": 1080}


def unreachable(url: str) -> str | None:
    """Tries to connect to the host of a URL, or to the proxy on the way to it.

    Args:
        url: of http, https or ftp. The proxy is that of the environment, such as HTTPS_PROXY.

    Returns:
        What cannot be reached, and why; None where it answers.
    """
    target = urllib.parse.urlsplit(url)
    proxy = _proxy(target)
    place = urllib.parse.urlsplit(proxy) if proxy else target
    port = place.port or _PORTS.get(place.scheme, 443)
    try:
        socket.create_connection((place.hostname or "", port), CONNECTING).close()
    except OSError as error:
        why = "no answer" if isinstance(error, TimeoutError) else error.strerror or str(error)
        return f"{'the proxy ' if proxy else ''}{place.hostname} ({why})"
    return None


def _proxy(target):
    if urllib.request.proxy_bypass(target.hostname or ""):
        return None
    proxies = urllib.request.getproxies()
    proxy = proxies.get(target.scheme) or proxies.get("all")
    return proxy if proxy is None or "://" in proxy else f"http://{proxy}"
