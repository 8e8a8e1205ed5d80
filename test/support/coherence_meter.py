"""How stale one mount's view is right after a call has returned on another.

Arguments: rounds, then two mounts. For each kind of change, in each round: make it on the first mount, look on the
second at once; where that shows the old state, look again until it shows the new one. Prints a line for each kind:
its name, how many looks were stale, and the longest time in ms until the change was seen. The second mount has looked
before each change, so that it has something to be stale about.
"""

import mmap
import os
import sys
import time

rounds, first, second = int(sys.argv[1]), sys.argv[2], sys.argv[3]
FOLDER = "meter"


def exists(path):
    try:
        os.stat(path)
        return True
    except FileNotFoundError:
        return False


def content(path, length=64):
    fd = os.open(path, os.O_RDONLY)
    try:
        return os.pread(fd, length, 0)
    finally:
        os.close(fd)


class Meter:
    def __init__(self):
        self.a, self.b = f"{first}/{FOLDER}", f"{second}/{FOLDER}"
        os.mkdir(self.a)
        self.results = {}

    def measure(self, kind, look, expected):
        """`look` must give `expected` at once."""
        began = time.monotonic()
        stale, longest = self.results.get(kind, (0, 0.0))
        if look() != expected:
            while look() != expected:
                assert time.monotonic() - began < 60, f"{kind}: never seen"
            stale += 1
            longest = max(longest, time.monotonic() - began)
        self.results[kind] = (stale, longest)

    def create(self, i):
        path = f"{self.b}/new-{i}"
        assert not exists(path)
        os.close(os.open(f"{self.a}/new-{i}", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
        self.measure("create", lambda: exists(path), True)

    def rename(self, i):
        assert exists(f"{self.b}/new-{i}") and not exists(f"{self.b}/moved-{i}")
        os.rename(f"{self.a}/new-{i}", f"{self.a}/moved-{i}")
        look = lambda: (exists(f"{self.b}/new-{i}"), exists(f"{self.b}/moved-{i}"))
        self.measure("rename", look, (False, True))

    def chmod(self, i):
        path = f"{self.b}/moved-{i}"
        mode = 0o600 if i % 2 else 0o640
        os.stat(path)
        os.chmod(f"{self.a}/moved-{i}", mode)
        self.measure("chmod", lambda: os.stat(path).st_mode & 0o777, mode)

    def unlink(self, i):
        path = f"{self.b}/moved-{i}"
        assert exists(path)
        os.unlink(f"{self.a}/moved-{i}")
        self.measure("unlink", lambda: exists(path), False)

    def write(self, i):
        """By a descriptor that stays open, to a file whose content and size were looked at."""
        text = f"{i:063}\n".encode()
        content(self.data_b)
        assert os.pwrite(self.writer, text, 0) == len(text)
        self.measure("write", lambda: content(self.data_b), text)
        self.measure("write, by an open file", lambda: os.pread(self.reader, 64, 0), text)

    def append(self, i):
        size = os.stat(self.log_b).st_size
        assert os.write(self.appender, b"x" * 10) == 10
        self.measure("append", lambda: os.stat(self.log_b).st_size, size + 10)

    def truncate(self, i):
        path = self.data_b
        size = 64 + i % 50
        os.stat(path)
        os.truncate(f"{self.a}/data", size)
        self.measure("truncate", lambda: os.stat(path).st_size, size)
        self.measure("truncate, by an open file", lambda: os.fstat(self.reader).st_size, size)

    def store(self, i):
        text = f"{i:062}!\n".encode()
        content(self.data_b)
        self.map[0 : len(text)] = text
        self.map.flush()
        self.measure("mmap and msync", lambda: content(self.data_b), text)
        self.measure("mmap and msync, by a mapping", lambda: self.map_b[0:64], text)

    def run(self):
        with open(f"{self.a}/data", "wb") as file:
            file.write(bytes(64))
        with open(f"{self.a}/log", "wb"):
            pass
        self.data_b, self.log_b = f"{self.b}/data", f"{self.b}/log"
        self.writer = os.open(f"{self.a}/data", os.O_RDWR)
        self.reader = os.open(self.data_b, os.O_RDONLY)
        self.appender = os.open(f"{self.a}/log", os.O_WRONLY | os.O_APPEND)
        self.map = mmap.mmap(self.writer, 64)
        self.map_b = mmap.mmap(self.reader, 64, mmap.MAP_SHARED, mmap.PROT_READ)
        for kind in (self.create, self.rename, self.chmod, self.unlink, self.write, self.append, self.truncate, self.store):
            for i in range(rounds):
                kind(i)
        for fd in (self.writer, self.reader, self.appender):
            os.close(fd)
        self.map.close()
        self.map_b.close()
        for kind, (stale, longest) in self.results.items():
            print(f"{kind}: {stale} stale, longest {longest * 1000:.1f} ms")
        for name in ("data", "log"):
            os.unlink(f"{self.a}/{name}")
        os.rmdir(self.a)


Meter().run()
