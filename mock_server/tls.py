"""TLS for clients that accept nothing else, such as those with the real hosts written into them.

The certificate comes from a certificate authority of our own that is made for the occasion and signs nothing else. A
client is told to trust it; nobody is told to stop checking.
"""

from __future__ import annotations

import os
import shlex
import ssl
import stat
from pathlib import Path

#: Names that the certificate is good for: this machine, and the hosts that are hard-coded in clients (1).
NAMES = ("localhost", "127.0.0.1", "::1", "aip.baidubce.com", "qianfan.baidubce.com", "iam.bj.baidubce.com")

_CERTIFICATE, _KEY = "qfkit-ca.pem", "qfkit-ca.key"


class TlsError(RuntimeError):
    """TLS cannot be had; the message says why, and what to do."""


class Authority:
    """A throw-away certificate authority.

    Args:
        directory: where it is kept, so that it need be trusted only once; made if it is not there, for its owner only.
            None makes a new authority that is gone with the process.

    Raises:
        TlsError: trustme is missing, or somebody else can read the authority's key.
    """

    def __init__(self, directory: str | Path | None = None) -> None:
        try:
            import trustme  # noqa: PLC0415 - optional
        except ImportError:
            raise TlsError("TLS needs trustme, which makes the certificates: pip install 'qfkit[server]'") from None
        if directory is None:
            self._ca = trustme.CA(organization_name="qfkit throw-away authority")
            return
        folder = Path(directory).expanduser()
        certificate, key = folder / _CERTIFICATE, folder / _KEY
        if key.exists():
            _check(key)
            self._ca = trustme.CA.from_pem(certificate.read_bytes(), key.read_bytes())
            return
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._ca = trustme.CA(organization_name="qfkit throw-away authority")
        certificate.write_bytes(self._ca.cert_pem.bytes())
        with open(os.open(key, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:  # noqa: PTH123 - never open to others
            file.write(self._ca.private_key_pem.bytes())

    @property
    def pem(self) -> bytes:
        """Its certificate, for those who are to trust it."""
        return self._ca.cert_pem.bytes()

    def context(self, *more: str) -> ssl.SSLContext:
        """What a server needs to answer as any of `NAMES`, and of ``more``."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.set_alpn_protocols(["http/1.1"])
        names = dict.fromkeys((*NAMES, *(name for name in more if name)))
        self._ca.issue_cert(*names, common_name="qfkit mock").configure_cert(context)
        return context


def _check(key: Path) -> None:
    mode = key.stat().st_mode
    if os.name == "posix" and mode & 0o077:
        raise TlsError(
            f"{key} can be read by others (mode {stat.S_IMODE(mode):04o}), who could answer in the name of any host to "
            f"whoever trusts it: delete the directory and let a new one be made, or chmod 600 {key}"
        )


def trust(path: str) -> dict[str, str]:
    """Environment variables that make clients trust the authority in the file ``path``, and no other."""
    return {"REQUESTS_CA_BUNDLE": path, "SSL_CERT_FILE": path, "CURL_CA_BUNDLE": path, "NODE_EXTRA_CA_CERTS": path}


def how_to_trust(url: str, path: str) -> str:
    """What a person reads who has to make a client trust the mock."""
    port = url.rpartition(":")[2]
    exports = "\n".join(f"  export {name}={shlex.quote(path)}" for name in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"))
    return f"""\
To trust this mock (its authority was made for it and signs nothing else; never switch verification off)
{exports}
  export NODE_EXTRA_CA_CERTS={shlex.quote(path)}
  requests.Session().verify = {path!r}
  OpenAI(http_client=httpx.Client(verify=ssl.create_default_context(cafile={path!r})))
For a client with the real hosts written into it
  curl --cacert {shlex.quote(path)} --connect-to aip.baidubce.com:443:127.0.0.1:{port} https://aip.baidubce.com/…
  or let /etc/hosts of a container point aip.baidubce.com, qianfan.baidubce.com and iam.bj.baidubce.com here, port 443
"""
