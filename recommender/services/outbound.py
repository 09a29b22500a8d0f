"""Requests to addresses that staff typed in: only https, only to public addresses, never on to another.

A name is looked up once, every address that it has must be public, and the connection goes to the very address that was
checked: a name that points elsewhere a moment later gains nothing. Redirects are not followed, proxies of the
environment not used, and an answer is read up to a size and a deadline. ``OUTBOUND_PRIVATE_HOSTS`` names hosts of the
shop's own network that may be private, and may be spoken to by plain http.
"""

import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import SplitResult, quote, urlsplit

from django.conf import settings

from recommender.wording import gettext as _

LONGEST_ANSWER = 2**20
BLOCK = 16_384
#: In an address what is written in percent already stays, and so does what has a meaning; the rest is written so.
_AS_THEY_ARE = "%/?:@!$&'()*+,;=~"


class AddressRefused(ValueError):
    """The site does not speak to this address. The message is for people."""


class RequestFailed(OSError):
    """The address could not be reached, or gave no answer that can be read in time."""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes


def check_address(url: str) -> SplitResult:
    """What can be said of an address without asking for it.

    Raises:
        AddressRefused: it is not https, has no host, holds credentials, or names a private address.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise AddressRefused(_("“%(url)s” is no address.") % {"url": url}) from error
    host = parts.hostname
    if not host or parts.scheme not in {"https", "http"} or port == 0 or not url.isprintable() or " " in url:
        raise AddressRefused(_("Expected an address such as https://shop.example.com/path."))
    if parts.username is not None or parts.password is not None:
        raise AddressRefused(_("An address holds no name and no password."))
    if host in settings.OUTBOUND_PRIVATE_HOSTS:
        return parts
    if parts.scheme != "https":
        raise AddressRefused(_("Expected an address that starts with https://."))
    try:
        literal = ipaddress.ip_address(host)
    except ValueError:
        return parts
    _check_public(host, str(literal))
    return parts


def request(
    *,
    method: str,
    url: str,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    seconds: float,
    longest: int = LONGEST_ANSWER,
) -> Answer:
    """Ask an address once and read its answer, whatever its status, a redirect included.

    Raises:
        AddressRefused: see :func:`check_address`; or one of the host's addresses is private.
        RequestFailed: no answer within ``seconds``, or one longer than ``longest`` bytes.
    """
    parts = check_address(url)
    deadline = time.monotonic() + seconds
    try:
        connection = _connect(parts, deadline)
        with closing(connection), _cut_off(connection.sock, deadline):
            target = quote((parts.path or "/") + (f"?{parts.query}" if parts.query else ""), safe=_AS_THEY_ARE)
            connection.request(method, target, body=body, headers={"User-Agent": "couponsite", **(headers or {})})
            response = connection.getresponse()
            read = bytearray()
            while block := response.read1(BLOCK):
                read += block
                if len(read) > longest:
                    raise RequestFailed(_("The answer is longer than %(bytes)d bytes.") % {"bytes": longest})
    except (AddressRefused, RequestFailed):
        raise
    except (OSError, HTTPException, ValueError) as error:  # such as a name that no request can hold
        raise RequestFailed(str(error) or type(error).__name__) from error
    if time.monotonic() > deadline:  # what was read was cut off
        raise RequestFailed(_("No answer within %(seconds)s seconds.") % {"seconds": seconds})
    return Answer(response.status, bytes(read))


def _connect(parts: SplitResult, deadline: float) -> HTTPConnection:
    """A connection to one of the host's addresses, all of which were checked."""
    host, secure = str(parts.hostname), parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    connection = (HTTPSConnection if secure else HTTPConnection)(host, port)
    failure: OSError = RequestFailed(_("%(host)s: there is no such host.") % {"host": host})
    for address in _look_up(host, port):
        left = max(0.001, deadline - time.monotonic())
        try:
            connected = socket.create_connection((address, port), timeout=left)
        except OSError as error:
            failure = error
            continue
        if secure:
            with _cut_off(connected, deadline):
                connected = ssl.create_default_context().wrap_socket(connected, server_hostname=host)
        connection.sock = connected
        return connection
    raise failure


@contextmanager
def _cut_off(connected: socket.socket, deadline: float) -> Iterator[None]:
    """End a connection at the deadline, however slowly but steadily the other side goes on."""

    def shut() -> None:
        with suppress(OSError):
            connected.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(max(0.0, deadline - time.monotonic()), shut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _look_up(host: str, port: int) -> list[str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise RequestFailed(_("%(host)s: there is no such host.") % {"host": host}) from error
    addresses = [str(address[0]) for _family, _kind, _protocol, _name, address in found]
    if host not in settings.OUTBOUND_PRIVATE_HOSTS:
        for address in addresses:
            _check_public(host, address)
    return addresses


def _check_public(host: str, address: str) -> None:
    ip = ipaddress.ip_address(address.partition("%")[0])
    if ip.version == 6 and ip not in _TRANSLATED and ip not in _UNICAST:
        raise AddressRefused(_("%(host)s is not a public address.") % {"host": host})
    embedded = getattr(ip, "ipv4_mapped", None) or getattr(ip, "sixtofour", None)
    teredo = getattr(ip, "teredo", None)
    inner = [ip, *([embedded] if embedded else []), *(teredo or ())]
    if ip.version == 6 and ip in _TRANSLATED:
        inner.append(ipaddress.ip_address(int(ip) & 0xFFFFFFFF))
    if any(not each.is_global or each.is_multicast for each in inner):
        raise AddressRefused(_("%(host)s is not a public address.") % {"host": host})


#: What IPv6 has given out to the public (RFC 4291). Outside of it lie ways to write IPv4 addresses, sites' own networks
#: that are so called no more, and what may come.
_UNICAST = ipaddress.ip_network("2000::/3")
#: IPv4 addresses as a network without IPv4 reaches them (RFC 6052).
_TRANSLATED = ipaddress.ip_network("64:ff9b::/96")
