"""Random calls on the same few files by way of several mounts, each compared with a model in memory.

One call at a time: whatever mount asks after a call has returned must see it. Arguments: seed, number of calls,
the mounts. Prints the seed; ends with code 1 and the last calls where a mount shows something else.
"""

import ctypes
import ctypes.util
import faulthandler
import mmap
import os
import random
import signal
import sys

PAGE = 4096
FILES = 3
LENGTH_MAX = 300_000
HANDLES = 10

libc = ctypes.CDLL(ctypes.util.find_library("c"), use_errno=True)
libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE = 1, 2, 16


def fallocate(fd, mode, offset, length):
    if libc.fallocate(fd, mode, offset, length) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


class Handle:
    def __init__(self, rng, mounts):
        self.file = rng.randrange(FILES)
        self.mount = rng.randrange(len(mounts))
        self.append = rng.random() < 0.2
        self.writes = self.append or rng.random() < 0.7
        flags = (os.O_RDWR if self.writes else os.O_RDONLY) | (os.O_APPEND if self.append else 0)
        self.fd = os.open(f"{mounts[self.mount]}/fsx-{self.file}", flags)
        self.map = None

    def mapped(self, size):
        """The file as memory, once it has content. A mapping stays when the file changes."""
        length = max(PAGE, (size + PAGE - 1) // PAGE * PAGE)
        # The kernel goes by the size that it has: a deviation (README.md, coherence_sizes.py).
        os_size = os.fstat(self.fd).st_size
        if self.map is None or len(self.map) < size:
            if self.map is not None:
                self.map.close()
            protection = mmap.PROT_READ | (mmap.PROT_WRITE if self.writes else 0)
            # Longer than the file, as mmap(2) allows.
            if os_size == 0:
                return None
            self.map = mmap.mmap(self.fd, min(length, os_size), mmap.MAP_SHARED, protection)
        return self.map

    def close(self):
        if self.map is not None:
            self.map.close()
        os.close(self.fd)


class Run:
    def __init__(self, seed, mounts):
        self.rng = random.Random(seed)
        self.mounts = mounts
        self.models = [bytearray() for _ in range(FILES)]
        for file in range(FILES):
            os.close(os.open(f"{mounts[0]}/fsx-{file}", os.O_CREAT | os.O_RDWR | os.O_TRUNC, 0o644))
        self.handles = [Handle(self.rng, mounts) for _ in range(HANDLES)]
        self.log = []
        self.times = [0] * FILES

    def note(self, text):
        self.log.append(text)
        del self.log[:-40]

    def range(self, model, beyond):
        offset = self.rng.randrange(min(LENGTH_MAX, len(model) + beyond) + 1)
        length = self.rng.choice([1, 10, 512, PAGE, 5000, 40_000])
        if self.rng.random() < 0.4:
            offset -= offset % PAGE
        return offset, min(length, LENGTH_MAX - offset)

    def grow(self, model, size):
        if len(model) < size:
            model.extend(bytes(size - len(model)))

    def put(self, model, offset, data):
        self.grow(model, offset + len(data))
        model[offset : offset + len(data)] = data

    def step(self, number):
        rng = self.rng
        index = rng.randrange(HANDLES)
        handle = self.handles[index]
        model = self.models[handle.file]
        where = f"#{number} handle {index} mount {handle.mount} file {handle.file}"
        kind = rng.choice(
            ["write"] * 6 + ["map"] * 3 + ["truncate", "punch", "zero", "grow", "copy", "reopen", "fsync", "utime"]
        )
        if kind == "reopen":
            handle.close()
            self.handles[index] = handle = Handle(rng, self.mounts)
            self.note(f"{where} reopen: mount {handle.mount} file {handle.file} {vars(handle)}")
            return
        if not handle.writes:
            return
        if kind == "write":
            offset, length = self.range(model, 20_000)
            if handle.append:
                offset = len(model)
                length = min(length, LENGTH_MAX - offset)
            data = rng.randbytes(length)
            if length == 0:
                return
            self.note(f"{where} write {offset}+{length}{' append' if handle.append else ''}")
            assert os.pwrite(handle.fd, data, offset) == length
            self.put(model, offset, data)
        elif kind == "map":
            view = handle.mapped(len(model))
            if view is None or len(model) == 0:
                return
            offset, length = self.range(model, 0)
            length = min(length, len(view) - offset, len(model) - offset)
            if length <= 0:
                return
            data = rng.randbytes(length)
            self.note(f"{where} store {offset}+{length}")
            view[offset : offset + length] = data
            start = offset - offset % PAGE
            view.flush(start, min(len(view), offset + length) - start)
            self.put(model, offset, data)
        elif kind == "truncate":
            size = rng.randrange(min(LENGTH_MAX, len(model) + 10_000) + 1)
            self.note(f"{where} truncate {size}")
            os.ftruncate(handle.fd, size)
            del model[size:]
            self.grow(model, size)
        elif kind in ("punch", "zero", "grow"):
            offset, length = self.range(model, 10_000)
            if length == 0:
                return
            self.note(f"{where} {kind} {offset}+{length}")
            if kind == "punch":
                fallocate(handle.fd, PUNCH_HOLE | KEEP_SIZE, offset, length)
                end = min(len(model), offset + length)
                if offset < end:
                    model[offset:end] = bytes(end - offset)
            elif kind == "zero":
                fallocate(handle.fd, ZERO_RANGE, offset, length)
                self.put(model, offset, bytes(length))
            else:
                fallocate(handle.fd, 0, offset, length)
                self.grow(model, offset + length)
        elif kind == "copy":
            source = rng.choice(self.handles)
            if source.file == handle.file or source.mount != handle.mount or handle.append:
                return
            taken = self.models[source.file]
            offset, length = self.range(taken, 0)
            to = rng.randrange(min(LENGTH_MAX - length, len(model)) + 1)
            self.note(f"{where} copy from file {source.file} {offset}+{length} to {to}")
            # As in mapped().
            os.fstat(source.fd)
            count = os.copy_file_range(source.fd, handle.fd, length, offset, to)
            data = taken[offset : offset + length]
            assert count == len(data), (count, len(data))
            if count:
                self.put(model, to, data)
        elif kind == "fsync":
            self.note(f"{where} fsync")
            os.fsync(handle.fd)
        elif kind == "utime":
            self.times[handle.file] += 1
            stamp = 1_000_000_000 + self.times[handle.file]
            self.note(f"{where} utime {stamp}")
            os.utime(handle.fd, (stamp, stamp))
            for mount in self.mounts:
                seen = os.stat(f"{mount}/fsx-{handle.file}").st_mtime
                assert seen == stamp, f"mtime {seen} on {mount}, set was {stamp}"

    def look(self):
        rng = self.rng
        handle = rng.choice(self.handles)
        model = self.models[handle.file]
        for other in self.handles:
            if other.file == handle.file:
                size = os.fstat(other.fd).st_size
                assert size == len(model), f"size {size} on mount {other.mount}, not {len(model)}"
        offset, length = self.range(model, 1000)
        expected = bytes(model[offset : offset + length])
        if rng.random() < 0.4:
            view = handle.mapped(len(model))
            end = 0 if view is None else min(len(view), len(model))
            if offset >= end:
                return
            expected = expected[: end - offset]
            seen, how = view[offset : offset + len(expected)], "map"
        else:
            seen, how = os.pread(handle.fd, length, offset), "read"
        if seen == expected:
            return
        at = next((i for i, (a, b) in enumerate(zip(seen, expected)) if a != b), min(len(seen), len(expected)))
        raise AssertionError(
            f"{how} of {offset}+{length} on mount {handle.mount} file {handle.file} handle"
            f" {self.handles.index(handle)}: {len(seen)} bytes, expected {len(expected)}, differ from {offset + at} on"
        )


def main():
    seed, calls, mounts = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    print(f"seed {seed}", flush=True)
    run = Run(seed, mounts)
    number = 0
    try:
        for number in range(calls):
            # What hangs is a failure, too.
            signal.alarm(25)
            run.step(number)
            run.look()
    except (AssertionError, OSError) as error:
        print("\n".join(run.log), file=sys.stderr)
        print(f"seed {seed}, call {number}: {type(error).__name__} {error}", file=sys.stderr)
        sys.exit(1)
    signal.alarm(0)
    for handle in run.handles:
        handle.close()
    for file, model in enumerate(run.models):
        for mount in mounts:
            with open(f"{mount}/fsx-{file}", "rb") as opened:
                assert opened.read() == model, f"file {file} on {mount} at the end"
            os.stat(f"{mount}/fsx-{file}")
        os.unlink(f"{mounts[0]}/fsx-{file}")
    print(f"{calls} calls")


def hangs(_signal, _frame):
    raise AssertionError("a call hangs")


# What a SIGBUS leaves is no exception.
faulthandler.enable()
signal.signal(signal.SIGALRM, hangs)
main()
