"""Plays systemd for a runtime's systemd driver: a message bus with the manager behind it, which makes
the control groups of transient units.

    systemd.py SOCKET LOG

Each call is a line of JSON in LOG.
"""
import json
import os
import socket
import struct
import sys
import threading

MANAGER = "org.freedesktop.systemd1.Manager"
HIERARCHY = "/sys/fs/cgroup/systemd"
ALIGNMENT = {"y": 1, "g": 1, "v": 1, "b": 4, "u": 4, "i": 4, "s": 4, "o": 4, "a": 4, "t": 8,
             "x": 8, "(": 8}


def first_type(signature):
    """The first complete type of a signature."""
    if signature[0] == "a":
        return "a" + first_type(signature[1:])
    if signature[0] != "(":
        return signature[0]
    depth = 0
    for i, c in enumerate(signature):
        depth += {"(": 1, ")": -1}.get(c, 0)
        if depth == 0:
            return signature[:i + 1]
    raise ValueError(signature)


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, n):
        self.at += n
        if self.at > len(self.data):
            raise ValueError("the message is too short")
        return self.data[self.at - n:self.at]

    def read(self, kind):
        self.at += -self.at % ALIGNMENT[kind[0]]
        if kind == "y":
            return self.take(1)[0]
        if kind in "bu":
            return struct.unpack("<I", self.take(4))[0]
        if kind == "t":
            return struct.unpack("<Q", self.take(8))[0]
        if kind in "so":
            text = self.take(self.read("u")).decode()
            self.take(1)
            return text
        if kind == "g":
            text = self.take(self.read("y")).decode()
            self.take(1)
            return text
        if kind == "v":
            return self.read(self.read("g"))
        if kind[0] == "a":
            size = self.read("u")
            self.at += -self.at % ALIGNMENT[kind[1]]
            end, items = self.at + size, []
            while self.at < end:
                items.append(self.read(kind[1:]))
            return items
        return self.read_all(kind[1:-1])

    def read_all(self, signature):
        values = []
        while signature:
            kind = first_type(signature)
            values.append(self.read(kind))
            signature = signature[len(kind):]
        return values


def pad(data, to):
    return data + bytes(-len(data) % to)


def text(value):
    return struct.pack("<I", len(value)) + value.encode() + b"\0"


def signature(value):
    return bytes([len(value)]) + value.encode() + b"\0"


def message(kind, serial, fields, body=b""):
    inner = b""
    for number, sig, value in fields:
        inner = pad(inner, 8) + bytes([number]) + signature(sig)
        inner += signature(value) if sig == "g" else pad(inner, 4)[len(inner):] + (
            struct.pack("<I", value) if sig == "u" else text(value))
    head = b"l" + bytes([kind, 0, 1]) + struct.pack("<III", len(body), serial, len(inner)) + inner
    return pad(head, 8) + body


def folders(slice_name):
    """Where a slice lies: a-b.slice in a.slice."""
    parts = slice_name[:-len(".slice")].split("-")
    return "/".join("-".join(parts[:i + 1]) + ".slice" for i in range(len(parts)))


class Systemd:
    def __init__(self, log):
        self.log, self.units, self.jobs, self.lock = log, {}, 0, threading.Lock()
        self.listeners = []

    def start(self, name, _, properties, __):
        p = dict(properties)
        path = "%s/%s/%s" % (HIERARCHY, folders(p["Slice"]), name)
        os.makedirs(path, exist_ok=True)
        for pid in p["PIDs"]:
            with open(path + "/cgroup.procs", "w") as f:
                f.write(str(pid))
        self.units[name] = path

    def call(self, member, args):
        """A job's unit, None where there is no job, or an error's name."""
        with self.lock:
            with open(self.log, "a") as f:
                f.write(json.dumps([member, args]) + "\n")
            if member == "StartTransientUnit":
                self.start(*args)
                return args[0], None
            if member in ("StopUnit", "SetUnitProperties") and args[0] not in self.units:
                return None, "org.freedesktop.systemd1.NoSuchUnit"
            if member == "StopUnit":
                os.rmdir(self.units.pop(args[0])) if os.path.isdir(self.units[args[0]]) else None
                return args[0], None
            return None, None


def serve(connection, systemd):
    stream = connection.makefile("rb")
    assert stream.read(1) == b"\0"
    for line in iter(stream.readline, b"BEGIN\r\n"):
        connection.sendall({b"AUTH\r\n": b"REJECTED EXTERNAL\r\n",
                            b"NEGOTIATE_UNIX_FD\r\n": b"AGREE_UNIX_FD\r\n"}.get(
                                line, b"OK 0123456789abcdef0123456789abcdef\r\n"))
    serial = 0
    while True:
        head = stream.read(16)
        if len(head) < 16:
            systemd.listeners = [c for c in systemd.listeners if c is not connection]
            return
        size, call, fields = struct.unpack("<III", head[4:])
        head += stream.read(fields + -(16 + fields) % 8)
        body = stream.read(size)
        r = Reader(head)
        r.at = 12
        known = {number: value for number, value in r.read("a(yv)")}
        args = Reader(body).read_all(known.get(8, ""))
        job = error = None
        if known[2] == MANAGER:
            job, error = systemd.call(known[3], args)
        serial += 1
        if error:
            connection.sendall(message(3, serial, [(5, "u", call), (4, "s", error),
                                                   (8, "g", "s")], text("not loaded")))
        elif job:
            systemd.jobs += 1
            path = "/org/freedesktop/systemd1/job/%d" % systemd.jobs
            # The job may be over before its name is known to who asked.
            done = pad(struct.pack("<I", systemd.jobs) + text(path), 4)
            done = pad(done + text(job), 4) + text("done")
            for listener in systemd.listeners:
                listener.sendall(message(4, 1000 + systemd.jobs, [
                    (1, "o", "/org/freedesktop/systemd1"), (2, "s", MANAGER),
                    (3, "s", "JobRemoved"), (8, "g", "uoss")], done))
            connection.sendall(message(2, serial, [(5, "u", call), (8, "g", "o")], text(path)))
        elif known[3] == "AddMatch":
            systemd.listeners.append(connection)
            connection.sendall(message(2, serial, [(5, "u", call)]))
        elif known[3] == "Hello":
            connection.sendall(message(2, serial, [(5, "u", call), (8, "g", "s")], text(":1.1")))
        elif known[3] == "Get":
            # The manager's version.
            value = pad(signature("s"), 4) + text("252")
            connection.sendall(message(2, serial, [(5, "u", call), (8, "g", "v")], value))
        else:
            connection.sendall(message(2, serial, [(5, "u", call)]))


def main():
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(sys.argv[1])
    listener.listen()
    systemd = Systemd(sys.argv[2])
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=serve, args=(connection, systemd), daemon=True).start()


if __name__ == "__main__":
    main()
