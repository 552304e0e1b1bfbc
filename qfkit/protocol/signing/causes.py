"""Everything that can be wrong with a signed request: one row a cause, for messages, reports and the manual.

A row of the last four groups names a mistake that ``explain`` looks for: it rebuilds the string that a client with
that mistake would have signed, and when the HMAC over it is the client's signature, the cause is certain.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cause:
    """One cause of refusal.

    Attributes:
        name: machine name, stable.
        statement: what happened, one line without a full stop.
        advice: what to do about it, one line without a full stop.
    """

    name: str
    statement: str
    advice: str


_READING = (
    Cause("missing-header", "a header that the scheme needs is missing or empty", "send every header of the scheme"),
    Cause(
        "repeated-header",
        "a header of the signature came twice with different values",
        "set each header once an attempt; a retry must replace them, not add to them",
    ),
    Cause(
        "timestamp-not-integer",
        "X-Bce-Timestamp is not whole Unix seconds",
        "send str(int(time.time())), and sign that same text",
    ),
    Cause(
        "malformed-authorization",
        "the Authorization header is not a bce-auth-v1 value",
        "write bce-auth-v1/{access key}/{YYYY-MM-DDThh:mm:ssZ}/{seconds}/{signed headers}/{signature}",
    ),
    Cause("unknown-key", "no account has this access key", "check the access key, and which account it belongs to"),
    Cause(
        "clock-behind", "the time stamp is too old", "sign each attempt afresh with the current time; check the clock"
    ),
    Cause("clock-ahead", "the time stamp lies in the future", "check the client's clock against a time server"),
    Cause("timestamp-in-milliseconds", "the time stamp counts fractions of a second", "send and sign whole seconds"),
    Cause(
        "local-time-for-utc",
        "the time stamp is 8 hours off: China's time was taken for UTC",
        "use time.time(), or datetime.now(timezone.utc); never utcnow().timestamp()",
    ),
    Cause("expired", "the signature's validity is over", "sign each attempt afresh, or sign for a longer validity"),
    Cause(
        "replayed",
        "this signed request was seen before",
        "sign each attempt afresh: new time stamp, new nonce, new signature",
    ),
    Cause(
        "host-not-signed",
        "the signed headers do not cover host, which is mandatory",
        "add host to the signed headers and to the canonical request",
    ),
    Cause(
        "missing-signed-header",
        "a header that the signature lists did not arrive",
        "send every listed header, or do not list it; proxies drop some, nginx those with an underscore",
    ),
    Cause("url-for-path", "the client signed the full URL in place of the path", "sign the path, with its query"),
    Cause("path-for-url", "the client signed the path in place of the full URL", "sign the full URL"),
    Cause("nonce-unsigned", "the nonce is not signed", "append a newline and the nonce to the string to sign"),
    Cause("nonce-signed", "the nonce is signed, which this server does not want", "end the string at the time stamp"),
    Cause(
        "signature-not-a-digest",
        "the signature is not a digest in any known spelling",
        "send the whole digest in the scheme's spelling: base64 for hmac, lower-case hex for bce-auth-v1",
    ),
    Cause(
        "wrong-secret",
        "no known mistake gives this signature: most likely the secret key is wrong",
        "check that the secret key is that of this access key; then try qfkit sign --explain",
    ),
)

_STRING = (
    # -- target
    Cause(
        "url-real-host",
        "the client signed a host of the real service, not the one it called",
        "sign the host that the request is sent to",
    ),
    Cause("url-other-host", "the client signed another name of this host", "sign the host that the request is sent to"),
    Cause("url-without-port", "the client signed the URL without its port", "sign the URL exactly as requested"),
    Cause(
        "url-default-port", "the client signed a default port that the URL does not show", "sign the URL as requested"
    ),
    Cause(
        "url-without-scheme", "the client signed the URL without http:// or https://", "sign the path, or the whole URL"
    ),
    Cause("query-dropped", "the client left the query out of what it signed", "sign the target with its query"),
    Cause(
        "query-reordered",
        "the client signed the query's parameters in another order",
        "build the query once; sign and send that text",
    ),
    Cause(
        "query-encoding",
        "the client signed the query encoded in another way than it sent it",
        "encode the query once; sign and send that text, not the parameters before encoding",
    ),
    Cause("endpoint-tail", "the client signed only the end of the path", "sign the whole path, from the first slash"),
    Cause("other-endpoint", "the client signed another endpoint than it called", "sign the path that you call"),
    Cause("path-slash", "the signed path and the called path differ by a slash", "sign the path exactly as called"),
    Cause(
        "path-decoded", "the client signed the path before percent-encoding", "sign the path as it stands on the wire"
    ),
    Cause("path-encoded-twice", "the client percent-encoded the path twice", "encode the path once, before signing it"),
    # -- body
    Cause(
        "body-reserialised",
        "the body was serialised again between signing and sending",
        "serialise once; sign and send those very bytes (data=body, not json=payload)",
    ),
    Cause("body-empty", "the client signed an empty body but sent one", "build the body before signing, and sign it"),
    Cause("body-whitespace", "signed and sent body differ by white space around it", "sign the very bytes you send"),
    Cause(
        "body-python-repr", "the client signed str(payload), Python's notation, not JSON", "sign json.dumps(payload)"
    ),
    Cause(
        "body-bytes-repr", "the client formatted bytes into the string, so it signed b'...'", "join bytes, or decode"
    ),
    Cause("body-json-twice", "signing and sending encoded the body to JSON a different number of times", "encode once"),
    Cause(
        "body-encoding", "the client signed the body's text in another character set", "use UTF-8 to sign and to send"
    ),
    Cause("body-hashed", "the client signed a hash of the body", "sign the body itself"),
    Cause("body-signed", "the client signed the body, which this scheme does not", "end the string at the headers"),
    # -- method
    Cause("method-case", "the method is not upper case in what the client signed", "sign the method in upper case"),
    Cause("method-other", "the client signed another method than it sent", "sign the method that is sent"),
    # -- time stamp
    Cause("timestamp-float", "the client signed the seconds with a fraction", "sign the text of the header itself"),
    Cause("timestamp-read-twice", "the client read its clock once to sign and once to send", "read the clock once"),
    Cause("timestamp-iso", "the client signed a written date, but sent Unix seconds", "sign the header's own text"),
    Cause(
        "timestamp-other-header", "the client signed the time of another header", "sign the X-Bce-Timestamp you send"
    ),
    # -- joining
    Cause(
        "nonce-before-timestamp",
        "the client put the nonce before the time stamp",
        "sign the time stamp, then the nonce",
    ),
    Cause(
        "parts-reordered", "the client signed the parts in another order", "use METHOD, TARGET, BODY, TIMESTAMP, NONCE"
    ),
    Cause(
        "part-left-out", "the client left a part out of what it signed", "use METHOD, TARGET, BODY, TIMESTAMP, NONCE"
    ),
    Cause("access-key-signed", "the client signed the access key too", "leave the access key out of the string"),
    Cause("separator-crlf", "the client joined the lines with carriage return and newline", r"join with \n alone"),
    Cause(
        "separator-literal",
        r"the client joined with a backslash and an n, not a newline",
        r"write '\n' where it is read",
    ),
    Cause("separator-missing", "the client joined the parts with nothing between", "put a newline between parts"),
    Cause("separator-other", "the client joined the parts with another separator", "put a newline between parts"),
    Cause("trailing-newline", "the client ended the string with a newline", "end the string at its last part"),
)

_BCE = (
    Cause("path-slashes-encoded", "the client encoded the slashes of the path", "keep / in the canonical URI"),
    Cause("path-with-query", "the client put the query into the canonical URI", "keep the query on its own line"),
    Cause("path-url", "the client put the full URL where the path belongs", "sign the path alone"),
    Cause("query-unsorted", "the client did not sort the query", "encode each k=v, then sort those strings"),
    Cause("query-sorted-by-key", "the client sorted the query by key", "encode each k=v, then sort those strings"),
    Cause("query-not-encoded", "the client signed the query unencoded", "encode each key and value, / too"),
    Cause("query-encoded-twice", "the client percent-encoded the query twice", "encode each key and value once"),
    Cause("query-empty-value", "the client left out an empty value's = or its key", "sign a name alone as name="),
    Cause("query-as-sent", "the client signed the query as it stands in the URL", "decode, encode, sort, join with &"),
    Cause("headers-not-encoded", "the client signed header values unencoded", "percent-encode names and values, / too"),
    Cause("headers-unsorted", "the client did not sort the canonical headers", "sort the name:value lines"),
    Cause("header-names-case", "the client signed header names that are not lower case", "lower-case the names"),
    Cause("header-left-out", "the client listed a header that it did not sign", "sign exactly the headers you list"),
    Cause("header-not-listed", "the client signed a header that it does not list", "list exactly the headers you sign"),
    Cause(
        "content-type-changed",
        "Content-Type arrived as another value than the client signed",
        "set it yourself before signing: HTTP libraries add a charset or a default",
    ),
    Cause(
        "content-length-changed",
        "Content-Length arrived as another value than the client signed",
        "sign the length of the bytes that are sent, or leave content-length unsigned",
    ),
    Cause("date-changed", "x-bce-date arrived as another value than the client signed", "sign the date that you send"),
    Cause(
        "header-changed",
        "a signed header arrived as another value than the client signed",
        "set the header's final value before signing; sign no header that a proxy rewrites",
    ),
    Cause("headers-encoded-twice", "the client percent-encoded the header values twice", "encode each value once"),
    Cause("prefix-timestamp", "the signing key was made for another time stamp", "use one time stamp throughout"),
    Cause(
        "prefix-other", "the signing key was made over another prefix", "use bce-auth-v1/{access key}/{date}/{seconds}"
    ),
    Cause("prefix-expiration", "the signing key was made for another validity", "use one validity throughout"),
    Cause("percent-lower-case", "the client wrote percent escapes in lower case", "write %XX in upper case"),
    Cause(
        "encode-uri-component",
        "the client left !'()* unescaped, as encodeURIComponent does",
        "escape those five characters as well",
    ),
)

_KEY = (
    Cause("secret-whitespace", "the client's secret key has white space around it", "strip it where it is read"),
    Cause(
        "secret-quoted", "the client's secret key has quotation marks around it", "take the quotes off where it is read"
    ),
    Cause("secret-truncated", "the client's secret key lacks a character at one end", "copy the whole key"),
    Cause("secret-base64-decoded", "the client base64-decoded the secret key", "use the key's text as it is"),
    Cause("secret-hex-decoded", "the client decoded the secret key from hex", "use the key's text as it is"),
    Cause("access-key-as-secret", "the client signed with the access key", "sign with the secret key"),
    Cause("key-and-message-swapped", "the client swapped the HMAC's key and message", "the secret key is the key"),
    Cause("not-hmac", "the client hashed key and string together, which is no HMAC", "use HMAC-SHA256"),
    Cause("signing-key-raw", "the client used the signing key's raw bytes", "use its lower-case hex text as the key"),
    Cause("signing-key-upper-case", "the client used the signing key in upper case", "use lower-case hex"),
    Cause("signing-key-base64", "the client used the signing key in base64", "use its lower-case hex text as the key"),
    Cause(
        "secret-without-derivation",
        "the client signed with the secret key itself",
        "derive the signing key: hex(HMAC-SHA256(secret key, prefix))",
    ),
)

_SPELLING = (
    Cause("signature-hex", "the signature is sent in hex", "send base64 of the raw digest"),
    Cause("signature-base64", "the signature is sent in base64", "send lower-case hex"),
    Cause("signature-upper-case", "the signature is sent in upper case", "send lower-case hex"),
    Cause("signature-urlsafe", "the signature is sent in the URL-safe base64 alphabet", "use the standard alphabet"),
    Cause("signature-unpadded", "the signature's base64 lacks its = at the end", "keep the padding"),
    Cause("signature-base64-of-hex", "the signature is base64 of the hex text", "encode the raw digest, not its hex"),
    Cause("signature-bytes-repr", "the signature is sent as Python prints bytes, b'...'", "decode it to text"),
    Cause("signature-percent-encoded", "the signature is percent-encoded", "send it as it is in a header"),
    Cause("hash-sha1", "the client used SHA-1", "use SHA-256"),
    Cause("hash-sha224", "the client used SHA-224", "use SHA-256"),
    Cause("hash-sha384", "the client used SHA-384", "use SHA-256"),
    Cause("hash-sha512", "the client used SHA-512", "use SHA-256"),
)

#: Every cause by name.
CAUSES: dict[str, Cause] = {
    cause.name: cause for group in (_READING, _STRING, _BCE, _KEY, _SPELLING) for cause in group
}

#: Accepted, yet worth knowing: name -> what it means.
FINDINGS: dict[str, str] = {
    "nonce-unsigned": "the nonce is not covered by the signature, so a listener can replay the request under a new one",
}


def named(cause: str) -> tuple[Cause, ...]:
    """The rows behind a ``Verification.cause``, which joins the names of several mistakes with ``+``."""
    return tuple(CAUSES[name] for name in cause.split("+"))
