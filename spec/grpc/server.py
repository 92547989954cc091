# A gRPC server without generated code: messages are bytes. Prints its port, then a line for each
# thing that a spec wants to know.
import sys
import threading
import time
from concurrent import futures

import grpc


def say(*words):
    print(*words, flush=True)


def told(context):
    """What the server was told, as text."""
    left = context.time_remaining()
    lines = ["deadline %s" % ("none" if left is None or left > 1e8 else "%.3f" % left)]
    for key, value in context.invocation_metadata():
        lines.append("%s: %s" % (key, value.hex() if isinstance(value, bytes) else value))
    return "\n".join(lines)


def unary(request, context):
    word, _, rest = request.partition(b" ")
    if word == b"told":
        return told(context).encode()
    if word == b"sleep":
        time.sleep(float(rest))
    if word == b"hang":
        gone = threading.Event()
        context.add_callback(gone.set)
        say("began")
        gone.wait(20)
        say("ended", "active" if context.is_active() else "inactive")
    if word == b"fail":
        context.set_trailing_metadata((("x-why", "because"), ("x-why-bin", b"\0\1\xff")))
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not so: 100 % \u00fc")
    if word == b"meta":
        context.send_initial_metadata((("x-first", "1"), ("x-first-bin", b"\xfe\0")))
        context.set_trailing_metadata((("x-last", "2"),))
        return dict(context.invocation_metadata())["x-in-bin"]
    if word == b"big":
        return b"x" * int(rest)
    return request


def server_stream(request, context):
    word, _, rest = request.partition(b" ")
    count, wait = rest.split(b" ")
    for i in range(int(count)):
        yield b"%d" % i
        time.sleep(float(wait))
    if word == b"fail":
        context.abort(grpc.StatusCode.DATA_LOSS, "half of it")


def client_stream(requests, context):
    count = size = 0
    try:
        for request in requests:
            count, size = count + 1, size + len(request)
            if request == b"enough":
                context.abort(grpc.StatusCode.OUT_OF_RANGE, "enough")
    except Exception as fault:
        say("cut" if "enough" not in str(fault) else "enough")
        raise
    return b"%d %d" % (count, size)


def both(requests, context):
    context.add_callback(lambda: say("over"))
    for request in requests:
        if request.startswith(b"sleep"):
            time.sleep(float(request[6:]))
        if request == b"cancel":
            context.cancel()
        if request.startswith(b"many"):
            for i in range(int(request[5:])):
                yield b"y" * 65536
        yield request


METHODS = {
    "Unary": grpc.unary_unary_rpc_method_handler(unary),
    "ServerStream": grpc.unary_stream_rpc_method_handler(server_stream),
    "ClientStream": grpc.stream_unary_rpc_method_handler(client_stream),
    "Both": grpc.stream_stream_rpc_method_handler(both),
}
server = grpc.server(futures.ThreadPoolExecutor(max_workers=130), options=[
    ("grpc.max_receive_message_length", 64 << 20), ("grpc.max_send_message_length", 64 << 20),
    ("grpc.so_reuseport", 0)])
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("spec.Echo", METHODS),))
port = server.add_insecure_port("127.0.0.1:%s" % (sys.argv[1] if len(sys.argv) > 1 else "0"))
server.start()
say(port)
server.wait_for_termination()
