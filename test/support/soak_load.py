"""A load that verifies itself, while others break the cluster.

Arguments: seed, a file whose appearance ends the load, the mount to write on, and all mounts to read on. Two threads
change files of their own, each known byte for byte; what was answered must be seen on every mount. Faults are
shorter than what calls wait for, so that no call may fail. Prints a line of JSON; ends with code 1 and what is wrong.
"""

import json
import os
import random
import sys
import threading
import time
import traceback

SIZES = [0, 100, 5_000, 70_000, 600_000, 2_000_000]
FILES = 8


class Worker(threading.Thread):
    def __init__(self, number, seed, stop, home, mounts):
        super().__init__()
        self.rng = random.Random(f"{seed}/{number}")
        self.stop, self.home, self.mounts = stop, home, mounts
        self.folder = f"load-{seed}-{number}"
        self.files = {}
        self.calls = 0
        self.written = 0
        self.wrong = None
        self.last = []

    def run(self):
        try:
            os.mkdir(os.path.join(self.home, self.folder))
            while not os.path.exists(self.stop):
                self.step()
            for name in self.files:
                for mount in self.mounts:
                    self.verify(name, mount)
        except BaseException:
            self.wrong = f"{traceback.format_exc()}\nlast: {self.last}"

    def step(self):
        name = f"f{self.rng.randrange(FILES)}"
        work = self.rng.choices(
            [self.replace, self.overwrite, self.append, self.truncate, self.look, self.remove],
            [4, 3, 2, 1, 5, 1],
        )[0]
        if name not in self.files:
            work = self.replace
        self.last = [*self.last[-4:], f"{work.__name__} {name}"]
        work(name)
        self.calls += 1
        # So that what was replaced, which is kept for a while, does not get too much to be looked at.
        time.sleep(0.05)

    def path(self, name, mount=None):
        return os.path.join(mount or self.home, self.folder, name)

    def some(self, size):
        self.written += size
        return self.rng.randbytes(size)

    def replace(self, name):
        data = self.some(self.rng.choice(SIZES))
        with open(self.path(f"{name}.new"), "wb", buffering=0) as file:
            put(file.fileno(), data, 0)
            os.fsync(file.fileno())
        os.rename(self.path(f"{name}.new"), self.path(name))
        self.files[name] = bytearray(data)

    def overwrite(self, name):
        model = self.files[name]
        at = self.rng.randrange(len(model) + 1)
        data = self.some(min(self.rng.choice(SIZES), 2_500_000 - at) if at < 2_500_000 else 0)
        self.change(name, at, data)
        model[at : at + len(data)] = data

    def append(self, name):
        model = self.files[name]
        data = self.some(self.rng.choice(SIZES[1:4]))
        self.change(name, len(model), data)
        model.extend(data)

    def change(self, name, at, data):
        with open(self.path(name), "r+b", buffering=0) as file:
            put(file.fileno(), data, at)
            if self.rng.random() < 0.5:
                os.fsync(file.fileno())

    def truncate(self, name):
        model = self.files[name]
        size = self.rng.randrange(len(model) + 1)
        os.truncate(self.path(name), size)
        del model[size:]

    def remove(self, name):
        os.unlink(self.path(name))
        del self.files[name]
        for mount in self.mounts:
            if os.path.exists(self.path(name, mount)):
                raise AssertionError(f"{self.path(name, mount)} is still there")

    def look(self, name):
        self.verify(name, self.rng.choice(self.mounts))

    def verify(self, name, mount):
        with open(self.path(name, mount), "rb") as file:
            found = file.read()
        model = self.files[name]
        if found != model:
            at = next((n for n, (a, b) in enumerate(zip(found, model)) if a != b), min(len(found), len(model)))
            raise AssertionError(
                f"{self.path(name, mount)}: {len(found)} bytes, {len(model)} expected; differs at {at}"
            )


def put(fd, data, at):
    view = memoryview(data)
    while view:
        done = os.pwrite(fd, view, at)
        view, at = view[done:], at + done


def main():
    seed, stop, home, *mounts = sys.argv[1:]
    workers = [Worker(number, seed, stop, home, mounts) for number in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    wrong = [worker.wrong for worker in workers if worker.wrong]
    if wrong:
        sys.exit("\n".join(wrong))
    print(json.dumps({"calls": sum(w.calls for w in workers), "written": sum(w.written for w in workers)}))


main()
