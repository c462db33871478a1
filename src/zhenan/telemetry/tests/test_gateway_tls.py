"""TLS by settings: devices speak it, strangers without a certificate are refused, wrong files say what is wrong."""

import asyncio
import datetime
import ipaddress
import ssl
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from zhenan.telemetry.codecs import gb26875
from zhenan.telemetry.codecs.base import local_from_ms
from zhenan.telemetry.gateway.keys import Key, digest_of
from zhenan.telemetry.gateway.tls import TlsFault, server_context
from zhenan.telemetry.tests.gateway_support import CENTRE, gateway, point, readings_of

NOW = int(time.time()) * 1000
ROWS = [point("gb26875", "0000000003e9", 7, "sys1.40.17.a3", 1), point("mqtt_json", "dev-1", 8, "gas", 2)]


def issue(folder, name, signer=None):
    """A certificate and its key as PEM files, signed by another's or by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(signer[0].subject if signer else subject)
        .public_key(key.public_key()).serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=signer is None, path_length=None), critical=True)
    )  # fmt: skip
    made = builder.sign(signer[1] if signer else key, hashes.SHA256())
    (folder / f"{name}.crt").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                serialization.NoEncryption())  # fmt: skip
    (folder / f"{name}.key").write_bytes(private)
    return made, key


@pytest.fixture
def files(tmp_path):
    ca = issue(tmp_path, "ca")
    issue(tmp_path, "server", ca)
    issue(tmp_path, "device", ca)
    issue(tmp_path, "other")
    return lambda name: str(tmp_path / name)


def client_context(files, *, cert=""):
    context = ssl.create_default_context(cafile=files("ca.crt"))
    if cert:
        context.load_cert_chain(files(f"{cert}.crt"), files(f"{cert}.key"))
    return context


async def report(port, context):
    """One frame over TLS; whether it was confirmed."""
    when = {"sys_type": 1, "sys_addr": 1, "comp_type": 40, "comp_addr": 17, "analog_type": 3, "raw": 253}
    frame = gb26875.send("0000000003e9", CENTRE, 5, 3, [when | {"time": local_from_ms(NOW)}], NOW)
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    writer.write(frame)
    answer = await asyncio.wait_for(reader.read(30), 10)
    writer.close()
    return len(answer) == 30


def served(nats, context):
    async def keys():
        return [Key(1, "k", digest_of("zk_t"), 1e9, 1e9)]

    tls = {"gb26875": context, "http": context}
    return gateway(nats, ROWS, load_keys=keys, ports={"gb26875": 0, "http": 0}, mqtt=False, tls=tls)


def test_frames_and_requests_come_over_tls(tmp_nats, files):
    async def story():
        async with served(tmp_nats, server_context(files("server.crt"), files("server.key"))) as up:
            assert await report(up.port("gb26875"), client_context(files))
            reader, writer = await asyncio.open_connection("127.0.0.1", up.port("http"), ssl=client_context(files))
            body = b'[{"d":"dev-1","m":"gas","t":%d,"v":1}]' % NOW
            writer.write(b"POST /ingest/json HTTP/1.1\r\nAuthorization: Bearer zk_t\r\nContent-Length: %d\r\n\r\n%s"
                         % (len(body), body))  # fmt: skip
            assert b" 200 OK" in await asyncio.wait_for(reader.readline(), 10)
            writer.close()
            reader, writer = await asyncio.open_connection("127.0.0.1", up.port("gb26875"))
            writer.write(b"@@" + bytes(60))  # plain bytes
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                await asyncio.wait_for(reader.readexactly(30), 3)
        assert len(await readings_of(tmp_nats)) == 2

    asyncio.run(asyncio.wait_for(story(), 60))


def test_with_a_client_ca_only_devices_that_it_knows_are_heard(tmp_nats, files):
    async def story():
        context = server_context(files("server.crt"), files("server.key"), files("ca.crt"))
        async with served(tmp_nats, context) as up:
            assert await report(up.port("gb26875"), client_context(files, cert="device"))
            for cert in ("", "other"):
                with pytest.raises((ssl.SSLError, ConnectionError, AssertionError)):
                    assert await report(up.port("gb26875"), client_context(files, cert=cert))
        assert len(await readings_of(tmp_nats)) == 1

    asyncio.run(asyncio.wait_for(story(), 60))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("none.crt", "server.key", ""), "certificate .*none.crt cannot be opened"),
        (("server.crt", "none.key", ""), "key .*none.key cannot be opened"),
        (("server.crt", "other.key", ""), "do not belong together"),
        (("server.key", "server.key", ""), "cannot be read"),
        (("server.crt", "server.key", "none.crt"), "client CA .*none.crt cannot be opened"),
        (("server.crt", "server.key", "server.key"), "client CA .*server.key cannot be read"),
    ],
)
def test_files_that_cannot_be_used_are_named_with_the_reason(files, given, words):
    with pytest.raises(TlsFault, match=words):
        server_context(*(files(name) if name else "" for name in given))
    with pytest.raises(TlsFault, match="no key is named"):
        server_context(files("server.crt"), "")
