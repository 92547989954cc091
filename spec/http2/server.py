# An upstream of HTTP/2 (prior knowledge) whose paths say how it behaves; frames by hand. Prints
# its port, then a line for each request: connection, stream, path.
import json
import socket
import struct
import sys
import threading
import time

import hpack

DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
state = {"connections": 0, "seen": {}}
STREAMS_MAX = int(sys.argv[1]) if len(sys.argv) > 1 else 100


class Connection:
    def __init__(self, sock):
        state["connections"] += 1
        self.number, self.sock, self.buffer = state["connections"], sock, b""
        self.encoder, self.decoder = hpack.Encoder(), hpack.Decoder()
        self.last = 0
        self.requests, self.windows, self.initial, self.waiting = {}, {0: 65535}, 65535, {}

    def frame(self, kind, flags, stream, payload=b""):
        self.sock.sendall(struct.pack("!I", len(payload))[1:] + bytes([kind, flags])
                          + struct.pack("!I", stream) + payload)

    def take(self, count):
        while len(self.buffer) < count:
            more = self.sock.recv(65536)
            if not more:
                raise EOFError
            self.buffer += more
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data

    def head(self, stream, fields, end=False):
        self.frame(HEADERS, 4 | (1 if end else 0), stream, self.encoder.encode(fields))

    def body(self, stream, data, trailers=None):
        self.waiting[stream] = (data, trailers)
        self.pump(stream)

    def pump(self, stream):
        if stream not in self.waiting:
            return
        data, trailers = self.waiting[stream]
        while True:
            room = min(self.windows[0], self.windows.setdefault(stream, self.initial), 16384)
            piece = data[:room]
            if not piece and data:
                break
            data = data[len(piece):]
            self.windows[0] -= len(piece)
            self.windows[stream] -= len(piece)
            self.frame(DATA, 1 if not data and trailers is None else 0, stream, piece)
            if not data:
                if trailers is not None:
                    self.head(stream, trailers, True)
                del self.waiting[stream]
                return
        self.waiting[stream] = (data, trailers)

    def answer(self, stream, body, fields=(), status="200", trailers=None):
        self.head(stream, [(":status", status)] + list(fields))
        self.body(stream, body, trailers)

    def first_time(self, path):
        state["seen"][path] = state["seen"].get(path, 0) + 1
        return state["seen"][path] == 1

    def begun(self, stream, request):
        """At the head of a request; True: it is dealt with."""
        path = request["path"]
        print(self.number, stream, path, flush=True)
        if path.startswith("/refuse-once") and self.first_time(path):
            self.frame(RST, 0, stream, struct.pack("!I", 7))
        elif path.startswith("/goaway-once") and self.first_time(path):
            self.frame(GOAWAY, 0, 0, struct.pack("!II", stream - 2 if stream > 2 else 0, 0))
        elif path.startswith("/close-once") and self.first_time(path):
            self.sock.close()
        elif path == "/reset":
            self.frame(RST, 0, stream, struct.pack("!I", 2))
        elif path == "/hang":
            pass
        elif path == "/deaf":
            for room in (0, stream):
                self.frame(WINDOW, 0, room, struct.pack("!I", 1 << 30))
            time.sleep(3)
        elif path == "/early":
            self.answer(stream, b"enough", status="413")
            self.frame(RST, 0, stream, struct.pack("!I", 0))
        else:
            return False
        return True

    def complete(self, stream, request):
        path, bad = request["path"], request["path"].partition("?")[2]
        if path == "/trailers-only":
            self.head(stream, [(":status", "200"), ("content-type", "application/grpc"),
                               ("grpc-status", "5")], True)
        elif path == "/trailers":
            self.answer(stream, b"abc", trailers=[("x-sum", "7")])
        elif path == "/empty":
            self.head(stream, [(":status", "200")], True)
        elif path == "/204":
            self.head(stream, [(":status", "204")], True)
        elif path == "/head":
            self.head(stream, [(":status", "200"), ("content-length", "500")], True)
        elif path == "/103":
            self.head(stream, [(":status", "103"), ("link", "</a>")])
            self.answer(stream, b"late")
        elif path.startswith("/big"):
            self.answer(stream, b"x" * 3000000)
        elif path.startswith("/bad"):
            self.misbehave(stream, bad)
        else:
            told = {"connection": self.number, "stream": stream, "fields": request["fields"],
                    "trailers": request["trailers"], "length": len(request["body"])}
            self.answer(stream, json.dumps(told).encode(), [("content-type", "application/json")])

    def misbehave(self, stream, how):
        if how == "status":
            self.head(stream, [(":status", "abc")], True)
        elif how == "none":
            self.head(stream, [("x-a", "b")], True)
        elif how == "two":
            self.head(stream, [(":status", "200"), (":status", "404")], True)
        elif how == "connection":
            self.head(stream, [(":status", "200"), ("connection", "close")], True)
        elif how == "chunked":
            self.answer(stream, b"0\r\n\r\n", [("transfer-encoding", "chunked")])
        elif how == "crlf":
            self.answer(stream, b"body", [("x-a", "b\r\nx-evil: 1")])
        elif how == "long":
            self.answer(stream, b"longer", [("content-length", "3")])
        elif how == "short":
            self.answer(stream, b"short", [("content-length", "30")])
        elif how == "lengths":
            self.answer(stream, b"abc", [("content-length", "3"), ("content-length", "4")])
        elif how == "101":
            self.head(stream, [(":status", "101")])
        elif how == "upper":
            self.answer(stream, b"abc", [("X-Upper", "3")])
        elif how == "large":
            self.answer(stream, b"abc", [("x-%d" % i, "b" * 1000) for i in range(60)])
        elif how == "push":
            self.frame(PUSH, 4, stream, b"\0\0\0\2" + self.encoder.encode([(":status", "200")]))
        elif how == "frame":
            self.frame(DATA, 0, 0, b"x")
        elif how == "flood":
            for _ in range(3000):
                self.frame(PING, 0, 0, b"12345678")

    def on_headers(self, flags, stream, payload):
        self.last = max(self.last, stream)
        fields = [(str(n), str(v)) for n, v in self.decoder.decode(payload)]
        request = self.requests.get(stream)
        if request is not None:
            request["trailers"] = fields
        else:
            request = {"path": dict(fields).get(":path"), "fields": fields, "body": b"", "trailers": None}
            self.requests[stream] = request
            if self.begun(stream, request):
                del self.requests[stream]
                return
        if flags & 1:
            self.complete(stream, self.requests.pop(stream))

    def on_data(self, flags, stream, payload):
        request = self.requests.get(stream)
        if payload and not (request and request["path"] == "/stall"):
            self.frame(WINDOW, 0, 0, struct.pack("!I", len(payload)))
            if request:
                self.frame(WINDOW, 0, stream, struct.pack("!I", len(payload)))
        if request is None:
            return
        request["body"] += payload
        if flags & 1:
            self.complete(stream, self.requests.pop(stream))

    def on_settings(self, flags, payload):
        if flags & 1:
            return
        for at in range(0, len(payload), 6):
            key, value = struct.unpack("!HI", payload[at:at + 6])
            if key == 4:
                self.initial = value
        self.frame(SETTINGS, 1, 0)

    def run(self):
        assert self.take(24).startswith(b"PRI * HTTP/2.0")
        self.frame(SETTINGS, 0, 0, struct.pack("!HI", 3, STREAMS_MAX))
        while True:
            head = self.take(9)
            payload = self.take(int.from_bytes(head[:3], "big"))
            kind, flags, stream = head[3], head[4], int.from_bytes(head[5:], "big")
            if kind == HEADERS:
                self.on_headers(flags, stream, payload)
            elif kind == DATA:
                self.on_data(flags, stream, payload)
            elif kind == RST and stream > self.last:
                print("idle", stream, flush=True)
                self.frame(GOAWAY, 0, 0, struct.pack("!II", self.last, 1))
                raise EOFError
            elif kind == SETTINGS:
                self.on_settings(flags, payload)
            elif kind == PING and not flags & 1:
                self.frame(PING, 1, 0, payload)
            elif kind == WINDOW:
                self.windows[stream] = self.windows.get(stream, self.initial) + struct.unpack("!I", payload)[0]
                for waiting in [stream] if stream else list(self.waiting):
                    self.pump(waiting)


def serve(sock):
    try:
        Connection(sock).run()
    except (EOFError, OSError):
        sock.close()


listener = socket.create_server(("127.0.0.1", 0), backlog=128)
print(listener.getsockname()[1], flush=True)
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
