#!/usr/bin/python3
"""Calls the greeter: client.py [KEY [PORT]]"""
import sys

import grpc

key = sys.argv[1] if len(sys.argv) > 1 else ""
channel = grpc.insecure_channel("127.0.0.1:" + (sys.argv[2] if len(sys.argv) > 2 else "8083"))
coding = {"request_serializer": str.encode, "response_deserializer": bytes.decode}
metadata = [("x-api-key", key)] if key else []

try:
    hello = channel.unary_unary("/greeter.Greeter/Hello", **coding)
    print(hello("world", metadata=metadata, timeout=5))
    counted = channel.unary_stream("/greeter.Greeter/Count", **coding)
    for number in counted("3", metadata=metadata, timeout=5):
        print(number)
except grpc.RpcError as fault:
    sys.exit("{}: {}".format(fault.code().name, fault.details()))
