"""Processes that append records to one file by way of several mounts.

Arguments: number of processes, records of each, seed, the mounts. Prints how many records are in the file; ends with
code 1 if one is not whole, or missing, or there twice, or a process's records are not in its order.
"""

import os
import random
import struct
import sys
import zlib

HEAD = struct.Struct("<4sIIII")


def record(rng, writer, number):
    body = rng.randbytes(rng.choice([10, 100, 1000, 4076, 20_000, 100_000]))
    return HEAD.pack(b"REC:", writer, number, len(body), zlib.crc32(body)) + body


def append(path, writer, count, seed):
    rng = random.Random(seed * 1000 + writer)
    reads = writer % 3 == 2
    fd = os.open(path, (os.O_RDWR if reads else os.O_WRONLY) | os.O_APPEND)
    for number in range(count):
        data = record(rng, writer, number)
        written = os.write(fd, data)
        assert written == len(data), f"{written} of {len(data)} were written"
        # Some readers and some who open anew, so that leases move.
        if reads:
            os.pread(fd, 5000, max(0, os.fstat(fd).st_size - 5000))
        if rng.random() < 0.1:
            os.close(fd)
            fd = os.open(path, (os.O_RDWR if reads else os.O_WRONLY) | os.O_APPEND)
    os.close(fd)


def check(path, writers, count):
    with open(path, "rb") as file:
        data = file.read()
    at, following = 0, [0] * writers
    while at < len(data):
        magic, writer, number, length, checksum = HEAD.unpack_from(data, at)
        assert magic == b"REC:", f"no record at {at} of {len(data)}"
        body = data[at + HEAD.size : at + HEAD.size + length]
        assert len(body) == length and zlib.crc32(body) == checksum, f"torn record at {at}"
        assert number == following[writer], f"record {number} of {writer} at {at}, not {following[writer]}"
        following[writer] += 1
        at += HEAD.size + length
    assert following == [count] * writers, f"records of each: {following}"
    return sum(following)


def main():
    writers, count, seed, mounts = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]
    name = "append.log"
    os.close(os.open(f"{mounts[0]}/{name}", os.O_CREAT | os.O_WRONLY, 0o644))
    children = []
    for writer in range(writers):
        pid = os.fork()
        if pid == 0:
            try:
                append(f"{mounts[writer % len(mounts)]}/{name}", writer, count, seed)
            except BaseException as error:
                print(f"writer {writer}: {type(error).__name__} {error}", file=sys.stderr, flush=True)
                os._exit(1)
            os._exit(0)
        children.append(pid)
    for pid in children:
        assert os.waitpid(pid, 0)[1] == 0, "a writer failed"
    totals = {check(f"{mount}/{name}", writers, count) for mount in mounts}
    os.unlink(f"{mounts[0]}/{name}")
    print(*totals)


main()
