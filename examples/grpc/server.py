#!/usr/bin/python3
"""A greeter without generated code: messages are text. Needs Debian's python3-grpcio."""
import sys
import time
from concurrent import futures

import grpc


def hello(name, context):
    caller = dict(context.invocation_metadata())["x-consumer"]
    return "hello {}, says {}; {:.1f} s left".format(name, caller, context.time_remaining())


def count(last, context):
    for i in range(int(last)):
        yield str(i + 1)
        time.sleep(0.2)


coding = {"request_deserializer": bytes.decode, "response_serializer": str.encode}
server = grpc.server(futures.ThreadPoolExecutor())
server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("greeter.Greeter", {
    "Hello": grpc.unary_unary_rpc_method_handler(hello, **coding),
    "Count": grpc.unary_stream_rpc_method_handler(count, **coding),
})])
port = server.add_insecure_port("127.0.0.1:" + (sys.argv[1] if len(sys.argv) > 1 else "9003"))
server.start()
print(port, flush=True)
server.wait_for_termination()
