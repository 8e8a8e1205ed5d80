"""Random operations on one file, every byte compared with a model; prints "ok" or what was wrong.

    file_stress.py FILE SEED OPERATIONS
    file_stress.py FILE SEED OPERATIONS shared      two processes on the file, taking turns by a record lock

In the second form the model is the file beside it, which both read and write under the same lock.
"""

import ctypes
import errno
import fcntl
import mmap
import os
import random
import sys

from syscalls_libc import call

path, seed, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
MAX = 1 << 20
KEEP_SIZE, PUNCH, ZERO = 1, 2, 16


class Wrong(Exception):
    pass


class Stress:
    def __init__(self, seed):
        self.dice = random.Random(seed)
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT)
        self.model = bytearray()
        self.history = []

    def bytes(self, length):
        return self.dice.randbytes(length)

    def range(self):
        """Offsets and lengths with a liking for pages, pieces and the end of the file."""
        end = len(self.model)
        at = self.dice.choice([self.dice.randrange(MAX), self.dice.randrange(1 + end), end, self.dice.randrange(MAX // 4096) * 4096])
        length = self.dice.choice([1, 100, 4096, 65536, self.dice.randrange(1, 200_000)])
        return at, max(1, min(length, MAX - at)) if at < MAX else 1

    def grow(self, size):
        if size > len(self.model):
            self.model.extend(bytes(size - len(self.model)))

    def put(self, at, data):
        self.grow(at + len(data))
        self.model[at:at + len(data)] = data

    def compare(self, what, got, at):
        want = bytes(self.model[at:at + len(got)])
        if got != want:
            bad = next(i for i in range(len(want)) if i >= len(got) or got[i] != want[i])
            raise Wrong(f"{what}: byte {at + bad} is {got[bad:bad + 8].hex()}, not {want[bad:bad + 8].hex()}")

    def read(self):
        at, length = self.range()
        got = os.pread(self.fd, length, at)
        if len(got) != max(0, min(length, len(self.model) - at)):
            raise Wrong(f"read of {length} at {at} gave {len(got)} of a file of {len(self.model)}")
        self.compare("read", got, at)

    def write(self):
        at, length = self.range()
        data = self.bytes(length)
        if os.pwrite(self.fd, data, at) != length:
            raise Wrong("short write")
        self.put(at, data)

    def writev(self):
        at, _ = self.range()
        parts = [self.bytes(self.dice.randrange(5000)) for _ in range(4)]
        os.pwritev(self.fd, parts, at)
        if any(parts):
            self.put(at, b"".join(parts))

    def append(self):
        fd = os.open(path, os.O_WRONLY | os.O_APPEND)
        data = self.bytes(self.dice.randrange(1, 5000))
        if len(self.model) + len(data) <= MAX:
            os.write(fd, data)
            self.put(len(self.model), data)
        os.close(fd)

    def truncate(self):
        size = self.dice.choice([self.dice.randrange(MAX), self.dice.randrange(1 + len(self.model)), 0])
        os.ftruncate(self.fd, size)
        del self.model[size:]
        self.grow(size)

    def map_read(self):
        if len(self.model) == 0:
            return
        with mmap.mmap(self.fd, len(self.model), prot=mmap.PROT_READ) as view:
            at = self.dice.randrange(len(self.model))
            self.compare("mapped read", view[at:at + 50_000], at)

    def map_write(self):
        if len(self.model) == 0:
            return
        with mmap.mmap(self.fd, len(self.model)) as view:
            at = self.dice.randrange(len(self.model))
            data = self.bytes(min(self.dice.randrange(1, 20_000), len(self.model) - at))
            view[at:at + len(data)] = data
            if self.dice.random() < 0.5:
                view.flush()
        self.put(at, data)

    def allocate(self, mode):
        at, length = self.range()
        call("fallocate", self.fd, mode, ctypes.c_longlong(at), ctypes.c_longlong(length))
        if not mode & KEEP_SIZE:
            self.grow(at + length)
        if mode & (PUNCH | ZERO):
            stop = min(at + length, len(self.model))
            if stop > at:
                self.model[at:stop] = bytes(stop - at)

    def copy(self):
        at, length = self.range()
        to, _ = self.range()
        length = min(length, max(0, len(self.model) - at), MAX - to)
        if length <= 0 or abs(at - to) < length:
            return
        done = 0
        while done < length:
            step = os.copy_file_range(self.fd, self.fd, length - done, at + done, to + done)
            if step == 0:
                raise Wrong("nothing was copied")
            done += step
        self.put(to, bytes(self.model[at:at + length]))

    def reopen(self):
        os.close(self.fd)
        self.fd = os.open(path, os.O_RDWR)

    def seek(self):
        """What is called a hole reads as zeros."""
        at = self.dice.randrange(1 + len(self.model))
        try:
            data = os.lseek(self.fd, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            data = len(self.model)
        if any(self.model[at:data]):
            raise Wrong(f"lseek said that from {at} to {data} is a hole")

    def size(self):
        if os.fstat(self.fd).st_size != len(self.model):
            raise Wrong(f"size {os.fstat(self.fd).st_size}, not {len(self.model)}")

    def whole(self):
        self.size()
        self.compare("the whole file", os.pread(self.fd, MAX * 2, 0), 0)

    def step(self):
        weights = {
            "read": (20, self.read), "write": (20, self.write), "writev": (4, self.writev), "append": (4, self.append),
            "truncate": (8, self.truncate), "map_read": (8, self.map_read), "map_write": (8, self.map_write),
            "allocate": (3, lambda: self.allocate(0)), "keep": (2, lambda: self.allocate(KEEP_SIZE)),
            "punch": (6, lambda: self.allocate(PUNCH | KEEP_SIZE)), "zero": (4, lambda: self.allocate(ZERO)),
            "zero-keep": (3, lambda: self.allocate(ZERO | KEEP_SIZE)), "copy": (6, self.copy), "fsync": (2, lambda: os.fsync(self.fd)),
            "reopen": (4, self.reopen), "seek": (4, self.seek), "size": (6, self.size), "whole": (1, self.whole),
        }
        name = self.dice.choices(list(weights), [weight for weight, _ in weights.values()])[0]
        self.history.append(name)
        weights[name][1]()


def alone():
    stress = Stress(seed)
    try:
        for _ in range(count):
            stress.step()
        stress.whole()
        stress.reopen()
        stress.whole()
    except (Wrong, OSError) as error:
        return f"seed {seed}, operation {len(stress.history)}: {error}; before it {' '.join(stress.history[-12:])}"
    return "ok"


def shared():
    """Each process takes the lock, loads the model, does some steps, keeps the model, gives up the lock."""
    beside = path + ".model"
    for name in (path, beside):
        os.close(os.open(name, os.O_CREAT | os.O_RDWR))

    def run(number):
        stress = Stress(seed * 10 + number)
        gate = os.open(beside, os.O_RDWR)
        for _ in range(count // 20):
            fcntl.lockf(gate, fcntl.LOCK_EX)
            stress.model = bytearray(os.pread(gate, MAX * 2, 0))
            for _ in range(10):
                stress.step()
            os.pwrite(gate, stress.model, 0)
            os.ftruncate(gate, len(stress.model))
            fcntl.lockf(gate, fcntl.LOCK_UN)
        return stress

    pids = []
    for number in range(2):
        pid = os.fork()
        if pid == 0:
            try:
                run(number)
            except (Wrong, OSError) as error:
                print(f"process {number}: {error}", flush=True)
                os._exit(1)
            os._exit(0)
        pids.append(pid)
    return "ok" if all(os.waitpid(pid, 0)[1] == 0 for pid in pids) else "failed"


print((shared if "shared" in sys.argv[4:] else alone)(), flush=True)
