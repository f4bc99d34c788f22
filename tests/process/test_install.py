# SPDX-License-Identifier: Apache-2.0
"""What `meson install` puts down is all that a user needs: outside programs in C and
C++, built with pkg-config alone, the examples by the command that each of them names,
the manual, and the completion of lockctl."""

import contextlib
import functools
import pathlib
import re
import shlex
import shutil
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from harness.cell import ENVIRONMENT, LOCKCTL, Cell, run
from harness.outside import STRICT, compiler
from harness.tap import Skip, case, main

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = LOCKCTL.parents[1]
BASH_COMPLETION = pathlib.Path("/usr/share/bash-completion/bash_completion")

scratch = contextlib.ExitStack()


def ok(done):
    assert done.returncode == 0, (done.returncode, done.stdout.decode(), done.stderr.decode())
    return done.stdout.decode()


def find(folder, name):
    found = sorted(folder.rglob(name))
    assert found, f"{name} was not installed"
    return found[0]


@functools.cache
def installed():
    """The folder that stands for / here."""
    if shutil.which("meson") is None:
        raise Skip("there is no meson")
    folder = pathlib.Path(scratch.enter_context(tempfile.TemporaryDirectory(prefix="lockd-test-")))
    ok(run("meson", "install", "-C", BUILD, "--no-rebuild", "--quiet", "--destdir", folder,
           timeout=60))
    return folder


@functools.cache
def outside():
    """env(1) and what makes a shell find the installed tree, and nothing else of ours."""
    tree, folder = installed(), installed() / "outside"
    folder.mkdir()
    library = find(tree, "liblockd.so")
    for name, variable in (("cc", "CC"), ("c++", "CXX")):
        command, *options = compiler(library, variable, name)
        command = shlex.join([shutil.which(command), *options])
        (folder / name).write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        (folder / name).chmod(0o755)
    return ("env", "-C", folder, f"PATH={folder}:{ENVIRONMENT['PATH']}",
            f"PKG_CONFIG_PATH={find(tree, 'lockd.pc').parent}", f"PKG_CONFIG_SYSROOT_DIR={tree}",
            f"LD_LIBRARY_PATH={library.parent}")


def shell(command, stdin=b"", timeout=60):
    return run(*outside(), "sh", "-c", command, stdin=stdin, timeout=timeout)


def need(package):
    if shell(f"pkg-config --exists {package}").returncode != 0:
        raise Skip(f"there is no {package} to build against")


# ----------------------------------------------------------------- the tree


@case("everything is where it belongs")
def _():
    tree = installed()
    found = {path.relative_to(tree).as_posix() for path in tree.rglob("*")}
    for pattern in (r"bin/lockctl", r"bin/lockd", r"bin/lockbench", r"bin/lockdump",
                    r"bin/lockcheck", r"include/lockd\.h", r"include/lockd_fence\.h",
                    r"include/lockd_ev\.h", r"include/lockd_uv\.h", r"include/lockd_sd_event\.h",
                    r"lib\S*/liblockd\.so", r"lib\S*/liblockd\.so\.0",
                    r"lib\S*/liblockd\.so\.0\.\S+",
                    r"lib\S*/pkgconfig/lockd\.pc", r"share/bash-completion/completions/lockctl",
                    r"share/man/man1/lockctl\.1", r"share/man/man1/lockbench\.1",
                    r"share/man/man1/lockdump\.1", r"share/man/man1/lockcheck\.1",
                    r"share/man/man5/lockd\.conf\.5", r"share/man/man8/lockd\.8"):
        assert any(re.fullmatch(rf"\S*/{pattern}", path) for path in found), pattern
    # A simulator is built with the tests only, and has its page then.
    assert any(path.endswith("bin/locksim") for path in found) == \
        any(path.endswith("man1/locksim.1") for path in found)


# ---------------------------------------------------------- outside programs

C_PROGRAM = r"""
#include <lockd.h>
#include <lockd_fence.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    const struct lockd_client_options options = {.size = sizeof options, .endpoints = argv[1]};
    struct lockd_client *client = NULL;
    struct lockd_answer *answer = NULL;
    enum lockd_rc rc = lockd_client_new(&options, &client);
    if (rc == LOCKD_OK && argc == 2) {
        rc = lockd_client_start(client);
    }
    if (rc == LOCKD_OK) {
        rc = lockd_put(client, NULL, "/ls/local/motd", "hello", 5, LOCKD_ANY, 10000, NULL);
    }
    if (rc == LOCKD_OK) {
        rc = lockd_get(client, "/ls/local/motd", NULL, 10000, &answer);
    }
    printf("%s %s %s\n", lockd_version(), lockd_strerror(rc),
           rc == LOCKD_OK ? (const char *)answer->content : "");
    lockd_answer_free(answer);
    lockd_client_free(client);
    return 0;
}
"""

CXX_PROGRAM = r"""
#include <lockd_ev.h>
#include <lockd_fence.h>
#include <cstdio>

static void got(void *context, const lockd_answer *answer)
{
    std::printf("%s %s %s\n", lockd_version(), lockd_strerror(answer->rc),
                answer->rc == LOCKD_OK ? static_cast<const char *>(answer->content) : "");
    ev_break(static_cast<struct ev_loop *>(context), EVBREAK_ALL);
}

int main(int, char **argv)
{
    struct ev_loop *loop = ev_default_loop(0);
    lockd_client_options options{};
    lockd_client *client = nullptr;
    lockd_ev adapter;
    options.size = sizeof options;
    options.endpoints = argv[1];
    if (lockd_client_new(&options, &client) != LOCKD_OK) {
        return 1;
    }
    lockd_ev_start(loop, &adapter, client);
    if (lockd_get_async(client, "/ls/local/motd", nullptr, 10000, got, loop) == LOCKD_OK) {
        ev_run(loop, 0);
    }
    lockd_ev_stop(loop, &adapter);
    lockd_client_free(client);
    return 0;
}
"""


@case("outside programs in C and C++ build with pkg-config alone, and talk to a cell", seconds=90)
def _():
    strict = " ".join(STRICT)
    flags = "$(pkg-config --cflags --libs lockd)"
    ok(shell(f"cc -std=c11 {strict} -xc - {flags} -o in-c", stdin=C_PROGRAM.encode()))
    ok(shell(f"c++ -std=c++11 {strict} -xc++ - {flags} -lev -o in-cxx",
             stdin=CXX_PROGRAM.encode()))
    version = ok(shell("pkg-config --modversion lockd")).strip()
    with Cell() as cell:
        cell.start()
        for program in ("in-c", "in-cxx"):
            said = ok(shell(f"./{program} {cell.endpoints}"))
            assert said == f"{version} ok hello\n", (program, said)


def compiles(header, package):
    need(package)
    # uv.h takes more than ISO C.
    for language, name in (("c", "cc -std=gnu11"), ("c++", "c++ -std=gnu++11")):
        ok(shell(f"{name} {' '.join(STRICT)} -x{language} -fsyntax-only - "
                 f"$(pkg-config --cflags lockd {package})",
                 stdin=f"#include <{header}>\n".encode()))


for adapter, needed in (("lockd_uv.h", "libuv"), ("lockd_sd_event.h", "libsystemd")):
    case(f"{adapter} is a header of C and C++")(
        lambda name=adapter, package=needed: compiles(name, package))


def builds_as_it_says(source):
    text = source.read_text().replace(" \\\n *", "")
    command = re.search(r"^ \*     cc (.*)$", text, re.MULTILINE)[1]
    for package in re.findall(r"\blib(?:uv|systemd)\b", command):
        need(package)
    ok(shell(f"cd {ROOT / 'docs' / 'examples'} && cc {' '.join(STRICT)} {command}".replace(
        " -o ", f" -o {installed() / 'outside'}/")))


for example in sorted((ROOT / "docs" / "examples").glob("*.c")):
    if example.stem != "loop_app":  # A part of others.
        case(f"docs/examples/{example.name} builds with the command that it names")(
            lambda source=example: builds_as_it_says(source))


# ---------------------------------------------------------------- the manual


@case("each public function has a page that names it")
def _():
    manual = find(installed(), "man3").parent
    symbols = (ROOT / "libclient" / "lockd.symbols").read_text()
    functions = re.findall(r"^(?!typedef).*?\b(lockd_\w+)\(", symbols, re.MULTILINE)
    assert len(functions) > 90, len(functions)
    for name in functions:
        page = manual / "man3" / f"{name}.3"
        assert page.is_file(), f"{name}(3) is missing"
        assert re.search(rf"\b{name}\(", page.read_text()), f"{name}(3) has it in no synopsis"
        if shutil.which("man") is not None:
            found = ok(run("man", "-M", manual, "-w", "3", name)).split()
            assert [pathlib.Path(path) for path in found] in ([page], [page.resolve()]), found


@case("no page has a mistake")
def _():
    pages = [page for page in find(installed(), "man3").parent.rglob("*.[1-8]")
             if not page.is_symlink()]
    assert len(pages) > 15, pages
    if shutil.which("mandoc") is not None:
        said = run("mandoc", "-Tlint", "-W", "warning", *pages).stdout.decode().splitlines()
        said = [line for line in said if "missing date" not in line]
    elif shutil.which("groff") is not None:
        said = run("groff", "-ww", "-man", "-Tutf8", "-z", *pages).stderr.decode().splitlines()
    else:
        raise Skip("there is neither mandoc nor groff")
    assert not said, "\n".join(said)


# What the programs of the manual take as given.
GIVEN = """
#include <lockd.h>
#include <lockd_fence.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
"""
GIVEN_WITHIN = """
extern struct lockd_session *session;
extern pthread_mutex_t store;
extern struct { const char *name; uint64_t token; } request;
bool work_is_left(void);
void work_for_a_second(uint64_t token);
void write_it(const void *what);
int manual(struct lockd_client *client)
{
    (void)client;
    {
"""


def example_of(page):
    section = re.search(r"^\.SH EXAMPLE\n(.*?)^\.SH ", page.read_text(), re.MULTILINE | re.DOTALL)
    assert section is not None, "it has no example"
    text = "".join(re.findall(r"^\.nf\n(.*?)^\.fi$", section[1], re.MULTILINE | re.DOTALL))
    return text.replace(r"\&...", "").replace(r"\-", "-").replace(r"\e", "\\")


def example_compiles(page):
    text = example_of(page)
    if "static " not in text:
        text = GIVEN_WITHIN + text + "}\nreturn 0;\n}\n"
    ok(shell(f"cc -std=gnu11 {' '.join(STRICT)} -Wno-unused -fsyntax-only -xc - "
             "$(pkg-config --cflags lockd)", stdin=(GIVEN + text).encode()))


for manual_page in sorted((ROOT / "docs").glob("*.3")):
    case(f"the example of {manual_page.stem}(3) compiles")(
        lambda page=manual_page: example_compiles(page))


# ------------------------------------------------------------- the completion

COMPLETE = r"""
. %s
. %s
compopt() { :; } # It works only where a line is being edited.
COMP_LINE=$1 COMP_POINT=${#1} COMPREPLY=()
read -ra COMP_WORDS <<<"${COMP_LINE//:/ : }"
[[ $COMP_LINE == *' ' ]] && COMP_WORDS+=('')
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_lockctl
printf '%%s\n' "${COMPREPLY[@]}"
"""


def completions(line):
    """What bash offers behind this line."""
    script = COMPLETE % (BASH_COMPLETION, find(installed(), "completions") / "lockctl")
    done = run("env", f"PATH={LOCKCTL.parent}:{ENVIRONMENT['PATH']}", "bash", "-c", script, "bash",
               line)
    assert not done.stderr, done.stderr.decode()
    return done.stdout.decode().split()


def need_bash_completion():
    if not BASH_COMPLETION.exists():
        raise Skip("there is no bash-completion")


@case("bash completes the commands and options of lockctl")
def _():
    need_bash_completion()
    every = re.findall(r"^  ([a-z]+) ", ok(run(LOCKCTL, "--help")), re.MULTILINE)
    assert completions("lockctl ") == every and "watch" in every, every
    assert completions("lockctl sta") == ["stat", "status"]
    assert "--endpoints" in completions("lockctl --")
    assert completions("lockctl -o ") == ["simple", "json", "table"]
    assert completions("lockctl --timeout 1s mk") == ["mkdir"]
    for command in every:
        help_text = ok(run(LOCKCTL, command, "--help"))
        for option in re.findall(r"^  (?:-., )?(--[a-z-]+)", help_text, re.MULTILINE):
            assert option in completions(f"lockctl {command} --"), (command, option)
    assert completions("lockctl watch --kinds con") == ["content", "conflict"]
    assert completions("lockctl watch --count 3 --keep") == ["--keep-going"]
    assert completions("lockctl get --level ") == ["linearizable", "lease", "sequential", "stale"]
    assert completions("lockctl acl ") == ["get", "set", "ls"]
    assert "--endpoints" not in completions("lockctl acl --")  # That stands before the command.


@case("bash completes names, if a cell answers")
def _():
    need_bash_completion()
    with Cell() as cell:
        cell.start()
        for name in ("acl", "conf"):
            ok(cell.lockctl("mkdir", name))
        for name in ("acl/admins", "conf/a b", "conf/app", "conf/apt", "motd"):
            ok(cell.lockctl("put", name, "*"))
        before = f"lockctl --endpoints {cell.addresses[0]} "
        assert completions(before + "get ") == ["acl/", "conf/", "motd"]
        assert completions(before + "get mo") == ["motd"]
        assert completions(before + "get conf/ap") == ["conf/app", "conf/apt"]
        assert completions(before + "get /ls/local/conf/app") == ["/ls/local/conf/app"]
        assert completions(before + "get /l") == ["/ls/local/"]
        assert completions(before + "ls -l mo") == ["motd"]
        assert completions(before + "lock --timeout 1s mo") == ["motd"]
        assert completions(before + "get motd mo") == []
        assert completions(before + "acl ls ") == ["admins"]
        assert completions(before + "acl set --read a") == ["anyone", "admins"]
        assert completions(before + "acl set --read anyone mo") == ["motd"]
    assert completions(before + "get mo") == []


with scratch:
    main()
