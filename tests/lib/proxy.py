"""A proxy before a server of the native protocol that cuts connections: every tenth reply to a write is lost.

    with Cutter("127.0.0.1:7400", every=10) as cutter:
        connect to cutter.address

What the client sent was passed on and done, but the client does not hear of it.
"""

import socket
import threading

import native


class Cutter:
    def __init__(self, server, every):
        host, port = server.rsplit(":", 1)
        self.server = (host, int(port))
        self.every = every
        self.replies = self.cuts = 0
        self.lock = threading.Lock()
        self.open = set()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.threads = [threading.Thread(target=self._accept, daemon=True)]
        self.threads[0].start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        with self.lock:
            for each in self.open:
                self._shut(each)
        for thread in self.threads:
            thread.join()

    @staticmethod
    def _shut(connection):
        try:
            connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # It is over already.

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection(self.server)
            for side in (client, server):
                side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.lock:
                self.open |= {client, server}
            for target in (self._pass_requests, self._pass_replies):
                thread = threading.Thread(target=target, args=(client, server), daemon=True)
                thread.start()
                self.threads.append(thread)

    def _pass_requests(self, client, server):
        try:
            while data := client.recv(65536):
                server.sendall(data)
        except OSError:
            pass
        self._shut(server)

    def _is_cut(self, frame_type):
        with self.lock:
            self.replies += frame_type == native.WRITE
            cut = frame_type == native.WRITE and self.replies % self.every == 0
            self.cuts += cut
            return cut

    def _pass_replies(self, client, server):
        kept = b""
        try:
            while data := server.recv(65536):
                kept += data
                while len(kept) >= native.HEADER.size:
                    _, frame_type, _, size, *_ = native.HEADER.unpack_from(kept)
                    whole = native.HEADER.size + size
                    if len(kept) < whole:
                        break
                    if self._is_cut(frame_type):
                        raise ConnectionAbortedError
                    client.sendall(kept[:whole])
                    kept = kept[whole:]
        except OSError:
            pass
        for side in (client, server):
            self._shut(side)
        with self.lock:
            self.open -= {client, server}
        client.close()
        server.close()
