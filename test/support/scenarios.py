"""Carries out longer stories of system calls below a folder and prints what came of each, one JSON line a story.

    scenarios.py FOLDER [NAME...]

What a story returns is alike on every POSIX file system; it is compared with what a local folder gives.
"""

import errno
import fcntl
import json
import os
import random
import signal
import stat
import struct
import sys
import time
import traceback

from syscalls_libc import call

top = os.fsencode(os.path.abspath(sys.argv[1]))
OWNER, OTHER = 65534, 65533
stories = {}


def story(function):
    stories[function.__name__] = function
    return function


def outcome(act):
    try:
        result = act()
        return result if isinstance(result, (int, str, bool, list)) else "ok"
    except OSError as error:
        return errno.errorcode.get(error.errno, error.errno)


def write(path, data, mode=0o644):
    with open(path, "wb") as f:
        f.write(data)
    os.chmod(path, mode)
    return path


def child(act, uid=None, gid=None, groups=()):
    """Starts a process that carries out `act` and hands back the result as JSON when asked."""
    out, into = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(out)
            if uid is not None:
                os.setgroups(list(groups))
                os.setgid(gid)
                os.setuid(uid)
            os.write(into, json.dumps(outcome(act)).encode())
        except BaseException:
            os.write(into, json.dumps(traceback.format_exc()).encode())
        finally:
            os._exit(0)
    os.close(into)

    def join():
        with os.fdopen(out, "rb") as reader:
            answer = reader.read()
        os.waitpid(pid, 0)
        return json.loads(answer) if answer else "died"

    join.pid = pid
    return join


def as_user(act, uid, gid, groups=()):
    return child(act, uid, gid, groups)()


def lock(fd, kind, start=0, length=0, whence=0, wait=False, ofd=False):
    command = (38 if wait else 37) if ofd else (fcntl.F_SETLKW if wait else fcntl.F_SETLK)
    fcntl.fcntl(fd, command, struct.pack("hhqqi4x", kind, whence, start, length, 0))


def test_lock(fd, kind, start=0, length=0, ofd=False):
    got = fcntl.fcntl(fd, 36 if ofd else fcntl.F_GETLK, struct.pack("hhqqi4x", kind, 0, start, length, 0))
    kind, _, start, length, pid = struct.unpack("hhqqi4x", got)
    return "free" if kind == fcntl.F_UNLCK else [kind, start, length]


READ, WRITE, UNLOCK = fcntl.F_RDLCK, fcntl.F_WRLCK, fcntl.F_UNLCK


def seen_from_outside(path, *ranges):
    """Which of the bytes somebody else could lock for writing."""
    def look():
        fd = os.open(path, os.O_RDWR)
        return [test_lock(fd, WRITE, start, length) for start, length in ranges or [(0, 0)]]
    return child(look)()


@story
def privileges_after_writes(d):
    """setuid and setgid after a write, truncation, chown, by whom, and with which bits."""
    out = []
    for mode in (0o6777, 0o6766, 0o2767):
        for who, uid, gid, groups in (("root", 0, 0, ()), ("owner", OWNER, OWNER, ()), ("other", OTHER, OTHER, ())):
            acts = {
                "write": lambda p: os.write(os.open(p, os.O_WRONLY), b"x"),
                "pwrite": lambda p: os.pwrite(os.open(p, os.O_RDWR), b"x", 3),
                "append": lambda p: os.write(os.open(p, os.O_WRONLY | os.O_APPEND), b"x"),
                "truncate": lambda p: os.truncate(p, 1),
                "ftruncate": lambda p: os.ftruncate(os.open(p, os.O_WRONLY), 100),
                "trunc": lambda p: os.close(os.open(p, os.O_WRONLY | os.O_TRUNC)),
                "fallocate": lambda p: os.posix_fallocate(os.open(p, os.O_WRONLY), 0, 100),
                "chown": lambda p: os.chown(p, -1, gid),
                "chmod": lambda p: os.chmod(p, mode),
            }
            for name, act in acts.items():
                path = write(d + b"/f", b"0123456789")
                os.chown(path, OWNER, OWNER)
                os.chmod(path, mode)
                result = as_user(lambda: act(path), uid, gid, groups)
                out.append([oct(mode), who, name, result if isinstance(result, str) else "ok", oct(os.stat(path).st_mode)])
    return out


@story
def setgid_directories(d):
    out = []
    os.mkdir(d + b"/g")
    os.chown(d + b"/g", 0, OTHER)
    os.chmod(d + b"/g", 0o2777)
    for uid, gid, groups in ((OWNER, OWNER, ()), (OWNER, OWNER, (OTHER,)), (0, 0, ())):
        def make():
            os.umask(0)
            os.mkdir(d + b"/g/dir", 0o755)
            os.close(os.open(d + b"/g/file", os.O_CREAT | os.O_WRONLY, 0o2775))
            os.close(os.open(d + b"/g/plain", os.O_CREAT | os.O_WRONLY, 0o2764))
            os.mknod(d + b"/g/fifo", stat.S_IFIFO | 0o666)
            os.symlink(b"x", d + b"/g/link")
            fd = os.open(d + b"/g", os.O_TMPFILE | os.O_RDWR, 0o2775)
            return [oct(os.fstat(fd).st_mode), os.fstat(fd).st_gid]
        out.append(as_user(make, uid, gid, groups))
        for name in sorted(os.listdir(d + b"/g")):
            st = os.lstat(d + b"/g/" + name)
            out.append([name.decode(), oct(st.st_mode), st.st_uid, st.st_gid])
            (os.rmdir if stat.S_ISDIR(st.st_mode) else os.unlink)(d + b"/g/" + name)
    return out


@story
def unlinked_but_open(d):
    fd = os.open(d + b"/f", os.O_CREAT | os.O_RDWR)
    os.write(fd, b"before")
    before = os.fstat(fd).st_ctime_ns
    os.unlink(d + b"/f")
    out = [os.fstat(fd).st_nlink, os.fstat(fd).st_ctime_ns > before]
    os.write(fd, b" after")
    os.ftruncate(fd, 100)
    os.fchmod(fd, 0o600)
    os.fsync(fd)
    out += [os.pread(fd, 20, 0).decode(), os.fstat(fd).st_size, oct(os.fstat(fd).st_mode)]
    out.append(outcome(lambda: call("linkat", -100, b"/proc/self/fd/%d" % fd, -100, d + b"/again", 0x400)))
    again = os.open(b"/proc/self/fd/%d" % fd, os.O_RDWR)
    out.append(os.pread(again, 6, 0).decode())
    os.mkdir(d + b"/dir")
    dirfd = os.open(d + b"/dir", os.O_RDONLY)
    os.rmdir(d + b"/dir")
    out += [os.fstat(dirfd).st_nlink, os.listdir(dirfd), outcome(lambda: os.mkdir("x", dir_fd=dirfd)),
            outcome(lambda: os.open("x", os.O_CREAT | os.O_WRONLY, dir_fd=dirfd)), outcome(lambda: os.stat("..", dir_fd=dirfd) and 0)]
    return out


@story
def unlinked_and_only_referred_to(d):
    """A file that nobody has open, by O_PATH, right after it was written."""
    out = []
    for way in ("unlink", "rename", "close"):
        fd = os.open(write(d + b"/f", b"0123456789"), os.O_RDWR)
        held = os.open(d + b"/f", os.O_PATH)
        if way != "close":
            os.close(fd)
        if way == "rename":
            os.rename(write(d + b"/g", b"other"), d + b"/f")
        else:
            os.unlink(d + b"/f")
        if way == "close":
            os.write(fd, b"and something more")
            os.close(fd)
        st = os.fstat(held)
        out.append([way, st.st_size, st.st_nlink, oct(st.st_mode), outcome(lambda: os.chmod(b"/proc/self/fd/%d" % held, 0o600))])
        os.close(held)
    return out


@story
def files_without_names(d):
    fd = os.open(d, os.O_TMPFILE | os.O_RDWR, 0o640)
    os.write(fd, b"hello")
    out = [os.fstat(fd).st_nlink, os.listdir(d)]
    call("linkat", -100, b"/proc/self/fd/%d" % fd, -100, d + b"/name", 0x400)
    out += [os.fstat(fd).st_nlink, open(d + b"/name").read()]
    exclusive = os.open(d, os.O_TMPFILE | os.O_RDWR | os.O_EXCL, 0o640)
    out.append(outcome(lambda: call("linkat", -100, b"/proc/self/fd/%d" % exclusive, -100, d + b"/other", 0x400)))
    return out


@story
def links(d):
    write(d + b"/a", b"x")
    counts = []
    for n in range(20):
        os.link(d + b"/a", d + b"/l%d" % n)
        counts.append(os.stat(d + b"/a").st_nlink)
    for n in range(20):
        os.unlink(d + b"/l%d" % n)
    counts.append(os.stat(d + b"/l0" if os.path.exists(d + b"/l0") else d + b"/a").st_nlink)
    os.mkdir(d + b"/dir")
    for n in range(5):
        os.mkdir(d + b"/dir/%d" % n)
    counts.append(os.stat(d + b"/dir").st_nlink)
    os.rename(d + b"/dir/1", d + b"/moved")
    counts += [os.stat(d + b"/dir").st_nlink, os.stat(d + b"/moved/..").st_ino == os.stat(d).st_ino]
    return counts


@story
def appends_of_four_processes(d):
    path = write(d + b"/f", b"")

    def append(n):
        fd = os.open(path, os.O_WRONLY | os.O_APPEND)
        for i in range(60):
            os.write(fd, b"%d:%03d;" % (n, i) * 20)
    for join in [child(lambda n=n: append(n)) for n in range(4)]:
        join()
    with open(path, "rb") as f:
        data = f.read()
    records = [data[i:i + 120] for i in range(0, len(data), 120)]
    whole = all(r == r[:6] * 20 for r in records)
    order = all([int(r[2:5]) for r in records if r[0] == 48 + n] == list(range(60)) for n in range(4))
    return [len(data), whole, order]


@story
def exclusive_creation(d):
    wins = []
    for n in range(25):
        joins = [child(lambda: os.close(os.open(d + b"/x%d" % n, os.O_CREAT | os.O_EXCL | os.O_WRONLY))) for _ in range(4)]
        wins.append([join() for join in joins].count("ok"))
    joins = [child(lambda: os.mkdir(d + b"/d")) for _ in range(4)]
    return [wins == [1] * 25, sorted(join() for join in joins)]


@story
def renames_under_lookups(d):
    for n in range(2):
        write(d + b"/src%d" % n, b"%d" % n * 100)
    os.link(d + b"/src0", d + b"/name")

    def look():
        missing = torn = 0
        for _ in range(400):
            try:
                with open(d + b"/name", "rb") as f:
                    data = f.read()
                torn += data not in (b"0" * 100, b"1" * 100)
            except FileNotFoundError:
                missing += 1
        return [missing, torn]
    lookers = [child(look) for _ in range(2)]
    for n in range(150):
        write(d + b"/new", b"%d" % (n % 2) * 100)
        os.rename(d + b"/new", d + b"/name")
    return [join() for join in lookers]


@story
def big_directory(d):
    """What was there all the time is listed exactly once, while other names come and go."""
    os.mkdir(d + b"/big")
    total = int(os.environ.get("CAIRN_BIG_DIRECTORY", "700"))
    for n in range(total):
        os.mknod(d + b"/big/keep%05d" % n)
    for n in range(70):
        os.mknod(d + b"/big/go%05d" % n)
    seen = []
    with os.scandir(d + b"/big") as entries:
        for at, entry in enumerate(entries):
            seen.append(entry.name)
            if at % 10 == 0 and at // 10 < 70:
                os.unlink(d + b"/big/go%05d" % (at // 10))
                os.mknod(d + b"/big/new%05d" % at)
    kept = [name for name in seen if name.startswith(b"keep")]
    return [len(kept), len(set(kept)), len(seen) == len(set(seen)), len(os.listdir(d + b"/big"))]


@story
def positions_in_directories(d):
    """seekdir to what telldir told goes on where it was."""
    import ctypes
    from syscalls_libc import libc
    for n in range(200):
        os.mknod(d + b"/f%d" % n)
    libc.opendir.restype = libc.readdir.restype = ctypes.c_void_p
    libc.telldir.restype = ctypes.c_long
    stream = ctypes.c_void_p(libc.opendir(d))

    def name():
        entry = libc.readdir(stream)
        return None if entry is None else ctypes.string_at(entry + 19)
    order, positions = [], []
    while True:
        positions.append(libc.telldir(stream))
        found = name()
        if found is None:
            break
        order.append(found)
    ok = len(order) == 202
    for at in random.Random(1).sample(range(200), 40):
        libc.seekdir(stream, ctypes.c_long(positions[at]))
        ok = ok and name() == order[at]
    libc.rewinddir(stream)
    return [ok, name() == order[0]]


@story
def holes(d):
    fd = os.open(d + b"/f", os.O_CREAT | os.O_RDWR)
    out = []

    def map_of():
        found, at = [], 0
        while True:
            try:
                at = os.lseek(fd, at, os.SEEK_DATA)
            except OSError as error:
                return found + [errno.errorcode[error.errno]]
            end = os.lseek(fd, at, os.SEEK_HOLE)
            found.append([at, end])
            at = end
    os.pwrite(fd, b"x" * 4096, 1 << 20)
    os.pwrite(fd, b"x" * 4096, 8 << 20)
    out.append(map_of())
    os.fsync(fd)
    out.append(map_of())
    os.ftruncate(fd, 16 << 20)
    out.append(map_of())
    call("fallocate", fd, 3, *longs(1 << 20, 4096))
    out.append(map_of())
    out.append([outcome(lambda: os.lseek(fd, at, whence)) for at in (0, 16 << 20, (16 << 20) + 1, -1) for whence in (os.SEEK_DATA, os.SEEK_HOLE)])
    out.append(os.pread(fd, 10, 1 << 20) == bytes(10))
    return out


def longs(*values):
    import ctypes
    return [ctypes.c_longlong(v) for v in values]


@story
def far_out(d):
    """Sparse files of 8 TiB, and where files end."""
    fd = os.open(d + b"/f", os.O_CREAT | os.O_RDWR)
    at = 8 << 40
    out = [os.pwrite(fd, b"end", at), os.fstat(fd).st_size, os.pread(fd, 10, at).decode(), os.pread(fd, 4, at - 100) == bytes(4)]
    os.fsync(fd)
    out += [os.fstat(fd).st_blocks <= 64, os.lseek(fd, 0, os.SEEK_DATA) >= at - 4096]
    out += [outcome(lambda: os.pwrite(fd, b"x", (1 << 63) - 2)), outcome(lambda: os.ftruncate(fd, (1 << 63) - 1)),
            outcome(lambda: os.lseek(fd, -1, os.SEEK_SET)), outcome(lambda: os.pwrite(fd, b"x", -1))]
    os.ftruncate(fd, 0)
    out.append(os.fstat(fd).st_blocks)
    return out


@story
def file_size_limit(d):
    import resource

    def limited():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        fd = os.open(d + b"/f", os.O_CREAT | os.O_RDWR)
        return [os.write(fd, b"x" * 1500), outcome(lambda: os.write(fd, b"x")), outcome(lambda: os.ftruncate(fd, 2000)),
                outcome(lambda: os.posix_fallocate(fd, 0, 3000)), os.fstat(fd).st_size]
    return child(limited)()


@story
def birth_and_change(d):
    write(d + b"/f", b"x")
    first = statx(d + b"/f")
    time.sleep(0.02)
    os.chmod(d + b"/f", 0o600)
    second = statx(d + b"/f")
    return [first["mask"] & 0x800 != 0, first["btime"] == second["btime"], second["ctime"] > first["ctime"], first["mtime"] == second["mtime"],
            abs(first["btime"] - time.time()) < 60]


def statx(path):
    import ctypes
    buffer = ctypes.create_string_buffer(256)
    call("statx", -100, path, 0x100, 0xFFF, buffer)
    at = lambda offset: (lambda s, n: s + n / 1e9)(*struct.unpack_from("qI", buffer, offset))
    return {"mask": struct.unpack_from("I", buffer, 0)[0], "btime": at(0x50), "ctime": at(0x60), "mtime": at(0x70)}


@story
def access_times(d):
    """As relatime: only if it would look unread."""
    path = write(d + b"/f", b"x" * 10)
    os.mkdir(d + b"/dir")
    os.symlink(b"f", d + b"/link")
    out = []

    def moved(path, act):
        before = os.lstat(path).st_atime_ns
        time.sleep(0.01)
        act()
        return os.lstat(path).st_atime_ns > before
    read = lambda: os.close(reads(path))
    out += [moved(path, read), moved(path, read)]
    os.utime(path, ns=(10**18, 10**18))
    out += [moved(path, read), moved(path, read)]
    out += [moved(d + b"/dir", lambda: os.listdir(d + b"/dir")), moved(d + b"/dir", lambda: os.listdir(d + b"/dir"))]
    out += [moved(d + b"/link", lambda: os.readlink(d + b"/link")), moved(path, lambda: os.close(os.open(path, os.O_RDONLY)))]
    os.utime(path, ns=(10**18, 10**18))
    out += [moved(path, lambda: os.read(os.open(path, os.O_RDONLY | os.O_NOATIME), 3))]
    return out


def reads(path):
    fd = os.open(path, os.O_RDONLY)
    os.read(fd, 5)
    return fd


@story
def record_locks(d):
    path = write(d + b"/f", b"0" * 100)
    fd = os.open(path, os.O_RDWR)
    out = []
    lock(fd, WRITE, 0, 100)
    out.append(seen_from_outside(path))
    lock(fd, UNLOCK, 40, 20)
    out.append(seen_from_outside(path, (0, 40), (40, 20), (45, 5), (50, 30), (60, 0)))
    lock(fd, READ, 10, 10)
    out.append(seen_from_outside(path, (0, 10), (10, 10), (20, 5), (0, 0)))
    lock(fd, WRITE, 10, 10)
    out.append(seen_from_outside(path))
    lock(fd, READ, 90, 0)
    out.append(seen_from_outside(path, (95, 0), (1 << 40, 10)))
    lock(fd, WRITE, -10, 5, whence=2)
    out.append(seen_from_outside(path, (90, 5), (85, 5)))
    out.append(outcome(lambda: lock(fd, WRITE, -1000, 5, whence=2)))
    out.append(outcome(lambda: lock(fd, WRITE, 10, -5)))
    out.append(outcome(lambda: lock(fd, WRITE, 3, -5)))
    out.append(outcome(lambda: lock(fd, 7, 0, 0)))
    # Closing any descriptor of the file gives up all of the process.
    os.close(os.open(path, os.O_RDONLY))
    out.append(seen_from_outside(path))
    reader = os.open(path, os.O_RDONLY)
    out += [outcome(lambda: lock(reader, WRITE)), outcome(lambda: lock(reader, READ))]
    out.append(outcome(lambda: lock(os.open(path, os.O_WRONLY), READ)))
    return out


@story
def locks_and_fork(d):
    path = write(d + b"/f", b"0" * 100)
    fd = os.open(path, os.O_RDWR)
    lock(fd, WRITE, 0, 10)

    def inherited():
        taken = outcome(lambda: lock(fd, WRITE, 0, 10))
        os.close(fd)
        return taken
    return [child(inherited)(), seen_from_outside(path)]


@story
def shared_and_exclusive(d):
    path = write(d + b"/f", b"0" * 100)
    fd = os.open(path, os.O_RDWR)
    lock(fd, READ, 0, 50)

    def other():
        mine = os.open(path, os.O_RDWR)
        return [outcome(lambda: lock(mine, READ, 0, 50)), outcome(lambda: lock(mine, WRITE, 0, 10)), outcome(lambda: lock(mine, WRITE, 50, 10)),
                outcome(lambda: lock(mine, WRITE, 0, 50))]
    return child(other)()


@story
def waiting_for_locks(d):
    path = write(d + b"/f", b"0" * 100)
    fd = os.open(path, os.O_RDWR)
    lock(fd, WRITE)

    def waits():
        mine = os.open(path, os.O_RDWR)
        began = time.monotonic()
        lock(mine, WRITE, wait=True)
        return time.monotonic() - began > 0.15
    join = child(waits)
    time.sleep(0.3)
    lock(fd, UNLOCK)
    return join()


@story
def interrupted_waits(d):
    path = write(d + b"/f", b"0" * 100)
    fd = os.open(path, os.O_RDWR)
    lock(fd, WRITE)
    fcntl.flock(fd, fcntl.LOCK_EX)

    class Alarm(Exception):
        pass

    def waits(act):
        def handler(*_):
            raise Alarm()
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        try:
            act(os.open(path, os.O_RDWR))
            return "granted"
        except Alarm:
            return "interrupted"
    out = [child(lambda: waits(lambda mine: lock(mine, WRITE, wait=True)))(),
           child(lambda: waits(lambda mine: fcntl.flock(mine, fcntl.LOCK_EX)))(),
           child(lambda: waits(lambda mine: lock(mine, WRITE, wait=True, ofd=True)))()]
    # Nothing of the wait is left.
    lock(fd, UNLOCK)
    fcntl.flock(fd, fcntl.LOCK_UN)
    return out + [seen_from_outside(path), outcome(lambda: fcntl.flock(os.open(path, os.O_RDWR), fcntl.LOCK_EX | fcntl.LOCK_NB))]


@story
def deadlocks(d):
    path = write(d + b"/f", b"0" * 100)
    fd = os.open(path, os.O_RDWR)
    lock(fd, WRITE, 0, 1)
    ready, tell = os.pipe()

    def other():
        mine = os.open(path, os.O_RDWR)
        lock(mine, WRITE, 1, 1)
        os.write(tell, b"x")
        lock(mine, WRITE, 0, 1, wait=True)
    join = child(other)
    os.read(ready, 1)
    time.sleep(0.2)
    out = [outcome(lambda: lock(fd, WRITE, 1, 1, wait=True))]
    lock(fd, UNLOCK)
    return out + [join()]


@story
def death_of_a_holder(d):
    path = write(d + b"/f", b"0" * 100)
    ready, tell = os.pipe()

    def hold():
        mine = os.open(path, os.O_RDWR)
        lock(mine, WRITE)
        fcntl.flock(mine, fcntl.LOCK_EX)
        os.write(tell, b"x")
        time.sleep(60)
    join = child(hold)
    os.read(ready, 1)
    fd = os.open(path, os.O_RDWR)
    out = [outcome(lambda: lock(fd, WRITE)), outcome(lambda: fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB))]

    def wait():
        mine = os.open(path, os.O_RDWR)
        lock(mine, WRITE, wait=True)
        fcntl.flock(mine, fcntl.LOCK_EX)
    waiter = child(wait)
    time.sleep(0.1)
    os.kill(join.pid, signal.SIGKILL)
    return out + [join(), waiter()]


@story
def whole_file_locks(d):
    path = write(d + b"/f", b"0")
    nb = fcntl.LOCK_NB
    a, b, c = (os.open(path, os.O_RDWR) for _ in range(3))
    out = [outcome(lambda: fcntl.flock(a, fcntl.LOCK_SH | nb)), outcome(lambda: fcntl.flock(b, fcntl.LOCK_SH | nb)),
           outcome(lambda: fcntl.flock(c, fcntl.LOCK_EX | nb))]
    fcntl.flock(b, fcntl.LOCK_UN)
    out += [outcome(lambda: fcntl.flock(a, fcntl.LOCK_EX | nb)), outcome(lambda: fcntl.flock(b, fcntl.LOCK_SH | nb))]
    # A duplicate is the same lock, and holds it until the last is closed.
    twin = os.dup(a)
    os.close(a)
    out.append(outcome(lambda: fcntl.flock(b, fcntl.LOCK_SH | nb)))
    out.append(child(lambda: fcntl.flock(twin, fcntl.LOCK_SH | nb))())
    out.append(outcome(lambda: fcntl.flock(b, fcntl.LOCK_SH | nb)))
    fcntl.flock(b, fcntl.LOCK_UN)
    child(lambda: fcntl.flock(twin, fcntl.LOCK_UN))()
    out.append(outcome(lambda: fcntl.flock(b, fcntl.LOCK_EX | nb)))
    os.close(b)
    out.append(outcome(lambda: fcntl.flock(c, fcntl.LOCK_EX | nb)))
    # The two kinds of locks do not see each other.
    out.append(child(lambda: lock(os.open(path, os.O_RDWR), WRITE))())
    return out


@story
def locks_of_descriptions(d):
    path = write(d + b"/f", b"0" * 100)
    a, b = (os.open(path, os.O_RDWR) for _ in range(2))
    lock(a, WRITE, 0, 10, ofd=True)
    out = [outcome(lambda: lock(b, WRITE, 5, 10, ofd=True)), test_lock(b, READ, 0, 0, ofd=True), outcome(lambda: lock(b, WRITE, 10, 10, ofd=True)),
           outcome(lambda: lock(a, WRITE, 0, 5)), test_lock(a, UNLOCK, 0, 0, ofd=True)]
    twin = os.dup(a)
    os.close(a)
    out.append(outcome(lambda: lock(b, READ, 0, 10, ofd=True)))
    os.close(twin)
    return out + [outcome(lambda: lock(b, READ, 0, 10, ofd=True))]


@story
def running_programs(d):
    """What runs cannot be written, what is written cannot be run."""
    import shutil
    shutil.copy("/bin/sleep", d + b"/sleep")
    pid = os.posix_spawn(d + b"/sleep", ["sleep", "5"], {})
    out = [outcome(lambda: os.open(d + b"/sleep", os.O_WRONLY)), outcome(lambda: os.truncate(d + b"/sleep", 0)), outcome(lambda: os.unlink(d + b"/sleep"))]
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    shutil.copy("/bin/sleep", d + b"/sleep")
    fd = os.open(d + b"/sleep", os.O_WRONLY)
    out.append(child(lambda: os.execv(d + b"/sleep", ["sleep", "0"]))())
    os.close(fd)
    return out


@story
def copies(d):
    data = random.Random(3).randbytes(300_000)
    write(d + b"/a", data)
    a = os.open(d + b"/a", os.O_RDWR)
    b = os.open(d + b"/b", os.O_RDWR | os.O_CREAT)
    out = [os.copy_file_range(a, b, 300_000, 0, 100), os.fstat(b).st_size, os.pread(b, 300_000, 100) == data]
    out += [outcome(lambda: os.copy_file_range(a, b, 100, 1 << 20, 0)), outcome(lambda: os.copy_file_range(a, a, 100, 0, 50)),
            outcome(lambda: os.copy_file_range(a, a, 100, 0, 200_000)), os.pread(a, 100, 200_000) == data[:100],
            outcome(lambda: os.copy_file_range(b, os.open(d + b"/a", os.O_RDONLY), 10, 0, 0)),
            outcome(lambda: os.copy_file_range(a, os.open(d + b"/b", os.O_WRONLY | os.O_APPEND), 10, 0, 0)),
            outcome(lambda: os.copy_file_range(os.open(d, os.O_RDONLY), b, 10, 0, 0)), os.copy_file_range(a, b, 0, 0, 0)]
    return out


@story
def mappings(d):
    import mmap
    path = write(d + b"/f", b"0123456789" * 1000)
    fd = os.open(path, os.O_RDWR)
    with mmap.mmap(fd, 10_000) as shared, mmap.mmap(fd, 10_000, flags=mmap.MAP_PRIVATE) as private:
        shared[5000:5005] = b"abcde"
        out = [os.pread(fd, 5, 5000).decode()]
        os.pwrite(fd, b"ABCDE", 100)
        out.append(shared[100:105].decode())
        private[0:3] = b"xyz"
        out += [os.pread(fd, 3, 0).decode(), shared[0:3].decode()]
        shared.flush()
        before = os.fstat(fd).st_mtime_ns
        time.sleep(0.02)
        shared[0] = 65
        shared.flush()
        out.append(os.fstat(fd).st_mtime_ns > before)
        pid = os.fork()
        if pid == 0:
            shared[9000:9004] = b"kid!"
            os._exit(0)
        os.waitpid(pid, 0)
        out.append(shared[9000:9004].decode())
    os.close(fd)
    with open(path, "rb") as f:
        out.append(f.read()[9000:9004].decode())
    return out


@story
def special_files(d):
    os.mkfifo(d + b"/fifo")
    join = child(lambda: open(d + b"/fifo", "w").write("through the pipe") and 0)
    with open(d + b"/fifo") as f:
        out = [f.read(), join()]
    import socket
    os.chdir(d)
    server = socket.socket(socket.AF_UNIX)
    server.bind("socket")
    server.listen()
    client = socket.socket(socket.AF_UNIX)
    client.connect("socket")
    out.append(stat.filemode(os.stat("socket").st_mode))
    out.append(outcome(lambda: os.open("socket", os.O_RDONLY)))
    os.mknod("null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    out.append(os.write(os.open("null", os.O_WRONLY), b"gone"))
    os.chdir("/")
    return out


@story
def times_survive(d):
    """What a program set stays, whatever is written back later."""
    fd = os.open(d + b"/f", os.O_CREAT | os.O_WRONLY)
    os.write(fd, b"x" * 100_000)
    os.utime(d + b"/f", ns=(10**18 + 1, 10**18 + 2))
    ctime = os.stat(d + b"/f").st_ctime_ns
    os.fsync(fd)
    os.close(fd)
    st = os.stat(d + b"/f")
    out = [st.st_mtime_ns, st.st_atime_ns, st.st_ctime_ns == ctime]
    write(d + b"/g", b"x")
    os.chmod(d + b"/g", 0o600)
    st = os.stat(d + b"/g")
    os.sync()
    time.sleep(0.1)
    again = os.stat(d + b"/g")
    return out + [again.st_ctime_ns == st.st_ctime_ns, again.st_mtime_ns == st.st_mtime_ns]


def run(stories):
    os.umask(0o022)
    for name, tell in stories.items():
        if sys.argv[2:] and name not in sys.argv[2:]:
            continue
        directory = top + b"/" + name.encode()
        os.mkdir(directory)
        os.chmod(directory, 0o777)
        began = time.monotonic()
        try:
            result = tell(directory)
        except BaseException as error:
            result = {"failed": repr(error), "at": traceback.format_exc().splitlines()[-3:-1]}
        print(json.dumps({"case": name, "result": result, "seconds": round(time.monotonic() - began, 2)}), flush=True)


if __name__ == "__main__":
    run(stories)
