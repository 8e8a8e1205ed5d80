"""Lock cases between processes on several mounts of one cluster: `locks.py CASE PATH...`, a path on each mount.

Prints a line a case; ends with an error at the first that fails. With one path it runs on any local file system,
which is how the cases were checked against Linux itself.
"""

import ctypes
import errno
import fcntl
import multiprocessing
import os
import signal
import struct
import sys
import time

F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLKW = 36, 37, 38
RD, WR, UN = fcntl.F_RDLCK, fcntl.F_WRLCK, fcntl.F_UNLCK
context = multiprocessing.get_context("fork")


def flock_struct(kind, whence, start, length):
    return struct.pack("hhqqi4x", kind, whence, start, length, 0)


def setlk(fd, kind, start=0, length=0, whence=os.SEEK_SET, wait=False, ofd=False):
    if ofd:
        command = F_OFD_SETLKW if wait else F_OFD_SETLK
    else:
        command = fcntl.F_SETLKW if wait else fcntl.F_SETLK
    fcntl.fcntl(fd, command, flock_struct(kind, whence, start, length))


def getlk(fd, kind, start=0, length=0):
    found = fcntl.fcntl(fd, fcntl.F_GETLK, flock_struct(kind, os.SEEK_SET, start, length))
    return struct.unpack("hhqqi4x", found)


def code(call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except OSError as error:
        return errno.errorcode[error.errno]
    return "ok"


def soon(what, expected):
    """The kernel tells a FUSE file system of the last close of a file without waiting for it."""
    for _ in range(100):
        if what() == expected:
            return
        time.sleep(0.05)
    same(what(), expected)


class Other:
    """A process on another mount that does what it is told."""

    def __init__(self, path):
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=self.serve, args=(path, theirs), daemon=True)
        self.process.start()

    @staticmethod
    def serve(path, pipe):
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        files = {}
        while True:
            what, args, kwargs = pipe.recv()
            try:
                if what == "open":
                    files[args[0]] = os.open(path, os.O_RDWR)
                    answer = "ok"
                elif what == "close":
                    os.close(files.pop(args[0]))
                    answer = "ok"
                elif what == "setlk":
                    setlk(files[args[0]], *args[1:], **kwargs)
                    answer = "ok"
                elif what == "flock":
                    fcntl.flock(files[args[0]], args[1])
                    answer = "ok"
                elif what == "getlk":
                    answer = getlk(files[args[0]], *args[1:])
                elif what == "pid":
                    answer = os.getpid()
                elif what == "read":
                    answer = os.pread(files[args[0]], 100, 0)
                elif what == "exit":
                    os._exit(0)
            except OSError as error:
                answer = errno.errorcode[error.errno]
            pipe.send(answer)

    def start(self, what, *args, **kwargs):
        self.pipe.send((what, args, kwargs))

    def answer(self, seconds=20):
        assert self.pipe.poll(seconds), "no answer"
        return self.pipe.recv()

    def waits(self, seconds=0.3):
        return not self.pipe.poll(seconds)

    def __call__(self, what, *args, **kwargs):
        self.start(what, *args, **kwargs)
        return self.answer()


def same(got, expected):
    assert got == expected, f"got {got!r}, expected {expected!r}"


def case_ranges(fd, other, path):
    """Split, merge, upgrade, downgrade, to the end, from the end."""
    same(other("open", 1), "ok")
    taken = lambda kind, start, length: other("setlk", 1, kind, start, length)

    def probe(expected):
        """Which bytes of 0..9 another may lock for reading (r), writing (w), not at all (-)."""
        seen = ""
        for at in range(10):
            free = [taken(kind, at, 1) for kind in (RD, WR)]
            same(other("setlk", 1, UN), "ok")
            seen += "w" if free[1] == "ok" else "r" if free[0] == "ok" else "-"
        same(seen, expected)

    setlk(fd, WR, 2, 6)
    probe("ww------ww")
    setlk(fd, RD, 4, 2)
    probe("ww--rr--ww")
    setlk(fd, UN, 3, 1)
    probe("ww-wrr--ww")
    setlk(fd, WR, 3, 3)
    probe("ww------ww")
    setlk(fd, RD, 0, 0)
    probe("rrrrrrrrrr")
    setlk(fd, UN, 5, 0)
    probe("rrrrrwwwww")
    setlk(fd, UN)
    os.truncate(path, 8)
    setlk(fd, WR, -3, 2, os.SEEK_END)
    probe("wwwww--www")
    os.lseek(fd, 1, os.SEEK_SET)
    setlk(fd, WR, 0, 2, os.SEEK_CUR)
    setlk(fd, RD, 4, -2)
    probe("w-rrw--www")
    setlk(fd, UN)
    same(code(setlk, fd, WR, -1, 1), "EINVAL")
    setlk(fd, WR, (1 << 63) - 1, 1)
    same(taken(RD, 0, 0), "EAGAIN")
    same(taken(RD, 0, (1 << 63) - 1), "ok")


def case_getlk(fd, other, path):
    """F_GETLK names what is in the way, and a process of the same machine."""
    other("open", 1)
    same(other("setlk", 1, RD, 10, 5), "ok")
    same(getlk(fd, RD, 0, 100)[0], UN)
    kind, whence, start, length, pid = getlk(fd, WR, 0, 100)
    same((kind, whence, start, length), (RD, 0, 10, 5))
    assert pid in (0, other("pid")), pid
    same(other("setlk", 1, WR, 20, 0), "ok")
    same(getlk(fd, RD, 18, 0)[:4], (WR, 0, 20, 0))


def case_close(fd, other, path):
    """Closing any descriptor of the file ends a process's locks on it; exit does, too; fork inherits none."""
    other("open", 1)
    setlk(fd, WR)
    same(other("setlk", 1, RD), "EAGAIN")
    os.close(os.open(path, os.O_RDONLY))
    same(other("setlk", 1, WR), "ok")
    other("open", 2)
    same(code(setlk, fd, WR), "EAGAIN")
    other("close", 2)
    setlk(fd, WR)
    child = os.fork()
    if child == 0:
        os._exit(0 if code(setlk, fd, WR) == "EAGAIN" else 1)
    same(os.waitpid(child, 0)[1], 0)
    same(other("setlk", 1, RD), "EAGAIN")


def case_exit(fd, other, path):
    """The death of a process ends its locks of every kind, and lets those through who wait."""
    for how in ("exit", "kill"):
        for kind in ("posix", "ofd", "flock"):
            dying = Other(path)
            dying("open", 1)
            if kind == "flock":
                same(dying("flock", 1, fcntl.LOCK_EX), "ok")
                waiter = Other(other)
                waiter("open", 1)
                waiter.start("flock", 1, fcntl.LOCK_EX)
            else:
                same(dying("setlk", 1, WR, ofd=kind == "ofd"), "ok")
                waiter = Other(other)
                waiter("open", 1)
                waiter.start("setlk", 1, WR, wait=True)
            assert waiter.waits(), f"{kind} does not wait"
            if how == "exit":
                dying.start("exit")
            else:
                os.kill(dying.process.pid, signal.SIGKILL)
            same(waiter.answer(), "ok")
            waiter.start("exit")
            waiter.process.join()


def case_flock(fd, other, path):
    """flock belongs to the open file: dup and fork share it; it does not see fcntl; conversion may lose it."""
    other("open", 1)
    fcntl.flock(fd, fcntl.LOCK_EX)
    same(other("flock", 1, fcntl.LOCK_SH | fcntl.LOCK_NB), "EAGAIN")
    same(other("setlk", 1, WR), "ok")
    copy = os.dup(fd)
    os.close(copy)
    same(other("flock", 1, fcntl.LOCK_SH | fcntl.LOCK_NB), "EAGAIN")
    child = os.fork()
    if child == 0:
        fcntl.flock(fd, fcntl.LOCK_UN)
        os._exit(0)
    os.waitpid(child, 0)
    same(other("flock", 1, fcntl.LOCK_EX | fcntl.LOCK_NB), "ok")
    own = os.open(path, os.O_RDONLY)
    same(code(fcntl.flock, own, fcntl.LOCK_SH | fcntl.LOCK_NB), "EAGAIN")
    same(other("flock", 1, fcntl.LOCK_SH), "ok")
    fcntl.flock(own, fcntl.LOCK_SH)
    same(code(fcntl.flock, own, fcntl.LOCK_EX | fcntl.LOCK_NB), "EAGAIN")
    os.close(own)
    soon(lambda: other("flock", 1, fcntl.LOCK_EX | fcntl.LOCK_NB), "ok")


def case_ofd(fd, other, path):
    """An open file description's locks live as long as it does, are inherited, and see those of processes."""
    other("open", 1)
    setlk(fd, WR, 0, 10, ofd=True)
    same(other("setlk", 1, RD, 9, 1), "EAGAIN")
    os.close(os.open(path, os.O_RDONLY))
    same(other("setlk", 1, RD, 9, 1), "EAGAIN")
    same(code(setlk, fd, WR, 0, 10), "EAGAIN")
    second = os.open(path, os.O_RDWR)
    same(code(setlk, second, WR, 5, 1, ofd=True), "EAGAIN")
    setlk(second, WR, 20, 1, ofd=True)
    os.close(second)
    soon(lambda: other("setlk", 1, WR, 20, 1), "ok")
    child = os.fork()
    if child == 0:
        setlk(fd, UN, 0, 5, ofd=True)
        os._exit(0)
    os.waitpid(child, 0)
    same(other("setlk", 1, WR, 0, 5), "ok")
    same(other("setlk", 1, WR, 5, 1), "EAGAIN")


def case_blocking(fd, other, path):
    """Waits end when the lock is free, in their order; a writer is not kept out by readers that come later."""
    readers = [Other(other), Other(other)]
    for each in readers:
        each("open", 1)
    setlk(fd, RD)
    writer = Other(path)
    writer("open", 1)
    writer.start("setlk", 1, WR, wait=True)
    assert writer.waits()
    readers[0].start("setlk", 1, RD, wait=True)
    same(readers[1]("setlk", 1, RD), "ok")
    same(readers[1]("setlk", 1, UN), "ok")
    if len(sys.argv) > 3:
        setlk(fd, UN)
        same(writer.answer(), "ok")
        assert readers[0].waits()
        same(writer("setlk", 1, UN), "ok")
        same(readers[0].answer(), "ok")
    else:
        # Linux lets the reader pass.
        same(readers[0].answer(), "ok")
        setlk(fd, UN)
        assert writer.waits()
        same(readers[0]("setlk", 1, UN), "ok")
        same(writer.answer(), "ok")
    for each in (writer, *readers):
        each.start("exit")
        each.process.join()


def case_deadlock(fd, other, path):
    """A circle of fcntl waits over two mounts is EDEADLK for one, and the other goes on."""
    other("open", 1)
    setlk(fd, WR, 0, 1)
    same(other("setlk", 1, WR, 1, 1), "ok")
    other.start("setlk", 1, WR, 0, 1, wait=True)
    assert other.waits()
    same(code(setlk, fd, WR, 1, 1, wait=True), "EDEADLOCK")
    setlk(fd, UN)
    same(other.answer(), "ok")


def case_signals(fd, other, path):
    """A signal ends a wait with EINTR; with SA_RESTART the wait goes on; nothing is left behind."""
    libc = ctypes.CDLL(None, use_errno=True)
    # glibc's struct sigaction: handler, mask of 128 bytes, flags, restorer.
    handler_type = ctypes.CFUNCTYPE(None, ctypes.c_int)

    class Action(ctypes.Structure):
        _fields_ = [("handler", handler_type), ("mask", ctypes.c_char * 128), ("flags", ctypes.c_int), ("restorer", ctypes.c_void_p)]

    count = []
    handler = handler_type(lambda number: count.append(number))
    other("open", 1)
    lock = struct.pack("hhqqi4x", WR, 0, 0, 0, 0)
    for how, expected in ((0, "EINTR"), (0x10000000, "ok")):
        for kind in ("fcntl", "flock"):
            same(other("setlk", 1, WR) if kind == "fcntl" else other("flock", 1, fcntl.LOCK_EX), "ok")
            ready, say = os.pipe()
            child = os.fork()
            if child == 0:
                action = Action(handler, b"", how, None)
                libc.sigaction(signal.SIGUSR1, ctypes.byref(action), None)
                own = os.open(path, os.O_RDWR)
                os.write(say, b"x")
                result = libc.fcntl(own, fcntl.F_SETLKW, lock) if kind == "fcntl" else libc.flock(own, fcntl.LOCK_EX)
                got = "ok" if result == 0 else errno.errorcode[ctypes.get_errno()]
                os._exit(0 if got == expected and len(count) == 1 else 1)
            os.read(ready, 1)
            time.sleep(0.3)
            os.kill(child, signal.SIGUSR1)
            time.sleep(0.3)
            ended, status = os.waitpid(child, os.WNOHANG)
            same(ended != 0, expected == "EINTR")
            other("setlk", 1, UN) if kind == "fcntl" else other("flock", 1, fcntl.LOCK_UN)
            if ended == 0:
                status = os.waitpid(child, 0)[1]
            same(status, 0)
            # The interrupted request does not come back. A flock ends just after the close of the child that had it.
            same(other("setlk", 1, WR) if kind == "fcntl" else other("flock", 1, fcntl.LOCK_EX), "ok")
            other("setlk", 1, UN) if kind == "fcntl" else other("flock", 1, fcntl.LOCK_UN)


def case_data(fd, other, path):
    """What was written before an unlock is read after the lock, also from pages that were cached before."""
    other("open", 1)
    for turn in range(50):
        setlk(fd, WR)
        os.pwrite(fd, b"turn %03d" % turn, 0)
        other.start("setlk", 1, RD, wait=True)
        setlk(fd, UN)
        same(other.answer(), "ok")
        same(other("read", 1)[:8], b"turn %03d" % turn)
        same(other("setlk", 1, UN), "ok")


def increment(path, kind, times):
    fd = os.open(path, os.O_RDWR)
    for _ in range(times):
        fcntl.flock(fd, fcntl.LOCK_EX) if kind == "flock" else setlk(fd, WR, 0, 8, wait=True, ofd=kind == "ofd")
        value = int(os.pread(fd, 8, 0))
        os.pwrite(fd, b"%08d" % (value + 1), 0)
        fcntl.flock(fd, fcntl.LOCK_UN) if kind == "flock" else setlk(fd, UN, 0, 8, ofd=kind == "ofd")
    os.close(fd)


def counter(paths, kind, times):
    """Processes on every mount count under a lock; none of their counts is lost."""
    with open(paths[0], "wb") as file:
        file.write(b"%08d" % 0)
    workers = [context.Process(target=increment, args=(path, kind, times)) for path in paths for _ in range(2)]
    began = time.monotonic()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        same(worker.exitcode, 0)
    for path in paths:
        with open(path, "rb") as file:
            same(int(file.read()), times * len(workers))
    print(f"{kind}: {times * len(workers)} in {time.monotonic() - began:.1f} s")


def main():
    what, paths = sys.argv[1], sys.argv[2:]
    if what == "counter":
        kind, times = paths[0], int(paths[1])
        counter(paths[2:], kind, times)
        return
    here, there = paths[0], paths[-1]
    for name, case in list(globals().items()):
        if not name.startswith("case_"):
            continue
        with open(here, "wb") as file:
            file.write(bytes(100))
        fd = os.open(here, os.O_RDWR)
        other = there if name in ("case_exit", "case_blocking") else Other(there)
        case(fd, other, here)
        os.close(fd)
        if isinstance(other, Other):
            other.start("exit")
            other.process.join()
        print(name)


main()
