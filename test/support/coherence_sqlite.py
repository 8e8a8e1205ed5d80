"""One SQLite database with a rollback journal, used by way of several mounts at once.

Arguments: processes, transactions of each, the mounts. Ends with code 1 if an acknowledged commit is missing, a
counter is wrong, or the database's own check finds something. Prints the number of rows.
"""

import os
import sqlite3
import sys
import time


def connect(path):
    database = sqlite3.connect(path, timeout=60, isolation_level=None)
    database.execute("pragma journal_mode = delete")
    database.execute("pragma synchronous = full")
    return database


def work(path, writer, count):
    database = connect(path)
    for number in range(count):
        for tries in range(200):
            try:
                database.execute("begin immediate")
                database.execute("insert into done values (?, ?)", (writer, number))
                database.execute("update counter set n = n + 1")
                database.execute("commit")
                break
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) and "busy" not in str(error):
                    raise
                if database.in_transaction:
                    database.execute("rollback")
                time.sleep(0.01)
        else:
            raise TimeoutError("the database is always locked")
    database.close()


def main():
    processes, count, mounts = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    name = "shared.db"
    database = connect(f"{mounts[0]}/{name}")
    database.execute("create table done (writer integer, number integer, primary key (writer, number))")
    database.execute("create table counter (n integer)")
    database.execute("insert into counter values (0)")
    database.close()
    children = []
    for writer in range(processes):
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                work(f"{mounts[writer % len(mounts)]}/{name}", writer, count)
                code = 0
            except BaseException as error:
                print(f"process {writer}: {type(error).__name__} {error}", file=sys.stderr, flush=True)
            os._exit(code)
        children.append(pid)
    failed = [pid for pid in children if os.waitpid(pid, 0)[1] != 0]
    assert not failed, f"{len(failed)} processes failed"
    for mount in mounts:
        database = connect(f"{mount}/{name}")
        assert database.execute("pragma integrity_check").fetchall() == [("ok",)]
        [(rows,)] = database.execute("select count(*) from done").fetchall()
        [(counted,)] = database.execute("select n from counter").fetchall()
        assert rows == counted == processes * count, f"{rows} rows, counter {counted}, of {processes * count} on {mount}"
        database.close()
    print(rows)


main()
