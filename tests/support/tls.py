"""A TLS proxy in front of a plain server, with certificates generated for the test."""

import asyncio
import contextlib
import datetime
import ipaddress
import ssl
import threading

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.integration.server import free_port

DAY = datetime.timedelta(days=1)
#: The parameters of ``x509.KeyUsage``, which are all required.
KEY_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


class Certificates:
    """Files with a certificate authority and with a certificate that it signed, with keys."""

    def __init__(self, folder):
        self.authority = folder / "authority.pem"
        self.signed = folder / "signed.pem"
        authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        authority = _certificate("Authority", authority_key, authority_key, is_authority=True)
        signed = _certificate("localhost", key, authority_key, is_authority=False)
        _write(self.authority, authority, authority_key)
        _write(self.signed, signed, key)

    def server_context(self):
        """Return the TLS context of a server, which verifies the certificate of a client if any."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=self.authority)
        context.load_cert_chain(self.signed)
        context.verify_mode = ssl.CERT_OPTIONAL
        return context


def _certificate(name, key, authority_key, *, is_authority):
    """A certificate with all extensions that ``ssl`` requires from Python 3.13 on."""
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    usage = dict.fromkeys(KEY_USAGES, False)
    usage["key_cert_sign" if is_authority else "digital_signature"] = True
    authority_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name("Authority"))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - DAY)
        .not_valid_after(now + DAY)
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(**usage), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(authority_id, critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
    )
    return builder.sign(authority_key, hashes.SHA256())


def _name(name):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _write(path, certificate, key):
    pem = serialization.Encoding.PEM
    pkcs8 = serialization.PrivateFormat.PKCS8
    secret = key.private_bytes(pem, pkcs8, serialization.NoEncryption())
    path.write_bytes(certificate.public_bytes(pem) + secret)


class TlsProxy:
    """Accepts TLS on ``port`` and passes the plain bytes to the server on ``server_port``."""

    def __init__(self, context, server_port):
        self.port = free_port()
        self._context = context
        self._server_port = server_port
        self._loop = asyncio.new_event_loop()
        self._loop.run_until_complete(self._listen())
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    async def _listen(self):
        await asyncio.start_server(self._forward, "127.0.0.1", self.port, ssl=self._context)

    async def _forward(self, reader, writer):
        server = await asyncio.open_connection("127.0.0.1", self._server_port)
        server_reader, server_writer = server
        await asyncio.gather(_copy(reader, server_writer), _copy(server_reader, writer))

    def close(self):
        """Stop the proxy and close its connections."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()


async def _copy(reader, writer):
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()
