#!/usr/bin/python3
"""A chat server: what one says, all hear. Needs Debian's python3-websockets."""
import asyncio
import sys

import websockets

clients = set()


async def chat(socket):
    clients.add(socket)
    try:
        async for message in socket:
            websockets.broadcast(clients, message)
    finally:
        clients.discard(socket)


async def main(port):
    async with websockets.serve(chat, "127.0.0.1", port) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.Future()


asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 9002))
