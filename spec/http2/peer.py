# A client of HTTP/2 that keeps no rule unless it is told to: frames by hand, HPACK by library.
# Specs put their own lines behind this file and run both as one program; argv: port, arguments.
import re
import socket
import struct
import sys
import time

import hpack

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
END_STREAM, END_HEADERS, ACK = 1, 4, 1
NO_ERROR, PROTOCOL, INTERNAL, FLOW, _, CLOSED, SIZE, REFUSED, CANCEL, COMPRESSION, _, CALM = range(12)


class Peer:
    def __init__(self, port, settings=((4, 1 << 20),), host="127.0.0.1", start=True):
        self.sock = socket.create_connection((host, int(port)))
        self.sock.settimeout(10)
        self.encoder, self.decoder = hpack.Encoder(), hpack.Decoder()
        self.buffer, self.frames, self.closed, self.reset = b"", [], False, False
        self.next = 1
        if start:
            self.raw(PREFACE)
            self.frame(SETTINGS, 0, 0, b"".join(struct.pack("!HI", *s) for s in settings))

    # ---- out ----

    def raw(self, data):
        self.sock.sendall(data)

    @staticmethod
    def pack(kind, flags, stream, payload=b""):
        return struct.pack("!I", len(payload))[1:] + bytes([kind, flags]) + struct.pack("!I", stream) + payload

    def frame(self, kind, flags, stream, payload=b""):
        self.raw(self.pack(kind, flags, stream, payload))

    def fields(self, path="/hello", method="GET", extra=(), authority="a", scheme="http"):
        pseudo = [(":method", method), (":scheme", scheme), (":path", path), (":authority", authority)]
        return [p for p in pseudo if p[1] is not None] + list(extra)

    def open(self, path="/hello", method="GET", extra=(), end=True, stream=None, fields=None, **more):
        stream = stream or self.next
        self.next = max(self.next, stream + 2)
        block = self.encoder.encode(fields or self.fields(path, method, extra, **more))
        self.frame(HEADERS, END_HEADERS | (END_STREAM if end else 0), stream, block)
        return stream

    def data(self, stream, data, end=False):
        self.frame(DATA, END_STREAM if end else 0, stream, data)

    def trailers(self, stream, fields):
        self.frame(HEADERS, END_HEADERS | END_STREAM, stream, self.encoder.encode(fields))

    def rst(self, stream, code=CANCEL):
        self.frame(RST, 0, stream, struct.pack("!I", code))

    def window(self, stream, more):
        self.frame(WINDOW, 0, stream, struct.pack("!I", more))

    # ---- in ----

    def _take(self):
        if len(self.buffer) < 9:
            return None
        length = int.from_bytes(self.buffer[:3], "big")
        if len(self.buffer) < 9 + length:
            return None
        kind, flags = self.buffer[3], self.buffer[4]
        stream = int.from_bytes(self.buffer[5:9], "big") & 0x7FFFFFFF
        payload, self.buffer = self.buffer[9:9 + length], self.buffer[9 + length:]
        if kind == HEADERS:
            payload = [(str(n), str(v)) for n, v in self.decoder.decode(payload)]
        return (kind, flags, stream, payload)

    def read(self, seconds=10):
        """One more frame, or None at the end or when the time is over."""
        until = time.time() + seconds
        while True:
            frame = self._take()
            if frame:
                self.frames.append(frame)
                if frame[0] == SETTINGS and not frame[1] & ACK:
                    try:
                        self.frame(SETTINGS, ACK, 0)
                    except OSError:
                        pass
                return frame
            left = until - time.time()
            if left <= 0 or self.closed:
                return None
            self.sock.settimeout(left)
            try:
                more = self.sock.recv(65536)
            except socket.timeout:
                return None
            except OSError:
                more, self.reset = b"", True
            if not more:
                self.closed = True
            self.buffer += more

    def until(self, test, seconds=10):
        for frame in self.frames:
            if test(frame):
                return frame
        while True:
            frame = self.read(seconds)
            if frame is None or test(frame):
                return frame

    def answer(self, stream, seconds=10):
        """status, headers, body, trailers of a stream; the code when it was reset."""
        def over(f):
            return f[2] == stream and (f[0] == RST or (f[0] in (DATA, HEADERS) and f[1] & END_STREAM))
        assert self.until(over, seconds), "no end of stream %d: %r" % (stream, self.frames[-5:])
        heads = [f[3] for f in self.frames if f[2] == stream and f[0] == HEADERS]
        final = [h for h in heads if dict(h).get(":status", "")[:1] not in ("", "1")]
        result = {
            "informational": [h for h in heads if dict(h).get(":status", "")[:1] == "1"],
            "status": int(dict(final[0])[":status"]) if final else None,
            "list": final[0] if final else [],
            "headers": dict(final[0]) if final else {},
            "trailers": dict(heads[-1]) if heads and ":status" not in dict(heads[-1]) else None,
            "body": b"".join(f[3] for f in self.frames if f[2] == stream and f[0] == DATA),
            "reset": next((struct.unpack("!I", f[3])[0] for f in self.frames if f[2] == stream and f[0] == RST), None),
        }
        return result

    def get(self, path="/hello", **more):
        return self.answer(self.open(path, **more))

    def goaway(self, seconds=10):
        """The code of GOAWAY, or None."""
        frame = self.until(lambda f: f[0] == GOAWAY, seconds)
        return struct.unpack("!I", frame[3][4:8])[0] if frame else None

    def ended(self, seconds=10):
        """Has the connection been closed?"""
        until = time.time() + seconds
        while not self.closed and time.time() < until:
            self.read(max(0.01, until - time.time()))
        return self.closed


def calm(peer, seconds=10):
    """The peer was thrown out for making too much noise."""
    code = peer.goaway(seconds)
    assert code == CALM, "GOAWAY %r, closed %r, last %r" % (code, peer.closed, peer.frames[-3:])
    assert peer.ended(), "still open"


def flood(peer, chunk, times):
    """Sends until it is done or thrown out."""
    try:
        for _ in range(times):
            peer.raw(chunk)
    except OSError:
        pass


def others_served(port):
    assert Peer(port).get()["status"] == 200


port = int(sys.argv[1])
