"""Requests to an S3 server that a test makes itself, beside the program that is tested: signed as AWS Signature Version 4
asks, one connection for each.

    bucket = S3("127.0.0.1:9000", "key", "secret")
    status, body = bucket.ask("PUT", "/bucket")
"""

import hashlib
import hmac
import http.client
import re
import time
from urllib.parse import quote

REGION = "us-east-1"


def _hmac(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


class S3:
    def __init__(self, address, access_key, secret_key):
        self.address = address
        self.access_key = access_key
        self.secret_key = secret_key

    def through(self, address):
        """The same server, as a proxy at that address shows it."""
        return S3(address, self.access_key, self.secret_key)

    def options(self, **more):
        """For objects.Objects."""
        return {"endpoint": f"http://{self.address}", "access_key": self.access_key, "secret_key": self.secret_key,
                **more}

    def target(self, path, query):
        return quote(path) + ("?" + self._query(query) if query else "")

    @staticmethod
    def _query(query):
        return "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in sorted(query.items()))

    def headers(self, method, path, query, payload_hash):
        """Those that a request has to have."""
        date = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        scope = f"{date[:8]}/{REGION}/s3/aws4_request"
        signed = {"host": self.address, "x-amz-content-sha256": payload_hash, "x-amz-date": date}
        names = ";".join(signed)
        request = "\n".join([method, quote(path), self._query(query),
                             *(f"{name}:{value}" for name, value in signed.items()), "", names, payload_hash])
        text = "\n".join(["AWS4-HMAC-SHA256", date, scope, hashlib.sha256(request.encode()).hexdigest()])
        key = ("AWS4" + self.secret_key).encode()
        for part in scope.split("/"):
            key = _hmac(key, part)
        signature = _hmac(key, text).hex()
        return {**signed, "authorization": f"AWS4-HMAC-SHA256 Credential={self.access_key}/{scope}, "
                                           f"SignedHeaders={names}, Signature={signature}"}

    def ask(self, method, path, query=None, body=b""):
        """Returns the status, and the answer's body as a text."""
        query = query or {}
        connection = http.client.HTTPConnection(self.address, timeout=60)
        try:
            connection.request(method, self.target(path, query), body=body,
                               headers=self.headers(method, path, query, hashlib.sha256(body).hexdigest()))
            answer = connection.getresponse()
            return answer.status, answer.read().decode(errors="replace")
        finally:
            connection.close()

    def make_bucket(self, bucket):
        status, text = self.ask("PUT", f"/{bucket}")
        if status not in (200, 201):
            raise OSError(f"bucket {bucket}: {status} {text}")

    def begin_upload(self, bucket, name):
        """Begin one in parts, and leave it so."""
        status, text = self.ask("POST", f"/{bucket}/{name}", {"uploads": ""})
        if status != 200:
            raise OSError(f"upload {name}: {status} {text}")

    def uploads(self, bucket):
        """Names of those that have not ended."""
        _, text = self.ask("GET", f"/{bucket}", {"uploads": ""})
        return re.findall("<Key>(.*?)</Key>", text)
