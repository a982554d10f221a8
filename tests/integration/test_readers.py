"""What nobody reads stops nothing that is done for others."""

import os
import signal
import socket
import subprocess

from cases import run_cases
from daemon import Daemon, check, wait_for

class UnreadLog(Daemon):
    """Its log goes to `writer`, which is full from the start, and is read at `reader` by the test alone."""

    def __init__(self, reader, writer):
        super().__init__(shards=1)
        self.reader, self.writer = reader, writer
        os.set_blocking(reader, False)
        os.set_blocking(writer, False)
        for piece in (b"x" * 4096, b"x"):
            try:
                while True:
                    os.write(writer, piece)
            except BlockingIOError:
                pass
        os.set_blocking(writer, True)  # As those are that a shell or a service manager makes.

    def launch(self):
        self.process = subprocess.Popen(self.command(), stdout=subprocess.PIPE, stderr=self.writer)

    def said(self):
        """What came since the last time."""
        text = b""
        try:
            while piece := os.read(self.reader, 65536):
                text += piece
        except BlockingIOError:
            pass
        return text.decode().lstrip("x")

    def close(self):
        super().close()
        os.close(self.reader)
        os.close(self.writer)


def test_log_that_nobody_reads():
    """It starts, serves, and answers over HTTP, though its standard error takes nothing more. Once somebody reads it the log says how
    many lines are missing. The pipe's flags, which its parent and others share, are as they were."""
    for ends in (os.pipe(), tuple(end.detach() for end in socket.socketpair())):
        with UnreadLog(*ends) as daemon:
            daemon.start()
            check(daemon.http("/healthz")[0] == 200 and os.get_blocking(daemon.writer), "serves")
            text = daemon.said()
            check(text == "", text)
            daemon.send(signal.SIGHUP)
            text = wait_for("the log goes on", daemon.said)
            lines = text.splitlines()
            check(" warn lines-dropped lines=" in lines[0] and " users-" in lines[1] and text.endswith("\n"), text)
            check(daemon.stop() == 0 and " stopped" in daemon.said(), "the end is told")


if __name__ == "__main__":
    run_cases(__name__)
