"""A process of another user that wants the agent's port: it tries to bind it without end, and while it has it answers
every request like a registry, with the agent's own header. Arguments: the port, and a directory for what happened."""
import errno
import socket
import sys
import time

PORT, DIRECTORY = int(sys.argv[1]), sys.argv[2]
# It lets the port go again, so that there is an agent to be killed once more.
HOLD, PAUSE = 1.0, 2.0
ANSWER = (
    b"HTTP/1.1 200 OK\r\nx-other-user: 1\r\nx-harbor-pilot-request-id: 1\r\n"
    b"content-type: application/vnd.oci.image.index.v1+json\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}"
)


def write(name, number):
    with open(f"{DIRECTORY}/{name}", "w", encoding="ascii") as file:
        file.write(f"{number}\n")


def serve(listener):
    """Answers until it has had the port for long enough; how often."""
    answers, until = 0, time.monotonic() + HOLD
    listener.settimeout(0.05)
    while time.monotonic() < until:
        try:
            client, _ = listener.accept()
            client.settimeout(0.5)
            client.recv(4096)
            client.sendall(ANSWER)
            client.close()
            answers += 1
        except OSError:
            pass
    return answers


tries, refused, taken, answers = 0, 0, 0, 0
while True:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    tries += 1
    try:
        listener.bind(("127.0.0.1", PORT))
        listener.listen(64)
    except OSError as error:
        listener.close()
        refused += error.errno == errno.EACCES
        if tries % 100 == 0:
            write("tries", tries)
            write("refused", refused)
        time.sleep(0.001)
        continue
    taken += 1
    write("taken", taken)
    answers += serve(listener)
    listener.close()
    write("answers", answers)
    time.sleep(PAUSE)
