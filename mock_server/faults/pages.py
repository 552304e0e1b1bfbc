"""Pages that other machines on the way write instead of the service."""

from __future__ import annotations

#: Reason phrases as nginx writes them: two differ from RFC 9110's.
NGINX_REASONS = {502: "Bad Gateway", 503: "Service Temporarily Unavailable", 504: "Gateway Time-out"}

_NGINX = """\
<html>\r
<head><title>{status} {reason}</title></head>\r
<body>\r
<center><h1>{status} {reason}</h1></center>\r
<hr><center>nginx</center>\r
</body>\r
</html>\r
"""

LOGIN = """\
<!DOCTYPE html>
<html lang="zh-CN">
<head><meta charset="utf-8"><title>上网认证</title></head>
<body><h1>上网认证</h1><form action="/login" method="post"><input name="user"><button>登录</button></form></body>
</html>
"""


def nginx(status: int) -> bytes:
    """The built-in page of nginx for 502, 503 or 504, with ``server_tokens off``, byte for byte."""
    return _NGINX.format(status=status, reason=NGINX_REASONS[status]).encode()
