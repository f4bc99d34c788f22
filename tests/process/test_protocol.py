# SPDX-License-Identifier: Apache-2.0
"""Clients that we didn't write: nc with lines typed by hand, and a stock
JSON-RPC library."""

import asyncio
import json
import pathlib
import shutil
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from harness.cell import Cell
from harness.rpc import parse_address
from harness.tap import Skip, case, main


@case("nc can put and get")
def _():
    nc = shutil.which("nc")
    if nc is None:
        raise Skip("nc is not installed (Debian: netcat-openbsd)")
    lines = (
        b'{"jsonrpc":"2.0","id":1,"method":"node.put",'
        b'"params":{"name":"/ls/local/motd","content":"hello"}}\n',
        b'{"jsonrpc":"2.0","id":2,"method":"node.get","params":{"name":"/ls/local/motd"}}\n',
    )
    with Cell() as cell:
        host, port = parse_address(cell.start().client)
        with subprocess.Popen([nc, host, str(port)], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE) as process:
            try:
                answers = []
                for line in lines:
                    process.stdin.write(line)
                    process.stdin.flush()
                    answers.append(json.loads(process.stdout.readline()))
            finally:
                process.kill()
    found = {answer["id"]: answer["result"] for answer in answers}
    assert found[1]["stat"]["generation"] == 1, found
    assert found[2]["content"] == "hello", found


@case("a stock JSON-RPC library (aiorpcX) can put, get and understand a refusal")
def _():
    try:
        import aiorpcx
    except ImportError as error:
        raise Skip("aiorpcX is not installed (Debian: python3-aiorpcx)") from error

    async def talk(host, port):
        async with aiorpcx.connect_rs(host, port) as session:
            name = {"name": "/ls/local/stock"}
            put = await session.send_request("node.put", {**name, "content": "hello"})
            got = await session.send_request("node.get", name)
            try:
                await session.send_request("node.get", {"name": "/ls/local/none"})
                refusal = None
            except aiorpcx.RPCError as error:
                refusal = error
            return put, got, refusal

    with Cell() as cell:
        host, port = parse_address(cell.start().client)
        put, got, refusal = asyncio.run(asyncio.wait_for(talk(host, port), 20))
    assert put["stat"]["generation"] == 1, put
    assert got["content"] == "hello", got
    assert refusal is not None and refusal.code == -32000, refusal


main()
