"""Writes records, each synced and read back, until a file says stop. Prints how many there are; fails with the first that is wrong."""
import os, sys

root, stop = sys.argv[1:]
path = os.path.join(root, "records")
fd = os.open(path, os.O_RDWR | os.O_CREAT)
size = 10_000
count = 0
while not os.path.exists(stop):
    record = (b"%09d " % count) * (size // 10)
    assert os.pwrite(fd, record, count * size) == size
    os.fsync(fd)
    assert os.pread(fd, size, count * size) == record, count
    there = os.path.join(root, "named-%d" % (count % 20))
    with open(there + ".new", "wb") as file:
        file.write(record)
    os.rename(there + ".new", there)
    with open(there, "rb") as file:
        assert file.read() == record
    count += 1
for i in range(count):
    assert os.pread(fd, size, i * size) == (b"%09d " % i) * (size // 10), i
print(count)
