"""Processes on several mounts that read, write, map and truncate the same few pages at once, without any order.

Arguments: processes, calls of each, seed, the mounts. Each write is one cell of 512 bytes that tells who wrote it and
carries a checksum, so that a torn or invented one shows. Ends with code 1 if a call hangs, a cell is wrong, or the
mounts do not agree in the end. Prints how many calls were made.
"""

import mmap
import os
import random
import signal
import struct
import sys
import zlib

CELL = 512
CELLS = 64
HEAD = struct.Struct("<4sIIII")
# A session that does not answer a recall is thrown out after 30 s: what waits as long was a deadlock.
PATIENCE = 25


def cell(index, writer, number):
    body = bytes([writer % 256, number % 256]) * ((CELL - HEAD.size) // 2)
    return HEAD.pack(b"CELL", index, writer, number, zlib.crc32(body)) + body


def check(index, data):
    if data == bytes(CELL):
        return
    magic, at, writer, number, checksum = HEAD.unpack_from(data)
    assert magic == b"CELL" and at == index, f"cell {index} is {data[:20]}"
    assert zlib.crc32(data[HEAD.size : HEAD.size + CELL - HEAD.size]) == checksum, f"torn cell {index} of {writer}/{number}"


def work(path, writer, count, seed):
    rng = random.Random(seed * 1000 + writer)
    fd = os.open(path, os.O_RDWR)
    view = mmap.mmap(fd, CELL * CELLS)
    # Stores that are not ordered with others must not lose theirs: each process maps and stores to cells of its own.
    own = [index for index in range(CELLS) if index % 8 == writer % 8]
    for number in range(count):
        signal.alarm(PATIENCE)
        kind = rng.random()
        index = rng.randrange(CELLS)
        if kind < 0.35:
            assert os.pwrite(fd, cell(index, writer, number), index * CELL) == CELL
        elif kind < 0.6:
            check(index, os.pread(fd, CELL, index * CELL))
        elif kind < 0.7:
            view[index * CELL]
        elif kind < 0.8:
            index = rng.choice(own)
            view[index * CELL : (index + 1) * CELL] = cell(index, writer, number)
            view.flush(index * CELL // 4096 * 4096, 4096)
        elif kind < 0.85:
            os.ftruncate(fd, CELL * CELLS)
        elif kind < 0.9:
            os.fsync(fd)
        elif kind < 0.95:
            os.fstat(fd)
            os.stat(path)
        else:
            view.close()
            os.close(fd)
            fd = os.open(path, os.O_RDWR)
            view = mmap.mmap(fd, CELL * CELLS)
    signal.alarm(PATIENCE)
    view.close()
    os.close(fd)


def main():
    processes, count, seed, mounts = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]
    print(f"seed {seed}", flush=True)
    name = "contended"
    with open(f"{mounts[0]}/{name}", "wb") as file:
        file.write(bytes(CELL * CELLS))
    children = []
    for writer in range(processes):
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                work(f"{mounts[writer % len(mounts)]}/{name}", writer, count, seed)
                code = 0
            except BaseException as error:
                print(f"process {writer}: {type(error).__name__} {error}", file=sys.stderr, flush=True)
            os._exit(code)
        children.append(pid)
    failed = [pid for pid in children if os.waitpid(pid, 0)[1] != 0]
    assert not failed, f"{len(failed)} processes failed"
    contents = set()
    for mount in mounts:
        with open(f"{mount}/{name}", "rb") as file:
            contents.add(file.read())
    assert len(contents) == 1, "the mounts do not agree"
    for index in range(CELLS):
        check(index, next(iter(contents))[index * CELL : (index + 1) * CELL])
    os.unlink(f"{mounts[0]}/{name}")
    print(processes * count)


def hangs(_signal, _frame):
    raise TimeoutError("a call hangs")


signal.signal(signal.SIGALRM, hangs)
main()
