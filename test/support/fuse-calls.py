"""System calls that Node lacks, on a mounted folder: `fuse-calls.py FOLDER CHECK` runs one check of this file."""
import ctypes, errno, fcntl, mmap, os, select, signal, socket, stat, struct, subprocess, sys, time

libc = ctypes.CDLL(None, use_errno=True)
AT_FDCWD = -100
i64 = ctypes.c_int64


def result(value):
    if value < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return value


def fallocate(fd, mode, offset, length):
    return result(libc.fallocate(fd, mode, i64(offset), i64(length)))


def renameat2(old, new, flags):
    return result(libc.renameat2(AT_FDCWD, old.encode(), AT_FDCWD, new.encode(), flags))


def raises(number, call, *args, **named):
    try:
        value = call(*args, **named)
    except OSError as error:
        assert error.errno == number, f'{errno.errorcode[error.errno]} instead of {errno.errorcode[number]}'
        return
    raise AssertionError(f'{value} instead of {errno.errorcode[number]}')


def equal(found, wanted):
    assert found == wanted, f'{found!r} instead of {wanted!r}'


def put(path, data=b''):
    with open(path, 'wb') as file:
        file.write(data)


def get(path):
    with open(path, 'rb') as file:
        return file.read()


def in_child(act, uid=None):
    """Runs act() in a process of its own; its exit code is 0 if it returned."""
    pid = os.fork()
    if pid == 0:
        try:
            if uid is not None:
                os.setgroups([])
                os.setgid(uid)
                os.setuid(uid)
            act()
            os._exit(0)
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
    return pid


def joined(pid):
    equal(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 0)


def check_read_write():
    put('f', b'hello')
    fd = os.open('f', os.O_RDWR)
    equal(os.pwritev(fd, [b'ab', b'cd'], 3), 4)
    equal(get('f'), b'helabcd')
    equal(os.pread(fd, 100, 7), b'')
    equal(os.pread(fd, 3, 2), b'lab')
    os.ftruncate(fd, 2)
    equal(get('f'), b'he')
    os.truncate('f', 5)
    equal(get('f'), b'he\0\0\0')
    os.close(fd)
    put('f', b'')
    equal(os.stat('f').st_size, 0)
    big = os.urandom(5 << 20)
    put('big', big)
    assert get('big') == big
    equal(os.stat('big').st_blocks, (5 << 20) // 512)
    equal(os.stat('big').st_blksize, 65536)


def check_direct_and_sync():
    block = mmap.mmap(-1, 1 << 20)
    block.write(os.urandom(1 << 20))
    fd = os.open('f', os.O_RDWR | os.O_CREAT | os.O_DIRECT | os.O_SYNC)
    equal(os.pwrite(fd, block, 0), 1 << 20)
    back = mmap.mmap(-1, 1 << 20)
    equal(os.preadv(fd, [back], 0), 1 << 20)
    assert back[:] == block[:]
    os.fsync(fd)
    os.fdatasync(fd)
    directory = os.open('.', os.O_RDONLY)
    os.fsync(directory)


def check_append():
    put('log')

    def many(tag):
        fd = os.open('log', os.O_WRONLY | os.O_APPEND)
        for _ in range(200):
            os.write(fd, tag * 10)

    children = [in_child(lambda tag=tag: many(tag)) for tag in (b'a', b'b', b'c')]
    for child in children:
        joined(child)
    data = get('log')
    equal(len(data), 6000)
    assert all(len(set(data[at:at + 10])) == 1 for at in range(0, 6000, 10))


def check_fallocate():
    put('f', b'x' * 20000)
    fd = os.open('f', os.O_RDWR)
    fallocate(fd, 0, 20000, 10000)
    equal(os.fstat(fd).st_size, 30000)
    fallocate(fd, 1, 30000, 10000)
    equal(os.fstat(fd).st_size, 30000)
    fallocate(fd, 3, 4096, 8192)
    equal(os.pread(fd, 12288, 0), b'x' * 4096 + b'\0' * 8192)
    fallocate(fd, 0x10, 0, 100)
    equal(os.pread(fd, 101, 0), b'\0' * 100 + b'x')
    fallocate(fd, 0x11, 40000, 4096)
    equal(os.fstat(fd).st_size, 30000)
    for mode in (2, 0x08, 0x20, 0x40, 0x100):
        raises(errno.EOPNOTSUPP, fallocate, fd, mode, 0, 4096)
    raises(errno.EINVAL, fallocate, fd, 0, 0, 0)
    raises(errno.EFBIG, fallocate, fd, 0, 1 << 60, 4096)


def check_seek():
    fd = os.open('f', os.O_RDWR | os.O_CREAT)
    os.pwrite(fd, b'x', 100000)
    equal(os.lseek(fd, 0, os.SEEK_DATA), 98304)
    equal(os.lseek(fd, 0, os.SEEK_HOLE), 0)
    equal(os.lseek(fd, 98304, os.SEEK_HOLE), 100001)
    raises(errno.ENXIO, os.lseek, fd, 100001, os.SEEK_DATA)
    raises(errno.ENXIO, os.lseek, fd, 1 << 60, os.SEEK_HOLE)


def check_copy_file_range():
    put('from', os.urandom(100000))
    source = os.open('from', os.O_RDONLY)
    target = os.open('to', os.O_RDWR | os.O_CREAT)
    equal(os.copy_file_range(source, target, 90000, 5000, 123), 90000)
    assert get('to') == b'\0' * 123 + get('from')[5000:95000]
    equal(os.copy_file_range(source, target, 90000, 99999, 0), 1)
    equal(os.copy_file_range(source, target, 90000, 1 << 60, 0), 0)


def check_huge_offsets():
    fd = os.open('f', os.O_RDWR | os.O_CREAT)
    for offset in (1 << 53, 1 << 60, (1 << 63) - 4096):
        raises(errno.EFBIG, os.pwrite, fd, b'x', offset)
        raises(errno.EFBIG, os.ftruncate, fd, offset)
        equal(os.pread(fd, 10, offset), b'')
    os.ftruncate(fd, 1 << 52)
    equal(os.fstat(fd).st_size, 1 << 52)
    os.pwrite(fd, b'end', (1 << 52) - 3)
    equal(os.pread(fd, 10, (1 << 52) - 3), b'end')
    raises(errno.EFBIG, os.ftruncate, fd, (1 << 52) + 1)


def check_rename():
    put('a', b'a')
    put('b', b'b')
    raises(errno.EEXIST, renameat2, 'a', 'b', 1)
    renameat2('a', 'b', 2)
    equal((get('a'), get('b')), (b'b', b'a'))
    raises(errno.EINVAL, renameat2, 'a', 'b', 3)
    raises(errno.EINVAL, renameat2, 'a', 'b', 8)
    renameat2('a', 'c', 1)
    os.rename('c', 'b')
    equal(get('b'), b'b')
    os.mkdir('d')
    os.mkdir('e')
    put('e/x')
    raises(errno.ENOTEMPTY, os.rename, 'd', 'e')
    os.rename('e', 'd')
    equal(os.listdir('d'), ['x'])
    raises(errno.EISDIR, os.rename, 'b', 'd')
    raises(errno.ENOTDIR, os.rename, 'd', 'b')
    raises(errno.EINVAL, os.rename, 'd', 'd/in')


def check_links():
    put('a', b'one')
    os.link('a', 'b')
    equal(os.stat('b').st_nlink, 2)
    os.unlink('a')
    equal((get('b'), os.stat('b').st_nlink), (b'one', 1))
    raises(errno.EPERM, os.link, '.', 'c')
    long = 't' * 4095
    os.symlink(long, 's')
    equal(os.readlink('s'), long)
    equal(os.readlink('s'), long)
    equal(os.lstat('s').st_size, 4095)
    os.symlink(b'\xff\xfe/x', b'\xfa')
    equal(os.readlink(b'\xfa'), b'\xff\xfe/x')
    os.symlink('loop', 'loop')
    raises(errno.ELOOP, os.open, 'loop', os.O_RDONLY)


def check_names():
    for name in (b'n' * 255, bytes(set(range(1, 256)) - {0x2f}), b'\n', b' ', b'...'):
        put(name, name)
        assert name in os.listdir(b'.')
        equal(get(name), name)
        os.unlink(name)
    equal(os.listdir('.'), [])
    for call in (os.mkdir, os.stat, os.unlink, os.rmdir):
        raises(errno.ENAMETOOLONG, call, b'n' * 256)
        raises(errno.ENAMETOOLONG, call, b'n' * 1025)
    raises(errno.ENAMETOOLONG, os.symlink, 'x', b'n' * 256)


def check_unlinked_file():
    put('f', b'kept')
    fd = os.open('f', os.O_RDWR)
    os.unlink('f')
    equal(os.fstat(fd).st_nlink, 0)
    os.pwrite(fd, b'more', 4)
    equal(os.pread(fd, 100, 0), b'keptmore')
    os.fchmod(fd, 0o600)
    os.close(fd)
    raises(errno.ENOENT, os.stat, 'f')


def check_tmpfile():
    fd = os.open('.', os.O_RDWR | os.O_TMPFILE, 0o640)
    os.write(fd, b'nameless')
    equal((os.fstat(fd).st_nlink, os.listdir('.')), (0, []))
    result(libc.linkat(AT_FDCWD, f'/proc/self/fd/{fd}'.encode(), AT_FDCWD, b'named', 0x400))
    equal((get('named'), os.stat('named').st_nlink, os.stat('named').st_mode), (b'nameless', 1, 0o100640))


def check_special_files():
    os.mkfifo('fifo', 0o644)
    os.mknod('null', 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    os.mknod('big', 0o600 | stat.S_IFBLK, os.makedev(259, 70000))
    equal((os.stat('big').st_rdev, stat.S_ISBLK(os.stat('big').st_mode)), (os.makedev(259, 70000), True))
    put('null', b'swallowed')
    equal(get('null'), b'')
    server = socket.socket(socket.AF_UNIX)
    server.bind('socket')
    assert stat.S_ISSOCK(os.stat('socket').st_mode)
    reader = os.open('fifo', os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open('fifo', os.O_WRONLY)
    os.write(writer, b'through')
    equal(os.read(reader, 100), b'through')


def check_xattrs():
    put('f')
    raises(errno.ENODATA, os.getxattr, 'f', 'user.a')
    os.setxattr('f', 'user.a', b'1', os.XATTR_CREATE)
    raises(errno.EEXIST, os.setxattr, 'f', 'user.a', b'2', os.XATTR_CREATE)
    raises(errno.ENODATA, os.setxattr, 'f', 'user.b', b'2', os.XATTR_REPLACE)
    os.setxattr('f', 'user.a', b'', os.XATTR_REPLACE)
    equal(os.getxattr('f', 'user.a'), b'')
    value = os.urandom(65536)
    os.setxattr('f', 'trusted.big', value)
    equal(os.getxattr('f', 'trusted.big'), value)
    room = ctypes.create_string_buffer(10)
    raises(errno.ERANGE, lambda: result(libc.getxattr(b'f', b'trusted.big', room, 10)))
    equal(libc.getxattr(b'f', b'trusted.big', None, 0), 65536)
    raises(errno.E2BIG, os.setxattr, 'f', 'user.c', b'x' * 65537)
    equal(sorted(os.listxattr('f')), ['trusted.big', 'user.a'])
    os.removexattr('f', 'user.a')
    raises(errno.ENODATA, os.removexattr, 'f', 'user.a')


def check_times():
    put('f')
    for at, mt in ((-1, 1), (-1_500_000_001, 2**33 * 10**9 + 999_999_999), (0, 123_456_789_012_345_678)):
        os.utime('f', ns=(at, mt))
        equal((os.stat('f').st_atime_ns, os.stat('f').st_mtime_ns), (at, mt))
    before = time.time() - 1
    os.utime('f')
    assert abs(os.stat('f').st_mtime - before) < 10

    def utimensat(atime, mtime):
        specs = struct.pack('qqqq', *atime, *mtime)
        return result(libc.utimensat(AT_FDCWD, b'f', specs, 0))

    omit = (0, (1 << 30) - 2)
    utimensat((5, 6), omit)
    utimensat(omit, (7, 8))
    equal((os.stat('f').st_atime_ns, os.stat('f').st_mtime_ns), (5_000_000_006, 7_000_000_008))


def check_statx():
    before = time.time()
    put('f', b'12345')
    os.chmod('f', 0o640)
    out = ctypes.create_string_buffer(256)
    result(libc.statx(AT_FDCWD, b'f', 0, 0xfff, out))
    mask, blksize, _, nlink, uid, gid, mode = struct.unpack_from('IIQIIIH', out, 0)
    ino, size = struct.unpack_from('QQ', out, 32)
    btime, btime_ns = struct.unpack_from('qI', out, 80)
    equal((mask & 0xfff, blksize, nlink, mode, size, ino), (0xfff, 65536, 1, 0o100640, 5, os.stat('f').st_ino))
    assert abs(btime + btime_ns / 1e9 - before) < 10


def check_owner_and_modes():
    os.chmod('.', 0o777)
    os.umask(0o027)

    def other():
        os.umask(0o027)
        put('f', b'mine')
        os.mkdir('d')
        raises(errno.EPERM, os.chown, 'f', 0, 0)
        raises(errno.EACCES, os.open, 'root-only', os.O_RDONLY)

    put('root-only')
    joined(in_child(other, uid=1234))
    found = os.stat('f')
    equal((found.st_uid, found.st_gid, found.st_mode), (1234, 1234, 0o100640))
    equal(os.stat('d').st_mode, 0o040750)
    os.chown('f', 5, -1)
    os.chown('f', -1, 6)
    equal((os.stat('f').st_uid, os.stat('f').st_gid), (5, 6))
    os.chown('d', -1, 77)
    os.chmod('d', 0o2770)
    os.mkdir('d/sub')
    equal((os.stat('d/sub').st_gid, os.stat('d/sub').st_mode), (77, 0o042750))


def check_setuid_is_cleared():
    os.chmod('.', 0o777)
    put('f', b'x')

    def write():
        fd = os.open('f', os.O_WRONLY)
        os.write(fd, b'y')

    for act in (write, lambda: os.truncate('f', 0), lambda: put('f', b'z')):
        os.chmod('f', 0o6777)
        joined(in_child(act, uid=1234))
        equal(oct(os.stat('f').st_mode), oct(0o100777))
    os.chmod('f', 0o6777)
    put('f', b'by root')
    equal(oct(os.stat('f').st_mode), oct(0o106777))


def check_posix_locks():
    put('f', b'x' * 100)
    fd = os.open('f', os.O_RDWR)
    fcntl.lockf(fd, fcntl.LOCK_EX, 10, 5)

    def other():
        mine = os.open('f', os.O_RDWR)
        raises(errno.EAGAIN, fcntl.lockf, mine, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 14)
        fcntl.lockf(mine, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 15)
        query = struct.pack('hhqqi4x', fcntl.F_WRLCK, 0, 0, 0, 0)
        kind, _, start, length, pid = struct.unpack('hhqqi4x', fcntl.fcntl(mine, fcntl.F_GETLK, query))
        equal((kind, start, length, pid), (fcntl.F_WRLCK, 5, 10, os.getppid()))

    joined(in_child(other))
    # The child's end freed its lock; closing any descriptor of the file frees ours.
    fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(os.open('f', os.O_RDONLY))
    joined(in_child(lambda: fcntl.lockf(os.open('f', os.O_RDWR), fcntl.LOCK_EX | fcntl.LOCK_NB)))


def check_blocking_lock():
    put('f')
    fd = os.open('f', os.O_RDWR)
    fcntl.lockf(fd, fcntl.LOCK_EX)
    child = in_child(lambda: fcntl.lockf(os.open('f', os.O_RDWR), fcntl.LOCK_EX))
    time.sleep(0.2)
    equal(os.waitpid(child, os.WNOHANG), (0, 0))
    fcntl.lockf(fd, fcntl.LOCK_UN)
    joined(child)


def check_interrupted_lock():
    put('f')
    fd = os.open('f', os.O_RDWR)
    fcntl.flock(fd, fcntl.LOCK_EX)

    class Alarm(Exception):
        pass

    def alarm(*_):
        raise Alarm

    def wait():
        signal.signal(signal.SIGALRM, alarm)
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        try:
            fcntl.flock(os.open('f', os.O_RDWR), fcntl.LOCK_EX)
        except Alarm:
            return
        raise AssertionError('got the lock')

    joined(in_child(wait))
    # Killed while it waits.
    child = in_child(lambda: fcntl.flock(os.open('f', os.O_RDWR), fcntl.LOCK_EX))
    time.sleep(0.2)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    fcntl.flock(fd, fcntl.LOCK_UN)
    fcntl.flock(os.open('f', os.O_RDWR), fcntl.LOCK_EX | fcntl.LOCK_NB)


def check_flock_and_ofd():
    put('f')
    one = os.open('f', os.O_RDWR)
    two = os.open('f', os.O_RDWR)
    fcntl.flock(one, fcntl.LOCK_SH)
    fcntl.flock(two, fcntl.LOCK_SH)
    raises(errno.EAGAIN, fcntl.flock, two, fcntl.LOCK_EX | fcntl.LOCK_NB)
    # POSIX locks do not see flocks.
    fcntl.lockf(one, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(one)
    fcntl.flock(two, fcntl.LOCK_EX | fcntl.LOCK_NB)
    set_ofd = 37
    lock = struct.pack('hhqqi4x', fcntl.F_WRLCK, 0, 0, 10, 0)
    three = os.open('f', os.O_RDWR)
    four = os.open('f', os.O_RDWR)
    fcntl.fcntl(three, set_ofd, lock)
    raises(errno.EAGAIN, fcntl.fcntl, four, set_ofd, lock)
    os.close(three)
    fcntl.fcntl(four, set_ofd, lock)


def check_directories():
    names = {f'name-{number}' for number in range(3000)}
    for name in names:
        put(name)
    equal(set(os.listdir('.')), names)
    equal(subprocess.run(['ls', '-lU'], capture_output=True).stdout.count(b'name-'), 3000)
    found = []
    with os.scandir('.') as entries:
        for entry in entries:
            found.append(entry.name)
            assert entry.is_file(follow_symlinks=False)
            os.unlink(entry.name)
    equal((set(found), os.listdir('.')), (names, []))
    os.mkdir('d')
    os.mkdir('d/e')
    equal((os.stat('d').st_nlink, os.stat('.').st_ino == os.stat('d/..').st_ino), (3, True))
    raises(errno.ENOTEMPTY, os.rmdir, 'd')
    raises(errno.EEXIST, os.mkdir, 'd')
    raises(errno.ENOTDIR, os.rmdir, 'd/../d/e/../../f' if put('f') else 'f')
    os.rmdir('d/e')
    os.rmdir('d')


def check_seekdir():
    for number in range(500):
        put(f'f{number}')
    libc.opendir.restype = ctypes.c_void_p
    libc.readdir.restype = ctypes.c_void_p
    libc.telldir.restype = ctypes.c_long
    stream = ctypes.c_void_p(libc.opendir(b'.'))

    def next_name():
        entry = libc.readdir(stream)
        return ctypes.string_at(entry + 19) if entry else None

    order, places = [], []
    while True:
        places.append(libc.telldir(stream))
        name = next_name()
        if name is None:
            break
        order.append(name)
    equal(len(order), 502)
    for at in (0, 1, 2, 250, 501):
        libc.seekdir(stream, ctypes.c_long(places[at]))
        equal(next_name(), order[at])
    libc.closedir(stream)


def check_mmap():
    put('f', b'a' * 10000)
    fd = os.open('f', os.O_RDWR)
    shared = mmap.mmap(fd, 10000)
    shared[5000:5005] = b'hello'
    shared.flush()
    equal(os.pread(fd, 7, 4999), b'ahelloa')
    private = mmap.mmap(fd, 10000, flags=mmap.MAP_PRIVATE)
    private[0:1] = b'z'
    equal(get('f')[:1], b'a')
    os.pwrite(fd, b'seen', 9000)
    equal(shared[9000:9004], b'seen')
    shared[0:3] = b'end'
    shared.close()
    os.close(fd)
    equal(get('f')[:3], b'end')


def check_ioctl_and_poll():
    put('f', b'x')
    fd = os.open('f', os.O_RDONLY)
    raises(errno.ENOTTY, fcntl.ioctl, fd, 0x80086601, b'\0' * 8)
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    equal(poll.poll(1000), [(fd, select.POLLIN)])


def check_statvfs():
    found = os.statvfs('.')
    equal((found.f_bsize, found.f_frsize, found.f_blocks, found.f_bavail, found.f_namemax),
          (4096, 4096, 1 << 18, 1 << 17, 255))


def check_hammer():
    """Eight processes at once on one directory, each checking what it wrote."""
    def work(me):
        for turn in range(60):
            name = f'{me}-{turn}'
            data = os.urandom(1 + turn * 997)
            put(name, data)
            assert get(name) == data
            os.rename(name, f'{name}.moved')
            os.link(f'{name}.moved', name)
            os.listdir('.')
            fd = os.open(name, os.O_RDWR)
            fcntl.flock(fd, fcntl.LOCK_EX)
            os.ftruncate(fd, turn)
            assert os.pread(fd, 1000, 0) == data[:turn].ljust(turn, b'\0')
            os.close(fd)
            os.unlink(name)
            if turn % 2:
                os.unlink(f'{name}.moved')

    children = [in_child(lambda me=me: work(me)) for me in range(8)]
    for child in children:
        joined(child)
    equal(len(os.listdir('.')), 8 * 30)


if __name__ == '__main__':
    os.chdir(sys.argv[1])
    globals()[sys.argv[2]]()
