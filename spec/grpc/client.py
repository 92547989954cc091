# What the clients of the specs share: argv[1] is the gateway's port.
import sys
import threading
import time

import grpc
from grpc import StatusCode as Code

OPTIONS = [("grpc.max_receive_message_length", 64 << 20), ("grpc.max_send_message_length", 64 << 20),
           ("grpc.enable_retries", 0)]
channel = grpc.insecure_channel("127.0.0.1:" + sys.argv[1], options=OPTIONS)


def methods(of):
    return (of.unary_unary("/spec.Echo/Unary"), of.unary_stream("/spec.Echo/ServerStream"),
            of.stream_unary("/spec.Echo/ClientStream"), of.stream_stream("/spec.Echo/Both"))


unary, server_stream, client_stream, both = methods(channel)


def fails(what, code=None, details=None):
    """Calls, and returns the fault; it must be this one."""
    try:
        got = what()
        if hasattr(got, "__next__"):
            got = list(got)
    except grpc.RpcError as fault:
        assert code is None or fault.code() == code, fault
        assert details is None or details in fault.details(), fault
        return fault
    raise AssertionError("it has not failed: %r" % got)


def feed(*messages, wait=0, hold=None):
    for message in messages:
        yield message
        time.sleep(wait)
    if hold:
        hold.wait(20)
