"""A Mosquitto that asks for certificates, on the files of bundles."""

import contextlib
import os
import signal
import socket
import subprocess
import time

# Debian's package starts as root and changes to a user who cannot read a temporary directory.
CONFIGURATION = """user root
per_listener_settings false
allow_anonymous false
listener {port} 127.0.0.1
cafile {server}/ca.crt
certfile {server}/{name}.crt
keyfile {server}/{name}.key
require_certificate true
use_identity_as_username true
crlfile {crl}
"""
PATIENCE = 20


def wait_for(what, done):
    end = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < end, f"waited {PATIENCE} s for {what}"
        time.sleep(0.05)


class Broker:
    def __init__(self, port, process, crl):
        self.port = port
        self.process = process
        self.crl = crl

    def install(self, crl):
        """Puts another list in place, as the broker's configuration says."""
        new = self.crl.with_suffix(".new")
        new.write_bytes(crl)
        new.rename(self.crl)
        self.process.send_signal(signal.SIGHUP)

    def takes(self, device):
        """Whether the device whose bundle lies in this directory can publish."""
        name = device.name
        done = subprocess.run(
            [os.environ["MOSQUITTO_PUB"], "-h", "localhost", "-p", str(self.port), "-q", "1", "-i", name]
            + ["--cafile", device / "ca.crt", "--cert", device / f"{name}.crt", "--key", device / f"{name}.key"]
            + ["-t", f"fleet/{name}/hello", "-m", "hello"],
            capture_output=True,
            timeout=PATIENCE,
        )
        return done.returncode == 0


def listens(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


@contextlib.contextmanager
def broker(server, crl):
    """Runs on the bundle of a server and a file with lists."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    path = server / "mosquitto.conf"
    path.write_text(CONFIGURATION.format(port=port, server=server, name=server.name, crl=crl))
    with open(server / "mosquitto.log", "wb") as log:
        process = subprocess.Popen([os.environ["MOSQUITTO"], "-c", path], stdout=log, stderr=log)
    try:
        wait_for("Mosquitto", lambda: listens(port))
        yield Broker(port, process, crl)
    finally:
        process.kill()
        process.wait()
