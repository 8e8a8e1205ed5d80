import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'

/** Node has no fcntl locks. */
const script = `
import errno, fcntl, os, sys
fd = os.open(sys.argv[1], os.O_RDWR)
for line in sys.stdin:
    what = line.strip()
    answer = "ok"
    try:
        if what == "lock": fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        elif what == "wait": fcntl.lockf(fd, fcntl.LOCK_EX)
        elif what == "unlock": fcntl.lockf(fd, fcntl.LOCK_UN)
        elif what == "read": answer = os.pread(fd, 6, 0).decode()
        elif what == "write": os.pwrite(fd, b"theirs", 0)
        elif what == "fsync": os.fsync(fd)
    except OSError as error:
        answer = errno.errorcode[error.errno]
    print(answer, flush=True)
`

/** A process with a file open that locks, reads and writes it when told. */
export class Locker {
  readonly #process: ChildProcess
  readonly #answers: ((answer: string) => void)[] = []

  constructor(file: string) {
    this.#process = spawn('/usr/bin/python3', ['-c', script, file], { stdio: ['pipe', 'pipe', 'inherit'] })
    const { stdout } = this.#process
    if (stdout !== null) createInterface(stdout).on('line', line => this.#answers.shift()?.(line))
    this.#process.on('exit', () => {
      for (const answer of this.#answers.splice(0)) answer('ended')
    })
  }

  /** 'ok', what was read, or the name of the error. */
  ask(what: string): Promise<string> {
    return new Promise(resolve => {
      this.#answers.push(resolve)
      this.#process.stdin?.write(`${what}\n`)
    })
  }

  kill(): void {
    this.#process.kill('SIGKILL')
  }
}
