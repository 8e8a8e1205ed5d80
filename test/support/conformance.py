"""Carries out a table of system calls below a folder and prints what came of each, one JSON line a case.

    conformance.py FOLDER SHARE OF [CASE...]

The cases are a product: an operation, on an object of some kind, by some user in some kind of directory.
Every case starts from a fresh directory; its outcome is the errno or value of the operation, and what it did
to names, modes, owners, link counts, sizes and times of everything there. Two file systems are alike if all
lines are. Only every OF-th case, from SHARE on, is carried out, and those that are named or in ALWAYS.
"""

import errno
import json
import os
import shutil
import stat
import struct
import sys
import time

from syscalls_libc import call

top = os.fsencode(os.path.abspath(sys.argv[1]))
share, of = int(sys.argv[2]), int(sys.argv[3])
named = set(sys.argv[4:])

CLOCK_REALTIME_COARSE = 5
OWNER, OTHER, GROUP = 65534, 65533, 65532
LONG = b"n" * 255
TOO_LONG = b"n" * 256


def fd_of(path, flags, mode=0o644, act=lambda fd: None):
    fd = os.open(path, flags | os.O_NONBLOCK, mode)
    try:
        return act(fd)
    finally:
        os.close(fd)


def times(atime, mtime):
    def spec(value):
        return struct.pack("qq", 0, {"now": 0x3FFFFFFF, "omit": 0x3FFFFFFE}[value]) if isinstance(value, str) \
            else struct.pack("qq", value, 5)
    return spec(atime) + spec(mtime)


def socket(path):
    os.mknod(path, stat.S_IFSOCK | 0o644)


def nonempty(path):
    os.mkdir(path, 0o755)
    os.mkdir(path + b"/inside")


def file(mode, content=b"0123456789"):
    def make(path):
        with open(path, "wb") as f:
            f.write(content)
        os.chmod(path, mode)
    return make


def none(path):
    pass


# Each makes the object; those with an offset name something else in its place.
KINDS = {
    "missing": none,
    "file": file(0o644),
    "executable": file(0o6755),
    "setgid": file(0o2664),
    "closed": file(0o000),
    "groupwide": file(0o660),
    "dir": lambda p: os.mkdir(p, 0o755),
    "shared-dir": lambda p: (os.mkdir(p), os.chmod(p, 0o3777)),
    "nonempty": nonempty,
    "fifo": lambda p: os.mkfifo(p, 0o644),
    "socket": socket,
    "device": lambda p: os.mknod(p, stat.S_IFCHR | 0o644, os.makedev(1, 3)),
    "to-file": lambda p: os.symlink(b"F", p),
    "to-dir": lambda p: os.symlink(b"D", p),
    "to-nowhere": lambda p: os.symlink(b"nowhere", p),
    "loop": lambda p: os.symlink(os.path.basename(p), p),
}
# Where the object is: T in the directory, or a name that leads elsewhere.
PLACES = {"in-loop": b"L/x", "in-file": b"F/x", "in-nothing": b"N/x", "long": LONG, "too-long": TOO_LONG,
          "in-too-long": TOO_LONG + b"/x", "trailing": b"T/", "longest-path": None, "too-long-path": None, "empty": b""}


def long_path(directory, length):
    """A path of so many bytes to T, by way of ./././"""
    rest = length - len(directory) - 2
    return directory + b"/" + (b"./" * (rest // 2) if rest % 2 == 0 else b"/" + b"./" * (rest // 2)) + b"T"


OPS = {
    "open-r": lambda p, d: fd_of(p, os.O_RDONLY, 0, lambda fd: len(os.read(fd, 4)) if stat.S_ISREG(os.fstat(fd).st_mode) else 0),
    "open-w": lambda p, d: fd_of(p, os.O_WRONLY),
    "open-rw": lambda p, d: fd_of(p, os.O_RDWR),
    "write": lambda p, d: fd_of(p, os.O_WRONLY, 0, lambda fd: os.write(fd, b"xy")),
    "write-nothing": lambda p, d: fd_of(p, os.O_WRONLY, 0, lambda fd: os.write(fd, b"")),
    "append": lambda p, d: fd_of(p, os.O_WRONLY | os.O_APPEND, 0, lambda fd: os.write(fd, b"xy")),
    "creat": lambda p, d: fd_of(p, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o6777),
    "creat-r": lambda p, d: fd_of(p, os.O_RDONLY | os.O_CREAT, 0o222),
    "excl": lambda p, d: fd_of(p, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o640),
    "creat-dir": lambda p, d: fd_of(p, os.O_RDONLY | os.O_CREAT | os.O_DIRECTORY),
    "trunc": lambda p, d: fd_of(p, os.O_WRONLY | os.O_TRUNC),
    "trunc-r": lambda p, d: fd_of(p, os.O_RDONLY | os.O_TRUNC),
    "open-dir": lambda p, d: fd_of(p, os.O_RDONLY | os.O_DIRECTORY),
    "nofollow": lambda p, d: fd_of(p, os.O_RDONLY | os.O_NOFOLLOW),
    "path": lambda p, d: fd_of(p, os.O_PATH, 0, lambda fd: os.read(fd, 1)),
    "noatime": lambda p, d: fd_of(p, os.O_RDONLY | os.O_NOATIME),
    "tmpfile": lambda p, d: fd_of(p, os.O_RDWR | os.O_TMPFILE, 0o600),
    "mkdir": lambda p, d: os.mkdir(p, 0o7777),
    "rmdir": lambda p, d: os.rmdir(p),
    "unlink": lambda p, d: os.unlink(p),
    "mkfifo": lambda p, d: os.mkfifo(p, 0o7666),
    "mknod-reg": lambda p, d: os.mknod(p, stat.S_IFREG | 0o644),
    "mknod-dir": lambda p, d: os.mknod(p, stat.S_IFDIR | 0o644),
    "mknod-chr": lambda p, d: os.mknod(p, stat.S_IFCHR | 0o644, os.makedev(3, 77)),
    "mknod-blk": lambda p, d: os.mknod(p, stat.S_IFBLK | 0o644, os.makedev(300, 70000)),
    "mknod-sock": lambda p, d: os.mknod(p, stat.S_IFSOCK | 0o644),
    "symlink": lambda p, d: os.symlink(b"F", p),
    "symlink-empty": lambda p, d: os.symlink(b"", p),
    "symlink-4095": lambda p, d: os.symlink(b"s" * 4095, p),
    "symlink-4096": lambda p, d: os.symlink(b"s" * 4096, p),
    "link-from": lambda p, d: os.link(p, d + b"/new", follow_symlinks=False),
    "link-follow": lambda p, d: os.link(p, d + b"/new"),
    "link-to": lambda p, d: os.link(d + b"/F", p, follow_symlinks=False),
    "link-into-file": lambda p, d: os.link(p, d + b"/F/x", follow_symlinks=False),
    "link-long": lambda p, d: os.link(p, d + b"/" + TOO_LONG, follow_symlinks=False),
    "rename-from": lambda p, d: os.rename(p, d + b"/new"),
    "rename-into": lambda p, d: os.rename(p, d + b"/D/new"),
    "rename-file-to": lambda p, d: os.rename(d + b"/F", p),
    "rename-dir-to": lambda p, d: os.rename(d + b"/D", p),
    "rename-over-file": lambda p, d: os.rename(p, d + b"/F"),
    "rename-over-dir": lambda p, d: os.rename(p, d + b"/D"),
    "rename-over-full": lambda p, d: os.rename(p, d + b"/E"),
    "rename-into-itself": lambda p, d: os.rename(p, p + b"/x"),
    "rename-onto-itself": lambda p, d: os.rename(p, p),
    "rename-long": lambda p, d: os.rename(p, d + b"/" + TOO_LONG),
    "rename-dot": lambda p, d: os.rename(p + b"/.", d + b"/new"),
    "rename-noreplace": lambda p, d: call("renameat2", -100, p, -100, d + b"/F", 1),
    "rename-noreplace-new": lambda p, d: call("renameat2", -100, p, -100, d + b"/new", 1),
    "rename-exchange": lambda p, d: call("renameat2", -100, p, -100, d + b"/E", 2),
    "rename-exchange-new": lambda p, d: call("renameat2", -100, p, -100, d + b"/new", 2),
    "rename-flags": lambda p, d: call("renameat2", -100, p, -100, d + b"/new", 3),
    "rename-hardlinks": lambda p, d: (os.link(p, d + b"/new", follow_symlinks=False), os.rename(p, d + b"/new")),
    "rmdir-dot": lambda p, d: os.rmdir(p + b"/."),
    "rmdir-dotdot": lambda p, d: os.rmdir(p + b"/.."),
    "unlink-dot": lambda p, d: os.unlink(p + b"/."),
    "chmod": lambda p, d: os.chmod(p, 0o644),
    "chmod-special": lambda p, d: os.chmod(p, 0o7777),
    "fchmod": lambda p, d: fd_of(p, os.O_RDONLY, 0, lambda fd: os.fchmod(fd, 0o2611)),
    "chown-nothing": lambda p, d: os.lchown(p, -1, -1),
    "chown-follow": lambda p, d: os.chown(p, -1, -1),
    "chown-same": lambda p, d: os.lchown(p, os.lstat(p).st_uid, -1),
    "chown-user": lambda p, d: os.lchown(p, OTHER, -1),
    "chown-group": lambda p, d: os.lchown(p, -1, GROUP),
    "chown-own-group": lambda p, d: os.lchown(p, -1, os.getegid()),
    "chown-both": lambda p, d: os.lchown(p, OWNER, OWNER),
    "truncate-0": lambda p, d: os.truncate(p, 0),
    "truncate-same": lambda p, d: os.truncate(p, 10),
    "truncate-up": lambda p, d: os.truncate(p, 123456),
    "truncate-negative": lambda p, d: os.truncate(p, -1),
    "truncate-huge": lambda p, d: os.truncate(p, 1 << 62),
    "ftruncate": lambda p, d: fd_of(p, os.O_WRONLY, 0, lambda fd: os.ftruncate(fd, 5)),
    "ftruncate-same": lambda p, d: fd_of(p, os.O_WRONLY, 0, lambda fd: os.ftruncate(fd, 10)),
    "ftruncate-r": lambda p, d: fd_of(p, os.O_RDONLY, 0, lambda fd: os.ftruncate(fd, 5)),
    "fallocate": lambda p, d: fd_of(p, os.O_WRONLY, 0, lambda fd: os.posix_fallocate(fd, 0, 100)),
    "fallocate-keep": lambda p, d: fd_of(p, os.O_WRONLY, 0, lambda fd: call("fallocate", fd, 1, *longs(0, 100))),
    "fallocate-r": lambda p, d: fd_of(p, os.O_RDONLY, 0, lambda fd: os.posix_fallocate(fd, 0, 100)),
    "punch": lambda p, d: fd_of(p, os.O_WRONLY, 0, lambda fd: call("fallocate", fd, 3, *longs(2, 4))),
    "zero": lambda p, d: fd_of(p, os.O_WRONLY, 0, lambda fd: call("fallocate", fd, 16, *longs(5, 20))),
    "utimens-null": lambda p, d: os.utime(p),
    "utimens-now": lambda p, d: call("utimensat", -100, p, times("now", "now"), 0x100),
    "utimens-set": lambda p, d: call("utimensat", -100, p, times(100, 200), 0x100),
    "utimens-omit": lambda p, d: call("utimensat", -100, p, times("omit", "omit"), 0x100),
    "utimens-atime": lambda p, d: call("utimensat", -100, p, times(100, "omit"), 0x100),
    "utimens-mtime-now": lambda p, d: call("utimensat", -100, p, times("omit", "now"), 0x100),
    "utimens-past": lambda p, d: call("utimensat", -100, p, times(-10, -1_000_000), 0x100),
    "utimens-future": lambda p, d: call("utimensat", -100, p, times(1 << 32, (1 << 33) + 7), 0x100),
    "utimens-follow": lambda p, d: call("utimensat", -100, p, times(100, 200), 0),
    "access-r": lambda p, d: os.access(p, os.R_OK, effective_ids=True),
    "access-w": lambda p, d: os.access(p, os.W_OK, effective_ids=True),
    "access-x": lambda p, d: os.access(p, os.X_OK, effective_ids=True),
    "readlink": lambda p, d: os.readlink(p).decode(),
    "listdir": lambda p, d: sorted(os.fsdecode(n) for n in os.listdir(p)),
    "chdir": lambda p, d: os.chdir(p),
    "setxattr": lambda p, d: os.setxattr(p, "user.x", b"1", 0, follow_symlinks=False),
    "setxattr-trusted": lambda p, d: os.setxattr(p, "trusted.x", b"1", 0, follow_symlinks=False),
    "setxattr-replace": lambda p, d: os.setxattr(p, "user.x", b"1", os.XATTR_REPLACE, follow_symlinks=False),
    "getxattr": lambda p, d: os.getxattr(p, "user.none", follow_symlinks=False).decode(),
    "removexattr": lambda p, d: os.removexattr(p, "user.none", follow_symlinks=False),
    "stat": lambda p, d: stat.filemode(os.stat(p).st_mode),
    "lstat": lambda p, d: stat.filemode(os.lstat(p).st_mode),
    "exec": lambda p, d: execute(p),
}


def longs(*values):
    import ctypes
    return [ctypes.c_longlong(v) for v in values]


def execute(path):
    """What execve says of a file that is no program, from a child."""
    pid = os.fork()
    if pid == 0:
        try:
            os.execv(path, [b"x"])
        except OSError as error:
            os._exit(error.errno)
        os._exit(0)
    return errno.errorcode.get(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), "ran")


# user: (uid, gid, groups); the directory: (mode, uid, gid); the objects: (uid, gid).
CONTEXTS = {
    "root": ((0, 0, []), (0o755, 0, 0), (0, 0)),
    "root-of-others": ((0, 0, []), (0o700, OTHER, OTHER), (OWNER, OWNER)),
    "owner": ((OWNER, OWNER, []), (0o755, OWNER, OWNER), (OWNER, OWNER)),
    "owner-other-group": ((OWNER, OWNER, [GROUP]), (0o755, OWNER, OWNER), (OWNER, OTHER)),
    "stranger": ((OTHER, OTHER, []), (0o755, OWNER, OWNER), (OWNER, OWNER)),
    "guest": ((OTHER, OTHER, []), (0o777, OWNER, OWNER), (OWNER, OWNER)),
    "member": ((OTHER, OTHER, [OWNER]), (0o775, OWNER, OWNER), (OWNER, OWNER)),
    "sticky": ((OTHER, OTHER, []), (0o1777, 0, 0), (OWNER, OWNER)),
    "sticky-own-files": ((OTHER, OTHER, []), (0o1777, 0, 0), (OTHER, OTHER)),
    "sticky-own-directory": ((OTHER, OTHER, []), (0o1777, OTHER, OTHER), (OWNER, OWNER)),
    "no-search": ((OWNER, OWNER, []), (0o666, OWNER, OWNER), (OWNER, OWNER)),
    "no-write": ((OWNER, OWNER, []), (0o555, OWNER, OWNER), (OWNER, OWNER)),
    "no-read": ((OWNER, OWNER, []), (0o333, OWNER, OWNER), (OWNER, OWNER)),
    "setgid-member": ((OTHER, OTHER, [GROUP]), (0o2777, OWNER, GROUP), (OTHER, GROUP)),
    "setgid-stranger": ((OTHER, OTHER, []), (0o2777, OWNER, GROUP), (OTHER, GROUP)),
}


# Those that were wrong once are carried out in every share.
ALWAYS = {
    *(f"{user} executable plain chown-nothing" for user in ("owner", "stranger", "guest", "member", "sticky")),
    *(f"{user} setgid plain {op}" for user in ("member", "setgid-member", "setgid-stranger", "guest")
      for op in ("chown-nothing", "chown-user", "truncate-0", "fallocate", "zero", "write")),
}


def build(directory, kind, context):
    _, (mode, uid, gid), (object_uid, object_gid) = CONTEXTS[context]
    os.mkdir(directory)
    file(0o644, b"F")(directory + b"/F")
    os.mkdir(directory + b"/D")
    nonempty(directory + b"/E")
    os.symlink(b"L", directory + b"/L")
    target = directory + b"/T"
    KINDS[kind](target)
    for name in os.listdir(directory):
        path = directory + b"/" + name
        before = os.lstat(path)
        os.lchown(path, object_uid, object_gid)
        if not stat.S_ISLNK(before.st_mode):
            os.chmod(path, stat.S_IMODE(before.st_mode))
    os.chown(directory, uid, gid)
    os.chmod(directory, mode)


def snapshot(directory):
    found = {}
    for name in [b"."] + sorted(os.listdir(directory)):
        st = os.lstat(directory + b"/" + name)
        is_dir = stat.S_ISDIR(st.st_mode)
        found[name.decode()[:8]] = (
            {"mode": oct(st.st_mode), "nlink": st.st_nlink, "uid": st.st_uid, "gid": st.st_gid, "rdev": st.st_rdev,
             "size": None if is_dir else st.st_size},
            (st.st_atime_ns, st.st_mtime_ns, st.st_ctime_ns), st.st_ino)
    return found


def judge(before, after, began):
    """What is different: attributes as they are now, and which times moved (set: to what a program named)."""
    by_ino = {ino: times for _, times, ino in before.values()}
    out = {}
    for name, (attributes, moments, ino) in after.items():
        old = by_ino.get(ino)
        moved = "".join(
            "-" if old is not None and now == old[i] else "=%d" % now if now < began - 10**9 or now > began + 10**11 else letter
            for i, (letter, now) in enumerate(zip("amc", moments)))
        if name == ".":
            # By the look at it itself; a coarse clock may show the same time again.
            moved = moved.replace("a", "-")
        same = name in before and before[name][0] == attributes and before[name][2] == ino
        if not same or moved != "---":
            out[name] = [None if same else attributes, moved]
    for name in before.keys() - after.keys():
        out[name] = "gone"
    return out


def perform(op, path, directory):
    try:
        result = OPS[op](path, directory)
        return result if isinstance(result, (str, bool, int, list)) else None
    except OSError as error:
        return errno.errorcode.get(error.errno, error.errno)


def perform_as(user, op, path, directory):
    """In a child, since becoming somebody is for good."""
    uid, gid, groups = user
    out, into = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setgroups(groups)
        os.setgid(gid)
        os.setuid(uid)
        os.umask(0o022)
        os.write(into, json.dumps(perform(op, path, directory)).encode())
        os._exit(0)
    os.close(into)
    with os.fdopen(out) as reader:
        answer = reader.read()
    os.waitpid(pid, 0)
    return json.loads(answer)


def is_coarse():
    """Whether times move only with the timer's tick, so that a change right after another would not show."""
    path = top + b"/tick"
    os.mkdir(path)
    seen = set()
    for n in range(20):
        os.chmod(path, 0o700 + n % 2)
        seen.add(os.lstat(path).st_ctime_ns)
    os.rmdir(path)
    return len(seen) < 20


def wait_for_the_next_tick():
    began = time.clock_gettime(CLOCK_REALTIME_COARSE)
    while time.clock_gettime(CLOCK_REALTIME_COARSE) == began:
        time.sleep(0.002)


def cases():
    for context in CONTEXTS:
        for kind in KINDS:
            for op in OPS:
                yield context, kind, "plain", op
    for context in ("root", "owner"):
        for place in PLACES:
            for kind in ("missing", "file", "dir", "to-file", "to-dir"):
                if kind in ("file", "missing") or place == "trailing":
                    for op in OPS:
                        # Of the empty path that would be /. and not in the folder.
                        if (place, op) != ("empty", "rename-dot"):
                            yield context, kind, place, op


def main():
    os.umask(0o022)
    coarse = is_coarse()
    for number, (context, kind, place, op) in enumerate(cases()):
        name = f"{context} {kind} {place} {op}"
        if number % of != share and name not in ALWAYS and name not in named:
            continue
        directory = top + b"/%d" % number
        build(directory, kind, context)
        if place == "plain":
            path = directory + b"/T"
        elif place == "longest-path":
            path = long_path(directory, 4095)
        elif place == "too-long-path":
            path = long_path(directory, 4096)
        elif place == "empty":
            path = b""
        else:
            path = directory + b"/" + PLACES[place]
            if place == "long" and kind == "file":
                os.rename(directory + b"/T", path)
        before = snapshot(directory)
        if coarse:
            wait_for_the_next_tick()
        began = time.time_ns()
        result = perform_as(CONTEXTS[context][0], op, path, directory)
        after = snapshot(directory)
        shutil.rmtree(directory)
        print(json.dumps({"case": name, "result": result, "changes": judge(before, after, began)}), flush=True)


if __name__ == "__main__":
    main()
