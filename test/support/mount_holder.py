"""Holds all kinds of things open on a mount, and looks after them when told: one word a line, one answer a line."""
import fcntl, mmap, os, sys

root = sys.argv[1]
at = lambda name: os.path.join(root, name)

unlinked = os.open(at("unlinked"), os.O_RDWR | os.O_CREAT)
os.write(unlinked, b"first")
os.unlink(at("unlinked"))

flocked = os.open(at("flocked"), os.O_RDWR | os.O_CREAT)
fcntl.flock(flocked, fcntl.LOCK_EX)

locked = os.open(at("locked"), os.O_RDWR | os.O_CREAT)
fcntl.lockf(locked, fcntl.LOCK_EX, 100, 50)

with open(at("mapped"), "wb") as file:
    file.write(bytes(64 * 1024))
mapped_fd = os.open(at("mapped"), os.O_RDWR)
mapped = mmap.mmap(mapped_fd, 64 * 1024)

log = os.open(at("log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)

os.mkdir(at("gone"))
gone = os.open(at("gone"), os.O_RDONLY | os.O_DIRECTORY)
os.rmdir(at("gone"))

os.mkdir(at("many"))
for i in range(3000):
    os.close(os.open(at("many/%d" % i), os.O_CREAT | os.O_WRONLY))
listing = os.scandir(at("many"))
listed = set()

rounds = 0


def look():
    global rounds
    rounds += 1
    # What was written is there, written on, and to be seen by who opens it anew.
    os.pwrite(unlinked, b"round %d" % rounds, 5 + 10 * rounds)
    assert os.pread(unlinked, 5, 0) == b"first"
    for i in range(1, rounds + 1):
        assert os.pread(unlinked, 7, 5 + 10 * i) == b"round %d" % i, i
    os.fsync(unlinked)
    assert os.fstat(unlinked).st_nlink == 0

    mapped[4096 * rounds] = rounds
    mapped.flush()
    with open(at("mapped"), "rb") as file:
        data = file.read()
    assert [data[4096 * i] for i in range(1, rounds + 1)] == list(range(1, rounds + 1))
    assert [mapped[4096 * i] for i in range(1, rounds + 1)] == list(range(1, rounds + 1))

    os.write(log, b"line %d\n" % rounds)
    with open(at("log"), "rb") as file:
        assert file.read() == b"".join(b"line %d\n" % i for i in range(1, rounds + 1))

    assert os.fstat(gone).st_nlink == 0
    assert os.listdir(gone) == []

    for _ in range(500):
        name = next(listing).name
        assert name not in listed, name
        listed.add(name)


def end():
    listed.update(entry.name for entry in listing)
    assert listed == {str(i) for i in range(3000)}, len(listed)
    fcntl.lockf(locked, fcntl.LOCK_UN, 100, 50)
    fcntl.flock(flocked, fcntl.LOCK_UN)


for line in sys.stdin:
    try:
        {"look": look, "end": end}[line.strip()]()
        print("ok", flush=True)
    except Exception as error:
        print(repr(error), flush=True)
