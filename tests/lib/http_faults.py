"""A proxy before an HTTP server that does to requests what a network, or the server, may do to them.

    with HttpFaults(server.address) as proxy:
        fault = proxy.add("lose_answer", "PUT", "/bucket/a")
        connect to proxy.address
        assert fault.came == 1

Faults: a request is done, or not, and what the client hears of it is something else.

    refuse_body  not passed on: the connection is reset after half of the request's body
    cut_answer   done; the connection is reset after half of the answer's body
    lose_answer  done; the connection is reset in place of an answer
    error        not passed on: 500
    late_error   done; 500 all the same
    late_gone    done; 404, as Amazon says of an upload that was ended before
    forbid       not passed on: 403
    drip         done; of the answer's body a byte comes, and after a pause the next
    hang         not passed on; nothing comes, until the client has gone
"""

import http.client
import http.server
import select
import socket
import struct
import threading

from daemon import wait_for

FAULTS = {"refuse_body", "cut_answer", "lose_answer", "error", "late_error", "late_gone", "forbid", "drip", "hang"}
NO_LINGER = struct.pack("ii", 1, 0)
# About the connection, not about what is passed on.
OWN_HEADERS = {"connection", "keep-alive", "transfer-encoding", "content-length"}
# What an S3 server would say.
ERRORS = {500: b"<Error><Code>InternalError</Code></Error>", 403: b"<Error><Code>AccessDenied</Code></Error>",
          404: b"<Error><Code>NoSuchUpload</Code></Error>"}


class Fault:
    """What is to be done to those requests of a method whose target has a text in it, so many times."""

    def __init__(self, kind, method, part, times, pause_s):
        if kind not in FAULTS:
            raise ValueError(kind)
        self.kind = kind
        self.method = method
        self.part = part
        self.left = times
        self.pause_s = pause_s
        self.came = 0


class Reset(Exception):
    """The connection is to be reset."""


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    faults = None  # The HttpFaults.

    def handle(self):
        try:
            super().handle()
        except Reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
        except OSError:
            pass  # The client has gone.

    def log_message(self, *_):
        pass

    def parse_request(self):
        good = super().parse_request()
        if good:
            setattr(self, f"do_{self.command}", self.take)
        return good

    def take(self):
        fault = self.faults.fault_for(self.command, self.path)
        kind = fault and fault.kind
        size = int(self.headers.get("Content-Length", 0))
        if kind == "refuse_body":
            self.rfile.read(size // 2)
            raise Reset
        body = self.rfile.read(size)
        if kind == "hang":
            self.faults.wait_for_end(self.connection)
            raise Reset
        if kind in ("error", "forbid"):
            self.answer_error(500 if kind == "error" else 403)
            return
        status, headers, answer = self.pass_on(body)
        if kind == "lose_answer":
            raise Reset
        if kind in ("late_error", "late_gone"):
            self.answer_error(500 if kind == "late_error" else 404)
            return
        self.answer(status, headers, answer, fault)

    def pass_on(self, body):
        server = http.client.HTTPConnection(self.faults.server, timeout=120)
        try:
            server.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in OWN_HEADERS:
                    server.putheader(name, value)
            if "Content-Length" in self.headers:
                server.putheader("Content-Length", str(len(body)))
            server.endheaders(body)
            answer = server.getresponse()
            headers = [(name, value) for name, value in answer.getheaders() if name.lower() not in OWN_HEADERS]
            return answer.status, headers, answer.read()
        finally:
            server.close()

    def answer_error(self, status):
        self.answer(status, [("Content-Type", "application/xml")], ERRORS[status])

    def answer(self, status, headers, body, fault=None):
        kind = fault and fault.kind
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if kind == "cut_answer":
            self.wfile.write(body[:len(body) // 2])
            raise Reset
        if kind == "drip":
            for at in range(len(body)):
                self.wfile.write(body[at:at + 1])
                self.faults.wait_for_end(self.connection, fault.pause_s)
            return
        self.wfile.write(body)


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128

    def shutdown_request(self, request):
        request.close() # No end is said before it: after Reset it is a reset.

    def handle_error(self, request, client_address):
        pass # The server cannot be reached: the client hears that its connection ends.


class HttpFaults:
    def __init__(self, server):
        self.server = server
        self.faults = []
        self.asked = []
        self.lock = threading.Lock()
        self.ended = socket.socketpair()
        handler = type("Bound", (Handler,), {"faults": self})
        self.listener = Server(("127.0.0.1", 0), handler)
        self.listener.daemon_threads = False
        self.address = f"127.0.0.1:{self.listener.server_address[1]}"
        self.thread = threading.Thread(target=self.listener.serve_forever, kwargs={"poll_interval": 0.05})
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        """The clients have to have gone: each has a thread here."""
        self.ended[0].close()
        self.listener.shutdown()
        self.listener.server_close()
        self.thread.join()
        self.ended[1].close()

    def add(self, kind, method, part="", times=1, pause_s=0.0):
        """For the next requests that no earlier fault is for. Returns the fault, which counts how often it came."""
        fault = Fault(kind, method, part, times, pause_s)
        with self.lock:
            self.faults.append(fault)
        return fault

    def clear(self):
        with self.lock:
            self.faults.clear()

    def methods(self, part):
        """Of all requests whose target has this text in it, in order."""
        with self.lock:
            return [method for method, target in self.asked if part in target]

    def fault_for(self, method, target):
        with self.lock:
            self.asked.append((method, target))
            for fault in self.faults:
                if fault.left > 0 and fault.method == method and fault.part in target:
                    fault.left -= 1
                    fault.came += 1
                    return fault
        return None

    @staticmethod
    def wait_for(fault, count=1):
        """Until it has come so many times."""
        wait_for(f"the fault {fault.kind}", lambda: fault.came >= count)

    def wait_for_end(self, connection, timeout_s=None):
        """Until the client has gone, or the proxy ends, or time is up."""
        select.select([connection, self.ended[1]], [], [], timeout_s)
