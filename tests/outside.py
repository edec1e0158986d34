"""What is outside of virtual time, for tests of what holds it: a thread that began before the loop, and TLS."""

import hashlib
import queue
import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path

Address = tuple[str, int]

CERTIFICATE = """
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgkrGjwbYAxP8Jiupx
fNO4FGZiU5nAVQhnPbT1pfOLHF2hRANCAASScaFQdE/zloU7QN4v2m/pVQPDkwDb
ruVornMhnEfGUBwiWPAh2G8WKEQMvfhc/9jqAG/8RsjLVfp4OxSSd6MC
-----END PRIVATE KEY-----
-----BEGIN CERTIFICATE-----
MIIBlTCCATugAwIBAgIUIb9r/cfSYU8mN6PKDDaGFR+UlJowCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyNDA3MDU1MFoYDzIxMjYxMDMx
MDcwNTUwWjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAASScaFQdE/zloU7QN4v2m/pVQPDkwDbruVornMhnEfGUBwiWPAh2G8W
KEQMvfhc/9jqAG/8RsjLVfp4OxSSd6MCo2kwZzAdBgNVHQ4EFgQUpJhe3tOX/wea
2bXLcQ2O+atzMAEwHwYDVR0jBBgwFoAUpJhe3tOX/wea2bXLcQ2O+atzMAEwDwYD
VR0TAQH/BAUwAwEB/zAUBgNVHREEDTALgglsb2NhbGhvc3QwCgYIKoZIzj0EAwID
SAAwRQIgU/ZYwqhxSH2V9rW/5+PBGkaGy7kMM7r8H7sL+YJ+oyMCIQCKju7IHBQN
gG7PYXL3TpbYSKXDJ3gZAEc/Yod+BHljQA==
-----END CERTIFICATE-----
"""
"""Of a server that nobody should trust: its key is here for all to read."""


def take_a_while(times: float = 1) -> None:
    """Do real work, for some hundredths of a second; so many times of it."""
    hashlib.pbkdf2_hmac("sha256", b"real", b"work", int(times * 100_000))


def server_tls(folder: Path) -> ssl.SSLContext:
    """Return the TLS of a server."""
    file = folder / "certificate.pem"
    file.write_text(CERTIFICATE)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


def client_tls() -> ssl.SSLContext:
    """Return the TLS of a client that trusts everybody."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Outside:
    """A thread of which virtual time knows nothing, as it began before the loop ran: it does what it is told."""

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._errors: list[Exception] = []
        self._thread = threading.Thread(target=self._work, name="outside", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            try:
                call()
            except Exception as error:  # noqa: BLE001  # it is raised at the end of the test
                self._errors.append(error)

    def do(self, call: Callable[[], object]) -> None:
        """Do something."""
        self._calls.put(call)

    def serve(self, handle: Callable[[socket.socket], object]) -> Address:
        """Serve one connection, and return where."""
        listener = socket.create_server(("127.0.0.1", 0))
        listener.settimeout(10)
        address: Address = listener.getsockname()

        def accept() -> None:
            with listener, listener.accept()[0] as connection:
                connection.settimeout(10)
                handle(connection)

        self.do(accept)
        return address

    def connect(self, address: Address, talk: Callable[[socket.socket], object]) -> None:
        """Talk to a server."""

        def connect() -> None:
            with socket.create_connection(address, timeout=10) as connection:
                talk(connection)

        self.do(connect)

    def close(self) -> None:
        """End, and raise what was raised outside."""
        self._calls.put(None)
        self._thread.join()
        if self._errors:
            raise ExceptionGroup("outside", self._errors)
