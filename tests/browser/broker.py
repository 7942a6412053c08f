"""A Mosquitto that takes certificates of the CA and nothing else."""

import os
import pathlib
import signal
import socket
import subprocess
import time

# As long as anything may take on a machine that does something else as well.
PATIENCE = 20


class Mosquitto:
    def __init__(self, bundle, crl):
        """`bundle` is the directory of a server's files."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.conf = pathlib.Path("mosquitto.conf").absolute()
        self.conf.write_text(
            f"user root\nallow_anonymous false\nlistener {self.port} 127.0.0.1\ncafile {bundle}/ca.crt\n"
            f"certfile {bundle}/{bundle.name}.crt\nkeyfile {bundle}/{bundle.name}.key\n"
            f"crlfile {crl}\nrequire_certificate true\nuse_identity_as_username true\n"
        )

    def __enter__(self):
        self.log = open("mosquitto.log", "wb")
        command = [os.environ["MOSQUITTO"], "-c", self.conf]
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log)
        self.wait_for("mosquitto to listen", self.listens)
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        self.log.close()

    def listens(self):
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def reload(self):
        self.process.send_signal(signal.SIGHUP)

    def lets_in(self, bundle):
        """Whether the client of this directory can publish."""
        files = [f"--cafile={bundle}/ca.crt", f"--cert={bundle}/{bundle.name}.crt", f"--key={bundle}/{bundle.name}.key"]
        files = [part for one in files for part in one.split("=")]
        command = [os.environ["MOSQUITTO_PUB"], "-h", "localhost", "-p", str(self.port), *files]
        topic = ["-t", f"fleet/{bundle.name}/up/hello", "-m", "hello", "-q", "1"]
        return subprocess.run(command + topic, capture_output=True, timeout=PATIENCE).returncode == 0

    def wait_for(self, what, condition):
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, f"waited in vain for {what}"
            time.sleep(0.1)
