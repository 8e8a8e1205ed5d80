"""Carries out system calls that Node cannot make: one JSON request a line in, one JSON reply a line out.

Request {"op": NAME, ...}; reply {"ok": VALUE} or {"errno": "ENOENT"}. Paths are relative to the folder
given as the first argument, as text whose characters are bytes (latin-1), so that any name can be had.
Descriptors are kept in slots of the caller's numbering. Data is base64, or given by a seed.
"""

import base64
import ctypes
import errno
import fcntl
import hashlib
import json
import mmap
import os
import stat
import struct
import sys

from syscalls_libc import call

root = os.fsencode(os.path.abspath(sys.argv[1]))
slots = {}


def path(text):
    return os.path.join(root, text.encode("latin-1"))


def text(raw):
    return os.fsencode(raw).decode("latin-1")


def pattern(seed, length):
    """Repeatable bytes, never zero, so that holes and data differ."""
    unit = bytes(1 + b % 255 for b in hashlib.sha256(str(seed).encode()).digest()) * 8
    return (unit * (length // len(unit) + 1))[:length]


def payload(request):
    if "seed" in request:
        return pattern(request["seed"], request["length"])
    return base64.b64decode(request["data"])


def digest(data):
    return {"length": len(data), "sha": hashlib.sha256(data).hexdigest()[:16]}


def shown(st):
    """What must be alike on two file systems: not inode numbers, devices, times or allocation."""
    is_dir = (st.st_mode & 0o170000) == 0o040000
    return {
        "mode": oct(st.st_mode),
        "nlink": st.st_nlink,
        "uid": st.st_uid,
        "gid": st.st_gid,
        "size": None if is_dir else st.st_size,
        "rdev": st.st_rdev,
    }


def times(st):
    return {"atime": st.st_atime_ns, "mtime": st.st_mtime_ns, "ctime": st.st_ctime_ns, "blocks": st.st_blocks, "ino": st.st_ino}


class Flock(ctypes.Structure):
    _fields_ = [("l_type", ctypes.c_short), ("l_whence", ctypes.c_short), ("l_start", ctypes.c_longlong),
                ("l_len", ctypes.c_longlong), ("l_pid", ctypes.c_int)]


LOCK_COMMANDS = {"get": 5, "set": 6, "wait": 7, "ofd_get": 36, "ofd_set": 37, "ofd_wait": 38}
LOCK_TYPES = {"read": 0, "write": 1, "unlock": 2}


def lock(r):
    request = struct.pack("hhqqi4x", LOCK_TYPES[r["type"]], r.get("whence", 0), r["start"], r["len"], 0)
    reply = fcntl.fcntl(slots[r["fd"]], LOCK_COMMANDS[r["cmd"]], request)
    kind, whence, start, length, _pid = struct.unpack("hhqqi4x", reply)
    return {"type": kind, "whence": whence, "start": start, "len": length} if r["cmd"].endswith("get") else 0


def direct_buffer(length):
    """Memory that O_DIRECT can use."""
    return mmap.mmap(-1, max(length, 4096))


def directly(fd, act):
    """Carries out `act` with O_DIRECT set."""
    flags = fcntl.fcntl(fd, fcntl.F_GETFL)
    if flags & os.O_APPEND:
        return "appending: the size decides whether ext4 takes it"
    fcntl.fcntl(fd, fcntl.F_SETFL, flags | os.O_DIRECT)
    try:
        return act()
    finally:
        fcntl.fcntl(fd, fcntl.F_SETFL, flags)


def do_pwrite_direct(r):
    with direct_buffer(r["length"]) as view:
        view[:r["length"]] = payload(r)
        with memoryview(view)[:r["length"]] as data:
            return directly(slots[r["fd"]], lambda: os.pwrite(slots[r["fd"]], data, r["offset"]))


def do_pread_direct(r):
    with direct_buffer(r["length"]) as view:
        with memoryview(view)[:r["length"]] as data:
            count = directly(slots[r["fd"]], lambda: os.preadv(slots[r["fd"]], [data], r["offset"]))
            return digest(bytes(data[:count])) if isinstance(count, int) else count


def do_mmap_private(r):
    """What is written to a private mapping is seen there and nowhere else."""
    with mmap.mmap(slots[r["fd"]], r["length"], flags=mmap.MAP_PRIVATE, offset=r["offset"]) as view:
        view[:10] = b"privately "
        return [digest(bytes(view)), digest(os.pread(slots[r["fd"]], r["length"], r["offset"]))]


def acl(r):
    """The binary form of an ACL from [tag, permissions, id] triples."""
    entries = b"".join(struct.pack("<HHI", tag, perm, 0xFFFFFFFF if who is None else who) for tag, perm, who in r["acl"])
    return struct.pack("<I", 2) + entries


def do_open(r):
    if r["fd"] in slots:
        os.close(slots.pop(r["fd"]))
    slots[r["fd"]] = os.open(path(r["path"]), r["flags"], r.get("mode", 0o644))
    return 0


def do_mmap_write(r):
    with mmap.mmap(slots[r["fd"]], r["length"], offset=r["offset"]) as view:
        data = payload({**r, "length": r["count"]})
        view[r["at"]:r["at"] + r["count"]] = data
        view.flush()
    return 0


def do_mmap_read(r):
    with mmap.mmap(slots[r["fd"]], r["length"], offset=r["offset"], prot=mmap.PROT_READ) as view:
        return digest(bytes(view))


def do_copy(r):
    return os.copy_file_range(slots[r["fd"]], slots[r["to"]], r["length"], r["offset"], r["to_offset"])


def contents(file):
    """A digest of the bytes that are not zero, so that files of terabytes are quick and holes may differ."""
    found = hashlib.sha256()
    at, unit = 0, 1 << 16
    while True:
        try:
            start = os.lseek(file, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            return found.hexdigest()[:16]
        end = os.lseek(file, start, os.SEEK_HOLE)
        at = start // unit * unit
        while at < end:
            data = os.pread(file, unit, at).rstrip(b"\0")
            if data:
                found.update(b"%d:" % at + data)
            at += unit


def do_tree(r):
    """Everything below a folder: names, attributes, contents, xattrs."""
    out = []
    top = path(r.get("path", ""))
    for folder, dirs, files in os.walk(top):
        dirs.sort()
        for name in sorted(dirs + files):
            full = os.path.join(folder, name)
            st = os.lstat(full)
            item = {"path": text(os.path.relpath(full, top)), **shown(st)}
            kind = st.st_mode & 0o170000
            if kind == 0o100000:
                with open(full, "rb") as f:
                    item["sha"] = contents(f.fileno())
            elif kind == 0o120000:
                item["target"] = text(os.readlink(full))
            try:
                names = sorted(n for n in os.listxattr(full, follow_symlinks=False) if n.startswith("user."))
                if names:
                    item["xattrs"] = {n: os.getxattr(full, n, follow_symlinks=False).decode("latin-1") for n in names}
            except OSError:
                pass
            out.append(item)
    return sorted(out, key=lambda item: item["path"])


seen = {}


def changed(directory, name, flags):
    """Which of mtime and ctime moved since the inode was last asked for here, and whether ctime went back."""
    buffer = ctypes.create_string_buffer(256)
    call("statx", directory, name, flags, 0xFFF, buffer)
    at = lambda offset: "%d.%09d" % struct.unpack_from("qI", buffer, offset)
    now = (at(0x70), at(0x60))
    # Numbers of inodes are used again, but not with the same time of birth.
    inode = (struct.unpack_from("Q", buffer, 0x20), at(0x50))
    before = seen.get(inode)
    seen[inode] = now
    return "first" if before is None else {"mtime": now[0] != before[0], "ctime": now[1] != before[1], "back": now[1] < before[1]}


def time_spec(value):
    return struct.pack("qq", 0, {"now": 0x3FFFFFFF, "omit": 0x3FFFFFFE}[value]) if isinstance(value, str) \
        else struct.pack("qq", value // 10**9, value % 10**9)


OPS = {
    "open": do_open,
    "close": lambda r: os.close(slots.pop(r["fd"])) or 0,
    "pread": lambda r: digest(os.pread(slots[r["fd"]], r["length"], r["offset"])),
    "pread_data": lambda r: base64.b64encode(os.pread(slots[r["fd"]], r["length"], r["offset"])).decode(),
    "pwrite": lambda r: os.pwrite(slots[r["fd"]], payload(r), r["offset"]),
    "write": lambda r: os.write(slots[r["fd"]], payload(r)),
    "read": lambda r: digest(os.read(slots[r["fd"]], r["length"])),
    "preadv": lambda r: (lambda bufs: [os.preadv(slots[r["fd"]], bufs, r["offset"]), [digest(bytes(b)) for b in bufs]])(
        [bytearray(n) for n in r["lengths"]]),
    "pwritev": lambda r: os.pwritev(slots[r["fd"]], [pattern(r["seed"] + i, n) for i, n in enumerate(r["lengths"])], r["offset"]),
    "ftruncate": lambda r: os.ftruncate(slots[r["fd"]], r["size"]) or 0,
    "truncate": lambda r: os.truncate(path(r["path"]), r["size"]) or 0,
    "fallocate": lambda r: call("fallocate", slots[r["fd"]], r["mode"], ctypes.c_longlong(r["offset"]), ctypes.c_longlong(r["length"])),
    "lseek": lambda r: "positions in directories are the file system's own" if stat.S_ISDIR(os.fstat(slots[r["fd"]]).st_mode) else os.lseek(slots[r["fd"]], r["offset"], r["whence"]),
    "copy_file_range": do_copy,
    "fsync": lambda r: os.fsync(slots[r["fd"]]) or 0,
    "fdatasync": lambda r: os.fdatasync(slots[r["fd"]]) or 0,
    "fstat": lambda r: shown(os.fstat(slots[r["fd"]])),
    "lstat": lambda r: shown(os.lstat(path(r["path"]))),
    "stat": lambda r: shown(os.stat(path(r["path"]))),
    "changed": lambda r: changed(-100, path(r["path"]), 0x100),
    "fchanged": lambda r: changed(slots[r["fd"]], b"", 0x1000),
    "mtime": lambda r: os.lstat(path(r["path"])).st_mtime_ns,
    "times": lambda r: times(os.lstat(path(r["path"]))),
    "mkdir": lambda r: os.mkdir(path(r["path"]), r.get("mode", 0o755)) or 0,
    "rmdir": lambda r: os.rmdir(path(r["path"])) or 0,
    "unlink": lambda r: os.unlink(path(r["path"])) or 0,
    "rename": lambda r: os.rename(path(r["path"]), path(r["to"])) or 0,
    "renameat2": lambda r: call("renameat2", -100, path(r["path"]), -100, path(r["to"]), r["flags"]),
    "link": lambda r: os.link(path(r["path"]), path(r["to"]), follow_symlinks=False) or 0,
    "link_fd": lambda r: call("linkat", -100, b"/proc/self/fd/%d" % slots[r["fd"]], -100, path(r["to"]), 0x400),
    "symlink": lambda r: os.symlink(r["target"].encode("latin-1"), path(r["path"])) or 0,
    "readlink": lambda r: text(os.readlink(path(r["path"]))),
    "mknod": lambda r: os.mknod(path(r["path"]), r["mode"], r.get("rdev", 0)) or 0,
    "chmod": lambda r: os.chmod(path(r["path"]), r["mode"]) or 0,
    "fchmod": lambda r: os.fchmod(slots[r["fd"]], r["mode"]) or 0,
    "chown": lambda r: os.lchown(path(r["path"]), r["uid"], r["gid"]) or 0,
    "utimens": lambda r: call("utimensat", -100, path(r["path"]), time_spec(r["atime"]) + time_spec(r["mtime"]), 0x100),
    "listdir": lambda r: sorted(text(n) for n in os.listdir(path(r["path"]))),
    "access": lambda r: os.access(path(r["path"]), r["mode"], effective_ids=True),
    "setxattr": lambda r: os.setxattr(path(r["path"]), r["name"], payload(r), r.get("flags", 0), follow_symlinks=False) or 0,
    "getxattr": lambda r: os.getxattr(path(r["path"]), r["name"], follow_symlinks=False).decode("latin-1"),
    "listxattr": lambda r: sorted(n for n in os.listxattr(path(r["path"]), follow_symlinks=False) if n.startswith("user.")),
    "removexattr": lambda r: os.removexattr(path(r["path"]), r["name"], follow_symlinks=False) or 0,
    "setacl": lambda r: os.setxattr(path(r["path"]), r["name"], acl(r), follow_symlinks=False) or 0,
    "pwrite_direct": do_pwrite_direct,
    "pread_direct": do_pread_direct,
    "mmap_private": do_mmap_private,
    "mmap_write": do_mmap_write,
    "mmap_read": do_mmap_read,
    "lock": lock,
    "flock": lambda r: fcntl.flock(slots[r["fd"]], r["how"]) or 0,
    "statvfs": lambda r: (lambda s: {"bsize": s.f_bsize, "frsize": s.f_frsize, "blocks": s.f_blocks, "bfree": s.f_bfree,
                                     "bavail": s.f_bavail, "files": s.f_files, "ffree": s.f_ffree, "namemax": s.f_namemax})(
        os.statvfs(path(r["path"]))),
    "umask": lambda r: os.umask(r["mask"]) and 0,
    "become": lambda r: (os.seteuid(0), os.setegid(0), os.setgroups(r.get("groups", [])), os.setegid(r["gid"]), os.seteuid(r["uid"])) and 0,
    "tree": do_tree,
}


def main():
    os.umask(0o022)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            reply = {"ok": OPS[request["op"]](request)}
        except OSError as error:
            reply = {"errno": errno.errorcode.get(error.errno, str(error.errno))}
        except ValueError as error:
            # What Python refuses before it asks the system, such as a mapping beyond the end of the file.
            reply = {"errno": str(error)}
        except KeyError as error:
            # A slot that is not open.
            reply = {"errno": "EBADF"} if error.args and isinstance(error.args[0], int) else {"bug": repr(error)}
        except ValueError as error:
            # Python itself refused: a mapping beyond the end of the file, a path with a NUL.
            reply = {"errno": f"python: {error}"}
        except Exception as error:
            reply = {"bug": repr(error)}
        sys.stdout.write(json.dumps(reply) + "\n")
        sys.stdout.flush()


main()
