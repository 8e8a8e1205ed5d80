"""What a kernel makes of a file that another mount has made longer, until something asks it for the size.

    coherence_sizes.py MOUNT OTHER-MOUNT

Prints a JSON line: how many bytes copy_file_range takes and the signal that an access to an old mapping beyond the
known size ends with, then both again after fstat.
"""

import json
import mmap
import os
import sys

SIZE = 8192
here, there = (f"{mount}/sizes" for mount in sys.argv[1:3])

with open(there, "wb") as file:
    file.write(bytes(SIZE))
fd, copy = os.open(here, os.O_RDWR), os.open(f"{here}-copy", os.O_CREAT | os.O_RDWR, 0o644)
view = mmap.mmap(fd, SIZE)
os.truncate(there, 0)
assert os.fstat(fd).st_size == 0
with open(there, "wb") as file:
    file.write(b"x" * SIZE)


def signal_of_access():
    child = os.fork()
    if child == 0:
        os._exit(0 if view[SIZE - 1] == ord("x") else 1)
    return -os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def looks():
    return [os.copy_file_range(fd, copy, SIZE, 0, 0), signal_of_access()]


unaware = looks()
os.fstat(fd)
print(json.dumps([unaware, looks()]))
view.close()
os.close(fd)
os.close(copy)
os.unlink(here)
os.unlink(f"{here}-copy")
