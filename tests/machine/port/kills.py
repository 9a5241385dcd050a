"""Kills the agent at random moments, those of its start included, and asks its port all the while as containerd would: only
as long as the file names it. Arguments: the port, how many kills, the seed. Prints who answered, as JSON."""
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time

PORT, KILLS, SEED = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
HOSTS = "/etc/containerd/certs.d/docker.io/hosts.toml"
REQUEST = b"GET /v2/library/app/manifests/1?ns=docker.io HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n"

counts = {"agent": 0, "other": 0, "refused": 0, "cut": 0, "past": 0}
ended = threading.Event()


def ask():
    """Who answers now."""
    with open(HOSTS, encoding="utf-8") as file:
        if f"127.0.0.1:{PORT}" not in file.read():
            return "past"
    try:
        with socket.create_connection(("127.0.0.1", PORT), timeout=5) as client:
            client.sendall(REQUEST)
            head = client.recv(4096).lower()
    except ConnectionRefusedError:
        return "refused"
    except OSError:
        return "cut"
    if b"x-other-user" in head:
        return "other"
    return "agent" if head else "cut"


def keep_asking():
    while not ended.is_set():
        counts[ask()] += 1
        time.sleep(0.002)


def main_pid():
    """The agent's process; 0 while there is none."""
    command = ["systemctl", "show", "--property=MainPID", "--value", "harbor-pilot"]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


asker = threading.Thread(target=keep_asking)
asker.start()
chance = random.Random(SEED)
killed = 0
until = time.monotonic() + 30 + 4 * KILLS
while killed < KILLS and time.monotonic() < until:
    time.sleep(chance.uniform(0, 2))
    pid = main_pid()
    if pid:
        try:
            os.kill(pid, signal.SIGKILL)
            killed += 1
        except ProcessLookupError:
            pass
time.sleep(2)
ended.set()
asker.join()
print(json.dumps({"kills": killed, **counts}))
