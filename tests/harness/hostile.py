# SPDX-License-Identifier: Apache-2.0
"""hostile.py -- lines that no honest client sends, from a seed."""

import json

NAME = "/ls/local/hostile"

# Of the right form, and of no session: an acquire is refused and never waits.
FORGED = "0123456789abcdef-" + "0123456789abcdef" * 2
_OF_FORGED = {"session": FORGED, "request": 1}

_VALID = (
    {"method": "node.get", "params": {"name": NAME}},
    {"method": "node.stat", "params": {"name": NAME}},
    {"method": "node.list", "params": {"name": "/ls/local"}},
    {"method": "node.put", "params": {"name": NAME, "content": "x"}},
    {"method": "node.create", "params": {"name": NAME + "/d", "kind": "directory"}},
    {"method": "node.delete", "params": {"name": NAME + "/none"}},
    {"method": "cell.status", "params": {}},
    {"method": "session.open", "params": {"lease_ms": 1000, "label": "hostile"}},
    {"method": "session.keepalive", "params": {"session": FORGED}},
    {"method": "session.close", "params": {**_OF_FORGED, "ack": [0, [2, 3]]}},
    {"method": "lock.acquire", "params": {**_OF_FORGED, "name": NAME, "create": True}},
    {"method": "lock.acquire", "params": {**_OF_FORGED, "name": NAME, "mode": "shared",
                                          "wait_ms": 1000, "handle": 7}},
    {"method": "lock.cancel", "params": {**_OF_FORGED, "cancel": 2}},
    {"method": "lock.release", "params": {**_OF_FORGED, "name": NAME, "token": 1}},
    {"method": "lock.list", "params": {"name": NAME, "skip": 1, "limit": 2}},
    {"method": "lock.list", "params": {"after": 1}},
    {"method": "lock.check", "params": {"sequencer": NAME + ":exclusive:1"}},
    {"method": "lock.acquire", "params": {**_OF_FORGED, "name": NAME, "lock_delay_ms": 60000,
                                          "if_instance": 1}},
    {"method": "node.open", "params": {**_OF_FORGED, "name": NAME, "handle": 1, "create": "file",
                                       "ephemeral": True, "content": "x", "if_instance": 0}},
    {"method": "node.close", "params": {**_OF_FORGED, "name": NAME, "handle": 1,
                                        "if_instance": 1}},
    {"method": "watch.add", "params": {"watches": [
        {"watch": 1, "name": NAME},
        {"watch": 2, "name": NAME, "scope": "subtree", "kinds": ["content", "lock"],
         "from": 0, "content": True, "old_content": True}]}},
    {"method": "watch.remove", "params": {"watches": [1, 2, 3]}},
)

_ODD_VALUES = (
    b"1e999", b"-1e999", b"NaN", b"Infinity", b"-0", b"01", b"1.", b"9007199254740993",
    b"18446744073709551616", b"-9223372036854775809", b"1e-400", b"0.1", b"true", b"null",
    b"[]", b"{}", b'""', b'"\\ud800"', b'"\\u0000"', b'"\\x41"', b'"\xff\xfe"', b'"\xc0\xaf"',
    b'"\xed\xa0\x80"', b'"\xf4\x90\x80\x80"', b'"unterminated', b"'single'", b"/* comment */ 1",
)

_ODD_NAMES = (
    "", "/", "//", "/ls", "/ls/", "/ls/local/", "/ls/local//x", "/ls/local/.", "/ls/local/..",
    "/ls/local/../x", "/ls/other/x", "ls/local/x", "/ls/local/a\nb", "/ls/local/\u0007",
    "/ls/local/" + "x" * 256, "/ls/local/" + "y/" * 600 + "y", "\u2028",
)

_ODD_LINES = (
    b"[]", b"{}", b"null", b"0", b'"text"', b"[1,2,3]", b"GET / HTTP/1.1", b"\x16\x03\x01\x02\x00",
    b"ruok", b"{", b"}", b'{"jsonrpc":"2.0"}', b'{"jsonrpc":"1.0","id":1,"method":"node.get"}',
    b'{"jsonrpc":"2.0","id":{},"method":"node.get","params":{"name":"/ls/local/x"}}',
    b'{"jsonrpc":"2.0","id":1,"id":2,"method":"cell.status"}',
    b'{"jsonrpc":"2.0","id":1,"method":"node.get","params":{"name":"a","name":"b"}}',
    b'{"jsonrpc":"2.0","id":1,"method":"node.get","params":["/ls/local/x"]}',
    b'{"jsonrpc":"2.0","id":1,"method":"node.none","params":{}}',
    b'{"jsonrpc":"2.0","id":1,"method":7,"params":{}}',
    b'{"jsonrpc":"2.0","id":1,"method":"node.get","params":{"name":7}}',
    b'{"jsonrpc":"2.0","id":1,"method":"node.put","params":{"name":"/ls/local/x"}}',
    b'{"jsonrpc":"2.0","id":1,"method":"node.put","params":{"name":"/ls/local/x",'
    b'"content":"a","content_base64":"YQ=="}}',
    b'{"jsonrpc":"2.0","id":1,"method":"node.put","params":{"name":"/ls/local/x",'
    b'"content_base64":"Y!=="}}',
    b'[{"jsonrpc":"2.0","id":1,"method":"cell.status"}]',
    b'{"jsonrpc":"2.0","id":1,"method":"cell.status"} trailing',
    b'{"jsonrpc":"2.0","id":"' + b"i" * 5000 + b'","method":"cell.status"}',
    b'{"jsonrpc":"2.0","id":1,"method":"session.open","params":{"label":"a\\nb"}}',
    b'{"jsonrpc":"2.0","id":1,"method":"session.open","params":{"label":"' + b"l" * 129 + b'"}}',
    b'{"jsonrpc":"2.0","id":1,"method":"session.keepalive"}',
)

# One watch of a watch.add; `_odd_watch` puts odd things there.
_WATCH_MEMBERS = (b"watch", b"name", b"scope", b"kinds", b"from", b"if_instance", b"content",
                  b"old_content", b"x")
_ODD_WATCHES = (
    b"[]", b"{}", b"[[]]", b"[{}]", b"[null]", b"[1]", b"null",
    b'[{"watch":1,"name":"/ls/local/a"},{"watch":1,"name":"/ls/local/b"}]',
    b'[{"watch":1}]', b'[{"name":"/ls/local/a"}]', b'[{"watch":0,"name":"/ls/local/a"}]',
    b'[{"watch":9007199254740992,"name":"/ls/local/a"}]',
    b'[{"watch":1,"name":"/ls/local/a","kinds":[]}]',
    b'[{"watch":1,"name":"/ls/local/a","kinds":["content","content"]}]',
    b'[{"watch":1,"name":"/ls/local/a","kinds":[' + b'"lock",' * 20000 + b'"lock"]}]',
    b'[{"watch":1,"name":"/ls/local/a","scope":"galaxy"}]',
    b"[" + b'{"watch":1,"name":"/ls/local/a"},' * 1000 + b'{"watch":2,"name":"/ls/local/a"}]',
)
_ODD_UNWATCHES = (b"[]", b"[[]]", b"[{}]", b"{}", b"null", b"[-1]", b"[0]", b"[1,1]",
                  b"[9007199254740992]", b"[" + b"7," * 1000 + b"8]", b"[1.5]")
_ODD_SEQUENCERS = (
    b"", b":", b"::", b":::", b"x", b":exclusive:1", b"/ls/local/x:exclusive:",
    b"/ls/local/x:exclusive:-1", b"/ls/local/x:exclusive:0", b"/ls/local/x:exclusive:1e3",
    b"/ls/local/x:exclusive:9007199254740992", b"/ls/local/x:exclusive:" + b"9" * 400,
    b"/ls/local/x:EXCLUSIVE:1", b"/ls/local/x:both:1", b"/ls/other/x:shared:1", b"x:shared:1",
    b"/ls/local/" + b":" * 3000 + b":shared:1",
)

# What a session's commands carry besides; `_odd_session` puts odd things there.
_SESSION_MEMBERS = (b"session", b"request", b"ack", b"handle", b"wait_ms", b"token", b"cancel",
                    b"mode", b"create", b"lease_ms", b"lock_delay_ms", b"if_instance",
                    b"ephemeral")
_ODD_ACKS = (
    b"[]", b"[0,[]]", b"[0,[1]]", b"[0,[2,1]]", b"[5,[3,9]]", b"[0,[2,3],[3,4]]",
    b"[0,[4,5],[2,3]]",
    b"[-1]", b"[[0]]", b"[0,0]", b"[9007199254740992]", b"[0" + b",[2,2]" * 17 + b"]",
    b"[0" + b",[9,9]" * 5000 + b"]",
)


def _valid(rng):
    message = {"jsonrpc": "2.0", "id": rng.randrange(1000), **rng.choice(_VALID)}
    return json.dumps(message).encode()


def _noise(rng):
    return rng.randbytes(rng.randrange(1, 400)).replace(b"\n", b"\r")


def _truncated(rng):
    line = _valid(rng)
    return line[: rng.randrange(1, len(line))]


def _mutated(rng):
    line = bytearray(_valid(rng))
    for _ in range(rng.randrange(1, 4)):
        line[rng.randrange(len(line))] = rng.randrange(256)
    return bytes(line).replace(b"\n", b"\t")


def _deep(rng):
    depth = rng.choice((15, 16, 17, 18, 100, 5000, 100000))
    opener, closer = rng.choice(((b"[", b"]"), (b'{"a":', b"}")))
    line = opener * depth + b"1" + (closer * depth if rng.random() < 0.5 else b"")
    if rng.random() < 0.5:
        line = b'{"jsonrpc":"2.0","id":1,"method":"cell.status","params":' + line + b"}"
    return line


def _odd_value(rng):
    value = rng.choice(_ODD_VALUES)
    member = rng.choice((b"name", b"content", b"content_base64", b"if_generation", b"limit", b"x"))
    return (
        b'{"jsonrpc":"2.0","id":5,"method":"node.put","params":{"name":"' + NAME.encode()
        + b'","content":"x","' + member + b'":' + value + b"}}"
    )


def _odd_session(rng):
    method = rng.choice((b"lock.acquire", b"lock.cancel", b"lock.release", b"session.close",
                         b"session.keepalive", b"session.open", b"node.put", b"node.open",
                         b"node.close"))
    values = {b"session": b'"' + FORGED.encode() + b'"', b"request": b"1"}
    if method in (b"lock.acquire", b"lock.release", b"node.put", b"node.open", b"node.close"):
        values[b"name"] = b'"' + NAME.encode() + b'"'
    member = rng.choice(_SESSION_MEMBERS)
    values[member] = rng.choice(_ODD_ACKS if member == b"ack" else _ODD_VALUES)
    params = b",".join(b'"' + name + b'":' + value for name, value in values.items())
    return b'{"jsonrpc":"2.0","id":8,"method":"' + method + b'","params":{' + params + b"}}"


def _odd_watch(rng):
    """A watch, a list of them, or a sequencer that is none."""
    method, params = b"watch.add", rng.choice(_ODD_WATCHES)
    kind = rng.randrange(4)
    if kind == 0:
        values = {b"watch": b"1", b"name": b'"' + NAME.encode() + b'"'}
        values[rng.choice(_WATCH_MEMBERS)] = rng.choice(_ODD_VALUES)
        params = b"[{" + b",".join(b'"' + m + b'":' + v for m, v in values.items()) + b"}]"
    elif kind == 1:
        method, params = b"watch.remove", rng.choice(_ODD_UNWATCHES)
    elif kind == 2:
        return (b'{"jsonrpc":"2.0","id":9,"method":"lock.check","params":{"sequencer":"'
                + rng.choice(_ODD_SEQUENCERS) + b'"}}')
    return (b'{"jsonrpc":"2.0","id":9,"method":"' + method + b'","params":{"watches":'
            + params + b"}}")


def _odd_name(rng):
    method = rng.choice(("node.get", "node.put", "node.delete", "node.list", "node.create",
                         "lock.acquire", "lock.list", "node.open", "watch.add"))
    params = {"name": rng.choice(_ODD_NAMES)}
    if method in ("lock.acquire", "node.open"):
        params.update(_OF_FORGED)
    if method == "watch.add":
        params = {"watches": [{"watch": 1, **params}]}
    if method == "node.put":
        params["content"] = "x"
    return json.dumps({"jsonrpc": "2.0", "id": 6, "method": method, "params": params}).encode()


def _odd_line(rng):
    return rng.choice(_ODD_LINES)


def _large(rng):
    """A file beyond its limit in a line within its; rarely a line beyond."""
    size = rng.choice((257 * 1024, 500 * 1024, 767 * 1024, 769 * 1024, 2 * 1024 * 1024))
    return (
        b'{"jsonrpc":"2.0","id":7,"method":"node.put","params":{"name":"' + NAME.encode()
        + b'","content":"' + b"x" * size + b'"}}'
    )


_KINDS = (
    (_noise, 20), (_truncated, 20), (_mutated, 20), (_deep, 8), (_odd_value, 12),
    (_odd_session, 12), (_odd_watch, 12), (_odd_name, 10), (_odd_line, 10), (_valid, 8), (_large, 0.5),
)


def line(rng):
    """A line without its newline; at least one octet that is no blank."""
    kinds, weights = zip(*_KINDS)
    while True:
        made = rng.choices(kinds, weights)[0](rng)
        if made.strip():
            return made
