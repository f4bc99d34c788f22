# SPDX-License-Identifier: Apache-2.0
"""The daemon's front door: arguments, configuration, init, and what stops it
from starting.  Whatever is wrong is named."""

import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from harness.cell import ENVIRONMENT, LOCKD, Cell, run
from harness.rpc import CellClient, Connection, RpcError, parse_address
from harness.tap import Skip, case, main, note, wait_for

# A field, a value it must not have; None leaves the field out.
WRONG = (
    ("cell", None), ("cell", ""), ("cell", 7), ("cell", "a/b"), ("cell", "x" * 64),
    ("replica", None), ("replica", 0), ("replica", -1), ("replica", 65536), ("replica", "1"),
    ("replica", 1.5), ("data_dir", None), ("data_dir", ""), ("data_dir", ["x"]),
    ("data_dir", "x" * 2000), ("listen", "nowhere"), ("listen", "127.0.0.1:99999"),
    ("listen", 7400), ("advertise", "host"), ("advertise", "127.0.0.1:0"),
    ("peers", None), ("peers", {}), ("peers", []), ("peers", {"1": 7500}),
    ("peers", {"x": "127.0.0.1:7500"}), ("peers", {"2": "127.0.0.1:7500"}),
    ("peers", {str(n): f"127.0.0.1:{7500 + n}" for n in range(1, 9)}),
    ("listen_peer", "nowhere"), ("heartbeat_ms", 0), ("heartbeat_ms", "100"),
    ("master_lease_ms", 1), ("election_jitter_ms", [150, 50]), ("disk_stall_ms", -1),
    ("clients_max", 0), ("lease_reads", "yes"), ("line_deadline_ms", 1e9),
    ("principal", ""), ("principal", "root"), ("principal", "*"), ("principal", "two words"),
    ("principal", "x" * 65), ("local_socket", 1), ("local_socket", "/" + "x" * 107),
    ("data_dir", "/" + "x" * 97), ("cache_lease_ms", 60001), ("cached_max", -1),
    ("listeners", {}), ("listeners", ["127.0.0.1:7401"]), ("listeners", [{}]),
    ("listeners", [{"listen": "127.0.0.1:7401"}]), ("listeners", [{"principal": "ops"}]),
    ("listeners", [{"listen": "127.0.0.1:7401", "principal": "root"}]),
    ("listeners", [{"listen": "127.0.0.1:7401", "principal": "local"}]),
    ("listeners", [{"listen": "127.0.0.1:7401", "principal": "ops", "replica": 1}]),
    ("listeners", [{"listen": "127.0.0.1:0", "principal": f"p{n}"} for n in range(8)]),
    ("unheard_of", 1),
)


@case("each wrong, missing or unknown field is refused by name")
def _():
    with Cell(count=1) as cell:
        replica = cell.replicas[0]
        done = run(LOCKD, "--check-config", "--config", replica.config_path)
        assert done.returncode == 0, done.stderr.decode()
        for name, value in WRONG:
            fields = replica.config()
            fields.pop(name, None)
            if value is not None:
                fields[name] = value
            replica.config_path.write_text(json.dumps(fields))
            for arguments in (["--check-config"], ["init"], []):
                done = run(LOCKD, *arguments, "--config", replica.config_path)
                told = done.stderr.decode()
                assert done.returncode == 64, (name, value, done.returncode, told)
                assert f'"{name}"' in told, f"{name}={value!r} is not named: {told}"
        note(f"{len(WRONG)} wrong fields")


@case("a configuration that is no JSON, twice the same field, or not there is refused")
def _():
    with Cell(count=1) as cell:
        path = cell.replicas[0].config_path
        good = path.read_text()
        twice = good.replace('"cell"', '"replica": 1, "cell"')
        for text in ("", "{", "[]", "7", good + "x", twice):
            path.write_text(text)
            done = run(LOCKD, "--check-config", "--config", path)
            assert done.returncode == 64, (text, done.returncode)
            assert str(path).encode() in done.stderr, done.stderr
        path.unlink()
        done = run(LOCKD, "--config", path)
        assert done.returncode != 0 and str(path).encode() in done.stderr, done.stderr


@case("--help and --version print and exit 0; an unknown option is refused by name")
def _():
    done = run(LOCKD, "--help")
    assert done.returncode == 0 and b"--config" in done.stdout, done
    assert b"init" in done.stdout and b"--dev" in done.stdout, done
    done = run(LOCKD, "--version")
    assert done.returncode == 0 and done.stdout.startswith(b"lockd "), done
    done = run(LOCKD, "--nonsense")
    assert done.returncode == 64 and b"nonsense" in done.stderr, done


@case("init makes a store once; twice is refused and changes nothing")
def _():
    with Cell(count=1) as cell:
        replica = cell.replicas[0]
        replica.init()
        before = {path.name: path.read_bytes() for path in replica.folder.iterdir()}
        assert before, "init made nothing"
        done = run(LOCKD, "init", "--config", replica.config_path)
        assert done.returncode != 0 and str(replica.folder).encode() in done.stderr, done
        after = {path.name: path.read_bytes() for path in replica.folder.iterdir()}
        assert before == after


@case("start without init is refused and names init")
def _():
    with Cell(count=1) as cell:
        replica = cell.replicas[0]
        for folder_exists in (False, True):
            if folder_exists:
                replica.folder.mkdir()
            done = run(LOCKD, "--config", replica.config_path)
            assert done.returncode != 0, done
            assert b"init" in done.stderr, done.stderr
            assert not folder_exists or not list(replica.folder.iterdir()), "something was made"


@case("a store of another replica or cell is refused")
def _():
    with Cell(count=1) as cell:
        replica = cell.replicas[0]
        replica.init()
        for field, value in (("replica", 2), ("cell", "another")):
            replica.write_config(**{field: value, "peers": {"1": replica.peer, "2": "127.0.0.1:1"}})
            done = run(LOCKD, "--config", replica.config_path)
            assert done.returncode != 0, f"{field}: {done}"
            assert b"another" in done.stderr or b"belongs" in done.stderr, done.stderr


@case("a client port or a peer port in use is a clear error")
def _():
    with Cell(count=1) as cell:
        replica = cell.replicas[0]
        replica.init()
        further = f"{cell.host}:{cell.port + 20}"
        replica.write_config(listeners=[{"listen": further, "principal": "ops"}])
        for address in (replica.client, replica.peer, further):
            with socket.socket() as taken:
                taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                taken.bind(parse_address(address))
                taken.listen()
                done = run(LOCKD, "--config", replica.config_path)
            assert done.returncode not in (0, 99), done
            assert address.encode() in done.stderr, done.stderr
        replica.start()


@case("two daemons on one store: the second is refused")
def _():
    with Cell(count=1) as cell:
        replica = cell.replicas[0]
        replica.init()
        replica.start()
        other = cell.folder / "other.json"
        other.write_text(json.dumps(replica.config(listen="127.0.0.1:0", listen_peer="127.0.0.1:0",
                                                   advertise=None)))
        done = run(LOCKD, "--config", other)
        assert done.returncode not in (0, 99), done
        assert str(replica.folder).encode() in done.stderr, done.stderr
        with cell.client() as client:
            client.call("node.put", name="/ls/local/x", content="still served")


def unprivileged(*command):
    """As a user whom permissions bind; root is bound by none."""
    if os.geteuid() != 0:
        return [str(part) for part in command]
    if shutil.which("setpriv") is None:
        raise Skip("root without setpriv can't become a user whom permissions bind")
    return ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
            *[str(part) for part in command]]


@case("a data_dir that can't be written is a clear error")
def _():
    with Cell(count=1) as cell:
        replica = cell.replicas[0]
        replica.init()
        cell.folder.chmod(0o755)
        replica.config_path.chmod(0o644)
        for path in replica.folder.iterdir():
            path.chmod(0o444)
        replica.folder.chmod(0o555)
        try:
            # The build folder may lie where that user can't look.
            with tempfile.TemporaryDirectory(prefix="lockd-bin-") as folder:
                os.chmod(folder, 0o755)
                binary = shutil.copy(LOCKD, folder)
                done = subprocess.run(
                    unprivileged(binary, "--config", replica.config_path),
                    capture_output=True, timeout=20, env=ENVIRONMENT, check=False)
        finally:
            replica.folder.chmod(0o755)
        assert done.returncode not in (0, 99), done
        assert str(replica.folder).encode() in done.stderr, done.stderr


@case("below disk_reserve_mib growth is refused; reading and deleting go on")
def _():
    reserve_mib = 1 << 20
    with Cell(count=1) as cell:
        if shutil.disk_usage(cell.folder).free >= reserve_mib << 20:
            raise Skip("the disk has more free space than the largest reserve")
        replica = cell.start()
        with cell.client() as client:
            client.call("node.put", name="/ls/local/x", content="1")
        replica.terminate()
        replica.write_config(disk_reserve_mib=reserve_mib)
        replica.start()
        cell.master()
        wait_for("the alarm", lambda: replica.status()["low_space"], 10)
        with replica.connect() as connection:
            growth = (("node.put", {"content": "2"}), ("node.create", {"kind": "file"}))
            for method, params in growth:
                try:
                    connection.call(method, name="/ls/local/y", **params)
                    raise AssertionError(f"{method} was not refused")
                except RpcError as error:
                    assert error.name == "overloaded", error
            assert connection.call("node.get", name="/ls/local/x")["content"] == "1"
            connection.call("node.delete", name="/ls/local/x")
        assert "space.low" in replica.log()


@case("port 0 is allowed; the ready line says where it listens")
def _():
    with Cell(count=1) as cell:
        replica = cell.replicas[0]
        replica.write_config(listen="127.0.0.1:0", advertise=None, peers={"1": "127.0.0.1:0"})
        replica.init()
        line = replica.start() or replica.ready_line
        words = dict(word.split("=", 1) for word in line.split()[1:])
        assert set(words) == {"client", "peer"}, line
        assert parse_address(words["client"])[1] > 0, line
        with CellClient([words["client"]]) as client:
            client.call("node.put", name="/ls/local/x", content="1")


@case("lockd --dev serves without any configuration and keeps its files")
def _():
    with Cell(count=1) as cell:
        replica = cell.replicas[0]
        environment = {**ENVIRONMENT, "XDG_STATE_HOME": str(cell.folder / "state")}
        for turn in range(2):
            with subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", str(LOCKD), "--dev", "--listen", replica.client],
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment,
            ) as process:
                try:
                    line = process.stdout.readline().decode()
                    assert line.startswith("ready client="), (line, process.poll())
                    assert (cell.folder / "state/lockd/dev").is_dir()
                    local = cell.folder / "state/lockd/dev/lockd.sock"
                    with Connection(f"unix:{local}") as connection:
                        assert connection.call("cell.status")["cell"] == "dev"
                    with cell.client() as client:
                        if turn == 0:
                            client.call("node.put", name="/ls/local/motd", content="hello")
                        result = client.read("node.get", name="/ls/local/motd")
                        assert result["content"] == "hello"
                    process.terminate()
                    log = process.stderr.read().decode()
                    assert process.wait(20) == 0
                    assert f" local={local}\n" in log, log
                finally:
                    process.kill()


main()
