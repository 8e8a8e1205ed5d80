"""What a mount of the driver fuse-native cannot do, found out on one. Arguments: a folder of such a mount, the same folder
on a mount of the other driver. Prints a line of JSON for each row of the table in docs/operations.md: its title, and what
was found.
"""

import ctypes
import errno
import fcntl
import json
import os
import sys

top, other = sys.argv[1:3]
libc = ctypes.CDLL(None, use_errno=True)
rows = {}


def row(title):
    def add(tell):
        rows[title] = tell
        return tell

    return add


def outcome(act):
    try:
        act()
        return "ok"
    except OSError as error:
        return errno.errorcode[error.errno]


def call(name, *args):
    if getattr(libc, name)(*args) == -1:
        raise OSError(ctypes.get_errno(), name)


def new_file(name, content=b"0123456789", folder=top):
    with open(f"{folder}/{name}", "wb") as file:
        file.write(content)
    return f"{folder}/{name}"


@row("`utimensat`, `touch`")
def times():
    return outcome(lambda: os.utime(new_file("times"), ns=(1, 2)))


@row("times")
def milliseconds():
    path = new_file("stamped")
    os.utime(f"{other}/stamped", ns=(1_000_000_007, 2_000_000_009))
    out = [os.stat(path).st_atime_ns, os.stat(path).st_mtime_ns]
    new_file("early", folder=other)
    os.utime(f"{other}/early", ns=(-1_000_000_000, -5))
    return out + [os.stat(f"{top}/early").st_atime_ns, os.stat(f"{top}/early").st_mtime_ns]


@row("locks")
def locks():
    path = new_file("locked")
    with open(path, "r+b") as here, open(f"{other}/locked", "r+b") as there:
        fcntl.flock(here, fcntl.LOCK_EX)
        with open(path, "r+b") as again:
            local = outcome(lambda: fcntl.flock(again, fcntl.LOCK_EX | fcntl.LOCK_NB))
        return [local, outcome(lambda: fcntl.flock(there, fcntl.LOCK_EX | fcntl.LOCK_NB))]


@row("`fallocate`, `SEEK_DATA`, `SEEK_HOLE`")
def holes():
    fd = os.open(new_file("holes"), os.O_RDWR)
    found = outcome(lambda: call("fallocate", fd, 0, ctypes.c_long(0), ctypes.c_long(100)))
    os.ftruncate(fd, 1 << 20)
    return [found, os.lseek(fd, 0, os.SEEK_HOLE)]


@row("`renameat2` with flags, `O_TMPFILE`")
def renames():
    new_file("a"), new_file("b")
    a, b = f"{top}/a".encode(), f"{top}/b".encode()
    return [
        outcome(lambda: call("renameat2", -100, a, -100, b, 2)),
        outcome(lambda: os.open(top, os.O_TMPFILE | os.O_RDWR)),
    ]


@row("names that are not UTF-8")
def names():
    name = b"\xff"
    path = other.encode() + b"/" + name
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
    listed = "\ufffd".encode() in os.listdir(top.encode())
    found = outcome(lambda: os.stat(top.encode() + b"/" + name))
    os.unlink(path)
    target = outcome(lambda: os.symlink(name, top.encode() + b"/link"))
    file = new_file("named")
    attribute = [outcome(lambda: os.setxattr(file, b"user." + name, b"1")), outcome(lambda: os.removexattr(file, b"user." + name))]
    return [listed, found, target, *attribute, os.listxattr(f"{other}/named")]


@row("inode numbers")
def numbers():
    path = new_file("linked")
    os.link(path, f"{top}/again")
    return os.stat(path).st_ino == os.stat(f"{other}/linked").st_ino


@row("hard links")
def pages():
    path = new_file("shared", b"before")
    os.link(path, f"{top}/second")
    with open(f"{top}/second", "rb") as second:
        out = [os.pread(second.fileno(), 6, 0).decode()]
        new_file("shared", b"after!")
        out.append(os.pread(second.fileno(), 6, 0).decode())
    with open(f"{top}/second", "rb") as second:
        out.append(second.read().decode())
    return out + [os.stat(path).st_ino == os.stat(f"{top}/second").st_ino]


@row("devices and programs with set-user-ID")
def mounted():
    flags = os.statvfs(top).f_flag
    return [flags & os.ST_NODEV != 0, flags & os.ST_NOSUID != 0]


@row("a removed file that is open")
def hidden():
    path = new_file("removed")
    with open(path, "rb") as file:
        os.unlink(path)
        left = [name for name in os.listdir(other) if name.startswith(".fuse_hidden")]
        content = file.read()
    return [len(left), content.decode()]


@row("`O_CREAT` without `O_EXCL`")
def appending():
    fd = os.open(f"{top}/log", os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    os.write(fd, b"one ")
    with open(f"{other}/log", "ab") as file:
        file.write(b"two ")
    os.write(fd, b"three ")
    os.close(fd)
    with open(f"{other}/log", "rb") as file:
        return file.read() == b"one two three "


@row("other users")
def others():
    new_file("mine")
    pid = os.fork()
    if pid == 0:
        os.setuid(65534)
        os._exit({"ok": 0, "EACCES": 1}.get(outcome(lambda: os.stat(f"{top}/mine")), 2))
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def main():
    for title, tell in rows.items():
        print(json.dumps({"row": title, "result": tell()}), flush=True)


main()
