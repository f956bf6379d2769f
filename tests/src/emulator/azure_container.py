"""Creates a container in Azurite: a request signed with its well-known key."""

import base64
import email.utils
import hashlib
import hmac
import sys
import urllib.request

base, account, key, container = sys.argv[1:]
date = email.utils.formatdate(usegmt=True)
version = "2021-12-02"
to_sign = (
    "PUT" + "\n" * 12 + f"x-ms-date:{date}\nx-ms-version:{version}\n"
    f"/{account}/{account}/{container}\nrestype:container"
)
digest = hmac.new(base64.b64decode(key), to_sign.encode(), hashlib.sha256).digest()
headers = {
    "Authorization": f"SharedKey {account}:{base64.b64encode(digest).decode()}",
    "Content-Length": "0",
    "x-ms-date": date,
    "x-ms-version": version,
}
url = f"{base}/{container}?restype=container"
request = urllib.request.Request(url, method="PUT", headers=headers)
# Requests to this machine must not go through a proxy.
urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request)
