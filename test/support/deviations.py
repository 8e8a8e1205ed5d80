"""What is known to differ from ext4: carries out each row of the README's table below a folder.

    deviations.py FOLDER

Prints one JSON line a row: its title there, and what came of it.
"""

import ctypes
import errno
import fcntl
import json
import mmap
import os
import struct
import subprocess
import sys
import time

from syscalls_libc import call

top = os.fsencode(os.path.abspath(sys.argv[1]))
rows = {}


def row(title):
    def put(function):
        rows[title] = function
        return function
    return put


def outcome(act):
    try:
        result = act()
        return result if isinstance(result, (int, str, bool, list)) else "ok"
    except OSError as error:
        return errno.errorcode.get(error.errno, error.errno)


def longs(*values):
    return [ctypes.c_longlong(v) for v in values]


def new_file(name, content=b"0123456789"):
    fd = os.open(top + b"/" + name, os.O_RDWR | os.O_CREAT, 0o644)
    os.pwrite(fd, content, 0)
    return fd


def ioctl(fd, request):
    return outcome(lambda: call("ioctl", fd, ctypes.c_ulong(request), ctypes.create_string_buffer(4096)))


@row("`sync`, `syncfs`")
def sync():
    # That nothing is waited for cannot be seen from here; that the mount's own way is there can.
    root = os.open(os.path.dirname(top), os.O_RDONLY)
    return [outcome(lambda: call("syncfs", root)), outcome(lambda: os.fsync(root))]


@row("`fallocate` with `COLLAPSE_RANGE`, `INSERT_RANGE`")
def shifting():
    fd = new_file(b"shift", bytes(65536))
    return [outcome(lambda mode=mode: call("fallocate", fd, mode, *longs(4096, 4096))) for mode in (0x08, 0x20)]


@row("`fallocate`")
def allocation():
    fd = new_file(b"allocated", b"")
    os.posix_fallocate(fd, 0, 1 << 20)
    return [os.fstat(fd).st_size, os.fstat(fd).st_blocks, outcome(lambda: os.lseek(fd, 0, os.SEEK_DATA))]


@row("`FIEMAP`, `swapon`")
def mapped_blocks():
    fd = new_file(b"map", bytes(1 << 20))
    os.pwrite(fd, struct.pack("=1024xII", 1, 255), 0)
    os.pwrite(fd, b"SWAPSPACE2", 4086)
    return [ioctl(fd, 0xC020660B), outcome(lambda: call("swapon", top + b"/map", 0))]


@row("`lsattr`, `chattr`, `FITRIM` and other `ioctl`s of ext4")
def ioctls():
    fd = new_file(b"ioctl")
    return [ioctl(fd, request) for request in (0x80086601, 0x40086602, 0x801C581F, 0x80087601, 0xC0185879)]


@row("`preadv2`, `pwritev2` with `RWF_NOWAIT`, `RWF_DONTCACHE`")
def hasty_reads():
    fd = new_file(b"hasty")
    return [outcome(lambda flag=flag: os.preadv(fd, [bytearray(4)], 0, flag)) for flag in (0x08, 0x80)]


@row("`O_DIRECT`")
def direct():
    fd = os.open(top + b"/direct", os.O_RDWR | os.O_CREAT | os.O_DIRECT)
    return [os.pwrite(fd, b"odd", 1), os.pread(fd, 10, 1).decode()]


@row("`O_PATH`")
def only_referred_to():
    fd = new_file(b"pinned")
    os.setxattr(fd, "user.a", b"1")
    os.close(fd)
    os.symlink(b"target", top + b"/pinned-link")
    pinned = os.open(top + b"/pinned", os.O_PATH)
    link = os.open(top + b"/pinned-link", os.O_PATH | os.O_NOFOLLOW)
    os.unlink(top + b"/pinned")
    os.unlink(top + b"/pinned-link")
    itself = b"/proc/self/fd/%d" % pinned
    return [os.fstat(pinned).st_size, outcome(lambda: os.open(itself, os.O_RDONLY)),
            outcome(lambda: os.getxattr(itself, "user.a").decode()), outcome(lambda: os.readlink(b"", dir_fd=link).decode())]


@row("`F_GETLK`")
def lock_owners():
    fd = new_file(b"locks")
    other = os.open(top + b"/locks", os.O_RDWR)
    fcntl.fcntl(fd, 37, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 1, 0))
    posix = struct.unpack("hhqqi4x", fcntl.fcntl(other, fcntl.F_GETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 1, 0)))
    return posix[4] == os.getpid()


@row("`/proc/locks`")
def listed_locks():
    fd = new_file(b"listed")
    fcntl.lockf(fd, fcntl.LOCK_EX)
    inode = os.fstat(fd).st_ino
    with open("/proc/locks") as lines:
        return sum(line.split()[-3].endswith(f":{inode}") for line in lines)


@row("`fanotify` with `FAN_REPORT_FID`")
def watching():
    group = call("fanotify_init", 0x200, os.O_RDONLY)
    return [outcome(lambda flags=flags: call("fanotify_mark", group, 1 | flags, ctypes.c_ulonglong(0x2), -100, top))
            for flags in (0, 0x10, 0x100)]


@row("times of FIFOs, sockets and devices")
def fifo_times():
    os.mkfifo(top + b"/fifo")
    fd = os.open(top + b"/fifo", os.O_RDWR)
    before = os.fstat(fd).st_mtime_ns
    time.sleep(0.02)
    os.write(fd, b"x")
    return os.fstat(fd).st_mtime_ns == before


@row("times after 2262")
def late_times():
    fd = new_file(b"late")
    os.utime(fd, ns=((10**10) * 10**9, 5))
    return os.fstat(fd).st_atime_ns


@row("access times")
def copied():
    fd, to = new_file(b"from"), new_file(b"to")
    before = os.fstat(fd).st_atime_ns
    time.sleep(0.02)
    return [os.copy_file_range(fd, to, 10, 0, 0), os.fstat(fd).st_atime_ns == before]


@row("`lseek`")
def far():
    return os.lseek(new_file(b"far"), 1 << 62, os.SEEK_SET) == 1 << 62


@row("the largest file")
def largest():
    fd = new_file(b"large", b"")
    return [outcome(lambda size=size: os.ftruncate(fd, size)) for size in (1 << 52, (1 << 52) + 1)]


@row("a large `write`")
def large_write():
    # On one mount it is whole, as on ext4.
    fd = new_file(b"huge", b"")
    return os.write(fd, bytes(3 << 20))


@row("stores through `mmap`")
def stores():
    fd = new_file(b"mapped", bytes(4096))
    before = os.fstat(fd).st_mtime_ns
    time.sleep(0.02)
    with mmap.mmap(fd, 4096) as view:
        view[0] = 65
        at_once = os.fstat(fd).st_mtime_ns > before
        view.flush()
    return [at_once, os.fstat(fd).st_mtime_ns > before]


@row("`trusted.*` names")
def trusted_names():
    fd = new_file(b"trusted")
    os.setxattr(fd, "trusted.a", b"1")
    pid = os.fork()
    if pid == 0:
        header = ctypes.create_string_buffer(struct.pack("=II", 0x20080522, 0))
        call("capset", header, ctypes.create_string_buffer(24))
        os._exit(len(os.listxattr(fd)))
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@row("`pathconf`")
def link_max():
    new_file(b"linked")
    return os.pathconf(top + b"/linked", "PC_LINK_MAX")


@row("`df -l`, `du`")
def remote():
    inner = top + b"/outer/inner"
    os.makedirs(inner)
    subprocess.run([b"mount", b"--bind", top + b"/outer", inner], check=True)
    try:
        found = subprocess.run([b"du", top + b"/outer"], capture_output=True, text=True, env={"LC_ALL": "C"})
    finally:
        subprocess.run([b"umount", inner], check=True)
    local = subprocess.run([b"df", b"-l", top], capture_output=True)
    return [found.returncode, "Circular" in found.stderr, local.returncode]


def main():
    for title, tell in rows.items():
        print(json.dumps({"row": title, "result": tell()}), flush=True)


main()
