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


@case("nc can watch: it is told what others do, and ends when its input does")
def _():
    nc = shutil.which("nc")
    if nc is None:
        raise Skip("nc is not installed (Debian: netcat-openbsd)")
    ask = (b'{"jsonrpc":"2.0","id":1,"method":"watch.add","params":{"watches":'
           b'[{"watch":1,"name":"/ls/local/motd","content":true}]}}\n')
    with Cell(count=1) as cell:
        replica = cell.start()
        host, port = parse_address(replica.client)
        with subprocess.Popen([nc, "-N", host, str(port)], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE) as process:
            try:
                process.stdin.write(ask)
                process.stdin.flush()
                added = json.loads(process.stdout.readline())["result"]
                with replica.connect() as other:
                    put = other.call("node.put", name="/ls/local/motd", content="hello")
                told = json.loads(process.stdout.readline())
                process.stdin.close()
                assert process.stdout.read() == b"", "nothing more was to be told"
                process.wait(10)
            finally:
                process.kill()
    assert "id" not in told and told["method"] == "watch.event", told
    event = told["params"]["event"]
    assert told["params"]["watch"] == 1 and event["kind"] == "created", told
    assert event["content"] == "hello" and event["revision"] == put["revision"], told
    assert event["revision"] > added["revision"], (added, told)


@case("a stock JSON-RPC library (aiorpcX) is told of changes as it is of any notification")
def _():
    try:
        import aiorpcx
    except ImportError as error:
        raise Skip("aiorpcX is not installed (Debian: python3-aiorpcx)") from error

    told = []

    class Watcher(aiorpcx.RPCSession):
        async def handle_request(self, request):
            told.append((request.method, request.args))

    async def talk(host, port):
        async with aiorpcx.connect_rs(host, port, session_factory=Watcher) as session:
            watches = [{"watch": 1, "name": "/ls/local/stock"}]
            await session.send_request("watch.add", {"watches": watches})
            await session.send_request("node.put", {"name": "/ls/local/stock", "content": "x"})
            await asyncio.sleep(0.1)  # For the library's own task; the event came first.

    with Cell(count=1) as cell:
        host, port = parse_address(cell.start().client)
        asyncio.run(asyncio.wait_for(talk(host, port), 20))
    assert [method for method, _ in told] == ["watch.event"], told
    assert told[0][1]["event"]["kind"] == "created", told


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
