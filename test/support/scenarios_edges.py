"""Stories at the edges of what system calls take: wrong arguments, limits, rights, odd kinds of files.

    scenarios_edges.py FOLDER [NAME...]

As scenarios.py, which see. What is known to differ from ext4 is in deviations.py and not here.
"""

import ctypes
import fcntl
import itertools
import mmap
import os
import random
import resource
import shutil
import signal
import socket
import stat
import struct
import time

from scenarios import READ, UNLOCK, WRITE, as_user, child, lock, longs, outcome, run, test_lock, write
from syscalls_libc import call, libc

OWNER, OTHER, THIRD = 65534, 65533, 65532
NOW, OMIT = 0x3FFFFFFF, 0x3FFFFFFE
stories = {}


def story(function):
    stories[function.__name__] = function
    return function


def opened(act):
    """The errno, or that it is open: which number it got is the process's own."""
    result = outcome(act)
    return "open" if isinstance(result, int) else result


def moved(paths, act):
    """What came of it, and which times of each moved: a, m, c."""
    before = [os.lstat(path) for path in paths]
    time.sleep(0.012)
    out = [opened(act)]
    for path, old in zip(paths, before):
        new = os.lstat(path)
        pairs = ((letter, getattr(old, f), getattr(new, f)) for letter, f in zip("amc", ("st_atime_ns", "st_mtime_ns", "st_ctime_ns")))
        out.append("".join(letter if a != b else "-" for letter, a, b in pairs))
    return out


@story
def addresses_that_are_none(d):
    bad = ctypes.c_void_p(0xDEADC0DE)
    path = write(d + b"/f", b"x" * 100)
    fd = os.open(path, os.O_RDWR)
    room = ctypes.create_string_buffer(256)
    calls = [("open", bad, 0), ("mkdir", bad, 0o755), ("unlink", bad), ("link", path, bad), ("symlink", bad, d + b"/x"), ("rename", path, bad),
             ("truncate", bad, 0), ("readlink", bad, room, 10), ("lstat", path, bad), ("write", fd, bad, 10), ("read", fd, bad, 10),
             ("pwrite", fd, bad, 10, 0), ("utimensat", -100, path, bad, 0), ("statfs", bad, room), ("getxattr", path, b"user.a", bad, 10),
             ("setxattr", path, b"user.a", bad, 10, 0), ("setxattr", path, bad, b"x", 1, 0), ("removexattr", path, bad)]
    return [outcome(lambda: call(*each)) for each in calls] + [os.fstat(fd).st_size]


@story
def directories_as_files(d):
    os.mkdir(d + b"/x")
    fd = os.open(d + b"/x", os.O_RDONLY)
    flags = [os.O_WRONLY, os.O_RDWR, os.O_TRUNC, os.O_WRONLY | os.O_CREAT, os.O_CREAT, os.O_DIRECT]
    acts = [lambda: os.read(fd, 10), lambda: os.pread(fd, 10, 0), lambda: os.write(fd, b"x"), lambda: os.ftruncate(fd, 0),
            lambda: os.truncate(d + b"/x", 0), lambda: mmap.mmap(fd, 4096, prot=1), lambda: os.fsync(fd), lambda: os.fdatasync(fd),
            lambda: call("fallocate", fd, 0, *longs(0, 10)), lambda: call("readahead", fd, *longs(0, 10)),
            lambda: os.open(d + b"/new/", os.O_CREAT | os.O_WRONLY), lambda: os.rename(d + b"/x", d + b"/x/y/z"),
            lambda: fcntl.flock(fd, fcntl.LOCK_EX), lambda: os.copy_file_range(fd, fd, 1), lambda: os.lseek(fd, 0, os.SEEK_DATA)]
    return [opened(lambda: os.open(d + b"/x", flag)) for flag in flags] + [outcome(act) for act in acts]


@story
def every_name(d):
    for byte in set(range(1, 256)) - set(b"/."):
        os.mkdir(d + b"/" + bytes([byte]))
    for name in (b"...", b"..a", b".a", "caf\u00e9".encode(), "cafe\u0301".encode(), "\u202e".encode(), b"\xff\xfe", b"n" * 255):
        os.mkdir(d + b"/" + name)
    too_long = d + b"/" + b"n" * 256
    acts = [os.mkdir, os.rmdir, os.unlink, os.lstat, os.mkfifo, lambda p: os.symlink(b"x", p), lambda p: os.rename(p, p), lambda p: os.open(p, os.O_CREAT)]
    return [sorted(name.hex() for name in os.listdir(d)), [outcome(lambda: act(too_long)) for act in acts]]


@story
def paths_of_4096_bytes(d):
    os.chdir(d)
    part = b"c" * 200
    path = b""
    while len(path) + len(part) + 1 < 4090:
        path += part + b"/"
        os.mkdir(path)
    path += b"x" * (4095 - len(path))
    acts = [lambda: os.mkdir(path), lambda: os.rmdir(path), lambda: os.close(os.open(path, os.O_CREAT)), lambda: os.rename(path, path[:-1]),
            lambda: os.link(path[:-1], path), lambda: os.unlink(path), lambda: os.mkdir(path + b"x"), lambda: os.symlink(path, b"l"),
            lambda: len(os.readlink(b"l")), lambda: os.symlink(path + b"x", b"l2")]
    out = [outcome(act) for act in acts]
    # Not every program that tidies up can.
    shutil.rmtree(part)
    os.chdir("/")
    return out


@story
def chains_of_symlinks(d):
    write(d + b"/t0", b"")
    for n in range(1, 43):
        os.symlink(b"t%d" % (n - 1), d + b"/t%d" % n)
    return [outcome(lambda: os.stat(d + b"/t%d" % n) and 0) for n in (1, 39, 40, 41, 42)] + \
        [opened(lambda: os.open(d + b"/t1", flags)) for flags in (os.O_NOFOLLOW, os.O_CREAT | os.O_EXCL, os.O_DIRECTORY, os.O_PATH | os.O_NOFOLLOW)]


@story
def which_times_move(d):
    a, b = d + b"/a", d + b"/b"
    os.mkdir(a)
    os.mkdir(b)
    f = write(a + b"/f", b"abc")
    out = [moved([a], lambda: os.mkdir(a + b"/x")), moved([a], lambda: os.rmdir(a + b"/x")), moved([a, b, f], lambda: os.link(f, b + b"/l")),
           moved([a, b, f], lambda: os.unlink(b + b"/l")), moved([a, b], lambda: os.rename(f, b + b"/f"))]
    f = b + b"/f"
    fd = os.open(f, os.O_RDWR)
    acts = [lambda: os.rename(f, f), lambda: os.chmod(f, 0o644), lambda: os.chown(f, -1, -1), lambda: os.chown(f, 0, 0), lambda: os.truncate(f, 3),
            lambda: os.truncate(f, 30), lambda: os.ftruncate(fd, 30), lambda: os.write(fd, b""), lambda: os.write(fd, b"x"), lambda: os.pwrite(fd, b"", 100),
            lambda: os.posix_fallocate(fd, 0, 10), lambda: call("fallocate", fd, 1, *longs(0, 20000)), lambda: call("fallocate", fd, 3, *longs(0, 20000)),
            lambda: os.fsync(fd), lambda: os.setxattr(f, "user.a", b"1"), lambda: os.setxattr(f, "user.a", b"1"), lambda: os.removexattr(f, "user.a"),
            lambda: os.removexattr(f, "user.a"), lambda: os.pread(fd, 0, 0), lambda: os.open(f, os.O_WRONLY | os.O_TRUNC),
            lambda: os.open(f, os.O_WRONLY | os.O_CREAT), lambda: os.utime(f), lambda: os.utime(f, ns=(1, 1)), lambda: os.utime(f, ns=(1, 1)),
            lambda: os.close(os.open(b + b"/n", os.O_CREAT)), lambda: os.rename(a, b + b"/a"), lambda: call("renameat2", -100, b + b"/a", -100, f, 1)]
    return out + [moved([f, b], act) for act in acts]


@story
def times_that_are_set(d):
    path = write(d + b"/f", b"")

    def set_times(spec, uid=None):
        act = lambda: call("utimensat", -100, path, spec and struct.pack("4q", *spec), 0)
        return outcome(act) if uid is None else as_user(act, uid, uid)
    out = []
    for seconds in (0, -1, 2**31 - 1, 2**31, 2**32, -2**31 + 1, -2**31, -2**31 - 1, -2**40):
        out.append([set_times((seconds, 123456789, seconds, 999999999)), os.stat(path).st_atime_ns, os.stat(path).st_mtime_ns])
    out += [set_times((5, wrong, 6, 7)) for wrong in (-1, 10**9, 2**40)]
    os.chown(path, OWNER, OWNER)
    for mode, uid in itertools.product((0o666, 0o444), (OWNER, OTHER)):
        os.chmod(path, mode)
        out += [set_times(spec, uid) for spec in (None, (0, NOW, 0, NOW), (0, NOW, 0, OMIT), (0, OMIT, 0, OMIT), (1, 2, 3, 4))]
    # Once this ended the mount.
    return out + [set_times((2**62, 0, 2**62, 0)), os.stat(path).st_mtime > 9 * 10**9]


@story
def xattrs_and_their_limits(d):
    path = write(d + b"/f", b"")
    put = lambda name, value, flags=0: outcome(lambda: os.setxattr(path, name, value, flags))
    sized = lambda name, size: outcome(lambda: call("getxattr", path, name, ctypes.create_string_buffer(max(size, 1)), size))
    out = [put("user." + "n" * 250, b"x"), put("user." + "n" * 251, b"x"), put("", b"x")]
    out += [put(name, b"x") for name in ("user.", "user", "system.none", "trusted.", "bogus.x", "user.a/b", "user.\udcff", "user.A", "user.a")]
    out += [put("user.a", b"1", flags) for flags in (1, 2, 3, 4)] + [put("user.none", b"1", flags) for flags in (2, 3)]
    out += [put("user.big", b"v" * 65537), put("user.b", b"x" * 1000)] + [sized(b"user.b", size) for size in (0, 999, 1000, 70000)]
    out += [sized(name, 10) for name in (b"", b"user.none", b"bogus.x", b"user.")]
    out += [outcome(lambda: os.removexattr(path, name)) for name in ("user.none", "bogus.x", "user.", "", "user.a", "user.a", "system.posix_acl_access")]
    out += [sorted(os.listxattr(path)), outcome(lambda: call("listxattr", path, ctypes.create_string_buffer(1), 1))]
    return out


@story
def xattrs_by_kind_and_user(d):
    os.mkdir(d + b"/dir")
    os.mkfifo(d + b"/fifo")
    os.symlink(b"f", d + b"/link")
    os.mknod(d + b"/device", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    write(d + b"/f", b"", 0o666)
    acl = struct.pack("<IHHIHHIHHI", 2, 1, 7, 0xFFFFFFFF, 4, 5, 0xFFFFFFFF, 0x20, 5, 0xFFFFFFFF)
    values = {"user.z": b"z", "trusted.z": b"z", "security.z": b"z", "system.posix_acl_access": acl, "system.posix_acl_default": acl, "system.z": b"z"}
    out = []
    for kind, (name, value), uid in itertools.product((b"/dir", b"/fifo", b"/link", b"/device", b"/f"), values.items(), (0, OTHER)):
        def act():
            path = d + kind
            return [outcome(lambda: os.setxattr(path, name, value, follow_symlinks=False)), outcome(lambda: len(os.getxattr(path, name, follow_symlinks=False))),
                    sorted(os.listxattr(path, follow_symlinks=False)), outcome(lambda: os.removexattr(path, name, follow_symlinks=False))]
        out.append([kind.decode(), name, uid, as_user(act, uid, uid)])
    return out


@story
def removed_directories(d):
    os.mkdir(d + b"/gone")
    fd = os.open(d + b"/gone", os.O_RDONLY)
    os.rmdir(d + b"/gone")
    acts = [lambda: os.listdir(fd), lambda: os.open(b"x", os.O_CREAT, dir_fd=fd), lambda: os.fsync(fd), lambda: os.fchmod(fd, 0o750), lambda: os.fchown(fd, 1, 2),
            lambda: os.setxattr(fd, "user.a", b"1"), lambda: os.listxattr(fd), lambda: os.setxattr(fd, "user.a", b"1", 1), lambda: os.removexattr(fd, "user.b"),
            lambda: os.removexattr(fd, "user.a"), lambda: os.utime(fd, (5, 6)), lambda: os.fchdir(fd), os.getcwd, lambda: os.mkdir("x"), lambda: os.rename(".", "x")]
    out = [outcome(act) for act in acts]
    os.chdir("/")
    st = os.fstat(fd)
    return out + [oct(st.st_mode), st.st_uid, st.st_gid, st.st_nlink, st.st_mtime]


@story
def renames_by_flags(d):
    write(d + b"/a", b"a")
    write(d + b"/b", b"b")
    os.makedirs(d + b"/k/s")
    rename = lambda old, new, flags: outcome(lambda: call("renameat2", -100, d + old, -100, d + new, flags))
    out = [rename(b"/a", b"/b", flags) for flags in (1, 3, 4, 5, 2, 6, 8, 16)]
    out += [rename(old, new, flags) for old, new, flags in ((b"/k", b"/k/s", 2), (b"/k/s", b"/k", 2), (b"/a", b"/none", 2), (b"/none", b"/a", 1), (b"/a", b"/w", 4),
                                                            (b"/b", b"/w", 5), (b"/k", b"/k2", 5), (b"/k2", b"/k2", 1), (b"/k2", b"/k2", 2), (b"/b/", b"/q", 0))]
    os.link(d + b"/b", d + b"/b2")
    out += [rename(b"/b", b"/b2", flags) for flags in (0, 2, 4)]
    listed = [(name, os.lstat(d + b"/" + name)) for name in sorted(os.listdir(d))]
    return out + [[name.decode(), oct(st.st_mode), st.st_rdev, st.st_uid, st.st_nlink] for name, st in listed]


@story
def file_handles(d):
    path = write(d + b"/f", b"hello")
    mount = os.open(d, os.O_RDONLY)
    libc.syscall.restype = ctypes.c_long
    handle = ctypes.create_string_buffer(struct.pack("II", 128, 0), 136)
    call("name_to_handle_at", -100, path, handle, ctypes.byref(ctypes.c_int()), 0)
    by_handle = lambda flags: call("open_by_handle_at", mount, handle, flags)
    out = [os.read(by_handle(os.O_RDONLY), 10).decode()]
    os.mkdir(d + b"/k")
    os.rename(path, d + b"/k/g")
    out.append(os.read(by_handle(os.O_RDONLY), 10).decode())
    return out + [as_user(lambda: by_handle(os.O_RDONLY), OTHER, OTHER)]


@story
def listings_that_change(d):
    """A listing ends, whatever is renamed or made while it is read, and begins anew when it is told to."""
    out = []
    for name, change in {"there and back": lambda p: (os.rename(p, d + b"/T"), os.rename(d + b"/T", p)), "forward": lambda p: os.rename(p, p + b"x"),
                         "made anew": lambda p: (os.unlink(p), os.mknod(p))}.items():
        directory = d + b"/" + name.encode()
        os.mkdir(directory)
        for n in range(60):
            os.mknod(directory + b"/f%03d" % n)
        with os.scandir(directory) as entries:
            out.append([name, sum(1 for entry in itertools.islice(entries, 2000) if change(entry.path) is None or True) < 2000, len(os.listdir(directory))])
    return out


@story
def sticky_directories(d):
    out = []
    for owner, file_owner, is_dir, who in itertools.product((0, OWNER, OTHER), (0, OWNER, OTHER), (False, True), (OWNER, OTHER, THIRD)):
        make = os.mkdir if is_dir else lambda path: write(path, b"")
        for name in ("remove", "rename", "replace", "exchange", "link"):
            if random.Random(repr((owner, file_owner, is_dir, who, name))).random() > 0.15:
                continue
            k, o = d + b"/k", d + b"/o"
            os.mkdir(k)
            os.mkdir(o)
            make(k + b"/x")
            os.chown(k + b"/x", file_owner, file_owner)
            make(o + b"/mine")
            os.chown(o + b"/mine", who, who)
            os.chmod(o, 0o777)
            os.chown(k, owner, owner)
            os.chmod(k, 0o1777)
            act = {"remove": lambda: (os.rmdir if is_dir else os.unlink)(k + b"/x"), "rename": lambda: os.rename(k + b"/x", k + b"/y"),
                   "replace": lambda: os.rename(o + b"/mine", k + b"/x"), "exchange": lambda: call("renameat2", -100, o + b"/mine", -100, k + b"/x", 2),
                   "link": lambda: os.link(k + b"/x", o + b"/z")}[name]
            out.append([owner, file_owner, is_dir, who, name, as_user(act, who, who)])
            shutil.rmtree(k)
            shutil.rmtree(o)
    return out


@story
def chown_of_what_has_privileges(d):
    out = []
    makers = {"fifo": os.mkfifo, "device": lambda p: os.mknod(p, stat.S_IFCHR | 0o644, 259), "dir": os.mkdir, "file": lambda p: write(p, b"x")}
    for (name, make), mode, uid in itertools.product(makers.items(), (0o4755, 0o2755, 0o2745), (0, OWNER, OTHER)):
        for ids in ((-1, -1), (-1, OWNER)):
            path = d + b"/x"
            make(path)
            os.chown(path, OWNER, OWNER)
            os.chmod(path, mode)
            out.append([name, oct(mode), uid, ids, as_user(lambda: os.chown(path, *ids), uid, uid), oct(os.stat(path).st_mode), os.stat(path).st_gid])
            (os.rmdir if name == "dir" else os.unlink)(path)
    return out


@story
def rights_one_by_one(d):
    out = []
    for bits, (shift, uid, gid) in itertools.product(range(8), ((6, OWNER, 1), (3, 1, OWNER), (0, 1, 1))):
        f, k = write(d + b"/f", b"abc"), d + b"/k"
        os.mkdir(k)
        write(k + b"/in", b"", 0o666)
        for path in (f, k):
            os.chown(path, OWNER, OWNER)
            os.chmod(path, bits << shift)

        def act():
            flags = (os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_TRUNC, os.O_WRONLY | os.O_APPEND, os.O_CREAT | os.O_WRONLY, os.O_NOATIME, os.O_PATH)
            acts = [lambda: os.truncate(f, 1), lambda: os.utime(f), lambda: os.utime(f, (1, 1)), lambda: os.listxattr(f), lambda: os.execv(f, ["x"]),
                    lambda: len(os.listdir(k)), lambda: os.stat(k + b"/in") and 0, lambda: os.mkdir(k + b"/n"), lambda: os.rmdir(k + b"/n"),
                    lambda: os.symlink(b"a", k + b"/s"), lambda: os.link(k + b"/in", k + b"/l"), lambda: os.rename(k + b"/in", k + b"/g"), lambda: os.chdir(k)]
            return [opened(lambda: os.open(f, flag, 0o644)) for flag in flags] + [outcome(act) for act in acts] + \
                [opened(lambda: os.open(k, os.O_TMPFILE | os.O_RDWR)), opened(lambda: os.open(k + b"/new", os.O_CREAT))]
        out.append([bits, shift, as_user(act, uid, gid)])
        os.unlink(f)
        shutil.rmtree(k)
    return out


@story
def what_takes_privileges(d):
    source = os.open(write(d + b"/source", b"0123456789"), os.O_RDONLY)
    aligned = mmap.mmap(-1, 4096)

    def map_write(path):
        with mmap.mmap(os.open(path, os.O_RDWR), 4096) as view:
            view[0] = 66
            view.flush()
    writable = lambda path, flags=0: os.open(path, os.O_WRONLY | flags)
    acts = {"write": lambda p: os.write(writable(p), b"x"), "nothing": lambda p: os.write(writable(p), b""), "direct": lambda p: os.writev(writable(p, os.O_DIRECT), [aligned]),
            "mapped": map_write, "same size": lambda p: os.truncate(p, 4096), "punch": lambda p: call("fallocate", writable(p), 3, *longs(0, 10)),
            "copy": lambda p: os.copy_file_range(source, writable(p), 5, 0), "sendfile": lambda p: os.sendfile(writable(p), source, 0, 5), "utime": os.utime,
            "setxattr": lambda p: os.setxattr(p, "user.a", b"1")}
    out = []
    capability = struct.pack("<5I", 0x02000001, 1, 0, 0, 0)
    for mode, (uid, groups), (name, act) in itertools.product((0o6777, 0o2767), ((0, ()), (OTHER, ()), (OTHER, (OWNER,))), acts.items()):
        path = write(d + b"/f", b"x" * 4096)
        os.chown(path, OWNER, OWNER)
        os.chmod(path, mode)
        os.setxattr(path, "security.capability", capability)
        result = as_user(lambda: act(path), uid, uid, groups)
        out.append([oct(mode), uid, groups, name, result, oct(os.stat(path).st_mode), outcome(lambda: len(os.getxattr(path, "security.capability")))])
        os.unlink(path)
    return out


@story
def root_without_its_capabilities(d):
    def without(*lost):
        header = ctypes.create_string_buffer(struct.pack("=II", 0x20080522, 0))
        sets = ctypes.create_string_buffer(24)
        call("capget", header, sets)
        words = list(struct.unpack("6I", sets.raw[:24]))
        words[0] &= ~sum(1 << capability for capability in lost)
        call("capset", header, ctypes.create_string_buffer(struct.pack("6I", *words)))
    path = write(d + b"/f", b"abc")
    os.chown(path, OWNER, OWNER)
    os.chmod(path, 0o6700)
    cases = {(0,): lambda: os.chown(path, 1, 1), (1, 2): lambda: os.open(path, os.O_RDONLY), (3,): lambda: os.chmod(path, 0o6700),
             (4,): lambda: os.write(os.open(path, os.O_WRONLY), b"x"), (21,): lambda: os.setxattr(path, "trusted.a", b"1"),
             (27,): lambda: os.mknod(d + b"/device", stat.S_IFCHR, 259)}
    out = []
    for lost, act in cases.items():
        out.append([list(lost), child(lambda: (without(*lost), opened(act))[1])(), oct(os.stat(path).st_mode)])
    return out


@story
def acls_and_who_they_let_in(d):
    def acl(*entries):
        return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", tag, bits, 0xFFFFFFFF if who is None else who) for tag, bits, who in entries)

    def shown(path):
        values = [outcome(lambda: os.getxattr(path, "system.posix_acl_" + kind, follow_symlinks=False).hex()) for kind in ("access", "default")]
        return [oct(os.lstat(path).st_mode)] + values
    path = write(d + b"/f", b"data")
    os.chown(path, 1000, 1000)
    os.setxattr(path, "system.posix_acl_access", acl((1, 6, None), (2, 4, 1001), (2, 0, 1002), (4, 0, None), (8, 6, 2001), (8, 4, 2002), (16, 5, None), (32, 1, None)))
    out = []
    for uid, gid, groups in ((1000, 1, ()), (1001, 1, ()), (1002, 2001, ()), (1003, 2001, ()), (1003, 1, (2002,)), (1003, 1, (2001, 2002)), (1003, 1, ())):
        out.append(as_user(lambda: [opened(lambda: os.open(path, flags)) for flags in (0, 1, 2)] + [os.access(path, 1, effective_ids=True)], uid, gid, groups))
    for mode in (0o600, 0o777, 0o070):
        os.chmod(path, mode)
        out.append(shown(path))
    os.mkdir(d + b"/k")
    os.setxattr(d + b"/k", "system.posix_acl_default", acl((1, 7, None), (2, 6, 1000), (4, 5, None), (8, 7, 2000), (16, 7, None), (32, 4, None)))
    for mask in (0, 0o022, 0o777):
        os.umask(mask)
        for n, make in enumerate((lambda p: os.mkdir(p, 0o777), lambda p: os.close(os.open(p, os.O_CREAT, 0o666)), lambda p: os.mkfifo(p, 0o640), lambda p: os.symlink(b"x", p))):
            make(d + b"/k/%d-%d" % (mask, n))
            out.append(shown(d + b"/k/%d-%d" % (mask, n)))
    os.umask(0o022)
    wrong = (b"", acl(), b"\1\0\0\0", acl((1, 6, None)), acl((32, 0, None), (4, 4, None), (1, 6, None)), acl((1, 8, None), (4, 4, None), (32, 0, None)))
    return out + [outcome(lambda: os.setxattr(path, "system.posix_acl_access", value)) for value in wrong] + [shown(path)]


@story
def limits_of_processes(d):
    def limited():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))
        fd = os.open(d + b"/f", os.O_RDWR | os.O_CREAT)
        to = os.open(d + b"/g", os.O_RDWR | os.O_CREAT)
        acts = [lambda: os.pwrite(fd, b"x" * 10000, 0), lambda: os.pwrite(fd, b"x", 8192), lambda: os.ftruncate(fd, 8193), lambda: os.truncate(d + b"/f", 9000),
                lambda: call("fallocate", fd, 0, *longs(0, 9000)), lambda: call("fallocate", fd, 1, *longs(0, 9000)), lambda: os.pwrite(fd, b"", 9000),
                lambda: os.copy_file_range(fd, to, 100, 0, 8190), lambda: os.copy_file_range(fd, to, 100, 0, 8192),
                lambda: os.write(os.open(d + b"/f", os.O_WRONLY | os.O_APPEND), b"x")]
        return [outcome(act) for act in acts] + [os.fstat(fd).st_size]
    return child(limited)()


@story
def offsets_and_vectors(d):
    fd = os.open(d + b"/f", os.O_RDWR | os.O_CREAT)
    os.pwritev(fd, [b"abc", b"def"], 0)
    end = (1 << 63) - 1
    acts = [lambda: os.pwritev(fd, [b"abc"], 0, os.RWF_DSYNC), lambda: os.pwritev(fd, [b"abc"], 0, 0x10), lambda: os.preadv(fd, [bytearray(9)], 0, os.RWF_HIPRI),
            lambda: os.preadv(fd, [bytearray(9)], 0, 0x1000), lambda: os.pread(fd, 10, end - 5), lambda: os.lseek(fd, end, os.SEEK_DATA),
            lambda: os.lseek(fd, -1, os.SEEK_HOLE), lambda: os.lseek(fd, 9, os.SEEK_HOLE), lambda: os.lseek(fd, 8, os.SEEK_HOLE), lambda: os.lseek(fd, 0, 77),
            lambda: os.lseek(fd, -100, os.SEEK_CUR), lambda: os.pwrite(fd, b"x", end), lambda: os.ftruncate(fd, -1), lambda: os.ftruncate(fd, end),
            lambda: call("fallocate", fd, 0, *longs(-1, 10)), lambda: call("fallocate", fd, 0, *longs(0, 0)), lambda: call("fallocate", fd, 0, *longs(end, 10)),
            lambda: call("fallocate", fd, 2, *longs(0, 10)), lambda: call("fallocate", fd, 0x40, *longs(0, 10)), lambda: call("fallocate", fd, 0x30, *longs(0, 10)),
            lambda: call("pread", fd, bytes(10), 10, *longs(-1)), lambda: os.copy_file_range(fd, fd, 5, 0, 2), lambda: os.posix_fadvise(fd, 0, 0, 6),
            lambda: call("sync_file_range", fd, *longs(0, 0), 8), lambda: os.open(d + b"/f", os.O_TMPFILE | os.O_RDWR)]
    numbers = os.statvfs(d)
    return [outcome(act) for act in acts] + [os.fstat(fd).st_size, numbers.f_files >= numbers.f_ffree > 0, numbers.f_blocks >= numbers.f_bfree >= numbers.f_bavail]


@story
def locks_split_and_merge(d):
    path = write(d + b"/f", b"0" * 1000)
    fd = os.open(path, os.O_RDWR)
    dice = random.Random(5)

    def seen():
        mine, found, at = os.open(path, os.O_RDWR), [], 0
        while True:
            first = test_lock(mine, WRITE, at)
            if first == "free":
                return found
            found.append(first)
            if first[2] == 0:
                return found
            at = first[1] + first[2]
    out = []
    for n in range(40):
        kind, start, length = dice.choice([READ, WRITE, UNLOCK]), dice.randrange(300), dice.choice([1, 5, 10, 50, 100, 0])
        lock(fd, kind, start, length)
        if n % 5 == 4:
            out.append(child(seen)())
    out += [outcome(lambda: lock(fd, WRITE, start, length)) for start, length in ((2**63 - 1, 1), (2**63 - 1, 2), (2**62, 2**62), (0, 0))]
    # A range of a renamed, linked, removed file is the same file's.
    os.link(path, d + b"/h")
    os.rename(path, d + b"/g")
    out.append(child(lambda: lock(os.open(d + b"/h", os.O_RDWR), READ))())
    return out + [child(lambda: lock(os.open(d + b"/g", os.O_PATH), READ))()]


@story
def three_wait_in_a_ring(d):
    path = write(d + b"/f", b"000")
    ready, go = os.pipe(), os.pipe()

    def party(n):
        fd = os.open(path, os.O_RDWR)
        lock(fd, WRITE, n, 1)
        os.write(ready[1], b"x")
        os.read(go[0], 1)
        time.sleep(0.15 * n)
        lock(fd, WRITE, (n + 1) % 3, 1, wait=True)
    joins = [child(lambda n=n: party(n)) for n in range(3)]
    for _ in joins:
        os.read(ready[0], 1)
    os.write(go[1], b"xxx")
    return [join() for join in joins]


@story
def odd_files(d):
    os.chdir(d)
    os.mkfifo("fifo")
    out = [opened(lambda: os.open("fifo", os.O_WRONLY | os.O_NONBLOCK))]
    fd = os.open("fifo", os.O_RDWR | os.O_NONBLOCK)
    out += [outcome(act) for act in (lambda: os.write(fd, b"abc"), lambda: os.read(fd, 2).decode(), lambda: os.lseek(fd, 0, 0), lambda: os.ftruncate(fd, 0),
                                     lambda: os.fsync(fd), lambda: os.posix_fallocate(fd, 0, 1), lambda: os.truncate("fifo", 0))]
    server = socket.socket(socket.AF_UNIX)
    server.bind("socket")
    out += [opened(lambda: os.open("socket", flags)) for flags in (os.O_RDONLY, os.O_RDWR | os.O_NONBLOCK, os.O_PATH)]
    out.append(outcome(lambda: socket.socket(socket.AF_UNIX).bind("socket")))
    for kind in (stat.S_IFCHR, stat.S_IFBLK):
        os.mknod("device", kind | 0o666, os.makedev(250, 99))
        out.append(opened(lambda: os.open("device", os.O_RDONLY)))
        os.unlink("device")
    os.chdir("/")
    return out


if __name__ == "__main__":
    run(stories)
