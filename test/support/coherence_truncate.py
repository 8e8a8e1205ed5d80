"""Processes on several mounts that each store to a page of a shared mapping and then truncate the file to the size it has.

The kernel writes no page back while a truncation is under way, and the other mount's truncation waits until it has: each
waited for the other. Arguments: rounds, the mounts. Ends with code 1 if a call hangs. Prints how many truncations were made.
"""

import mmap
import os
import signal
import sys

PAGE = 4096
# A session that does not answer a recall is thrown out after 30 s: what waits as long was a deadlock.
PATIENCE = 25


def work(path, writer, pages, rounds):
    fd = os.open(path, os.O_RDWR)
    view = mmap.mmap(fd, PAGE * pages)
    for number in range(rounds):
        signal.alarm(PATIENCE)
        view[writer * PAGE : writer * PAGE + 4] = number.to_bytes(4, "little")
        os.ftruncate(fd, PAGE * pages)
    view.close()
    os.close(fd)


def main():
    rounds, mounts = int(sys.argv[1]), sys.argv[2:]
    with open(f"{mounts[0]}/truncated", "wb") as file:
        file.write(bytes(PAGE * len(mounts)))
    children = []
    for writer, mount in enumerate(mounts):
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                work(f"{mount}/truncated", writer, len(mounts), rounds)
                code = 0
            finally:
                os._exit(code)
        children.append(pid)
    failed = [pid for pid in children if os.waitpid(pid, 0)[1] != 0]
    assert not failed, f"{len(failed)} processes failed"
    for mount in mounts:
        with open(f"{mount}/truncated", "rb") as file:
            for writer in range(len(mounts)):
                last = int.from_bytes(file.read(PAGE)[:4], "little")
                assert last == rounds - 1, f"{mount}: the last store of {writer} is {last}"
    os.unlink(f"{mounts[0]}/truncated")
    print(rounds * len(mounts))


def hangs(_signal, _frame):
    raise TimeoutError("a call hangs")


signal.signal(signal.SIGALRM, hangs)
main()
