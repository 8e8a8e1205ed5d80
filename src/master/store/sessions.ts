import type { Database } from 'better-sqlite3'
import type { SessionId } from '../../core/ids.ts'
import type { Counters } from './counters.ts'

export interface SessionRow {
  readonly id: SessionId
  /** Named in grants and receipts; rises with every incarnation of the session's state. */
  readonly epoch: bigint
  /** Proves that who goes on with the session is who began it. */
  readonly secret: Buffer
  readonly host: string
  readonly mountpoint: string
  readonly pid: number
  readonly program: string
  readonly zone: string
  readonly readOnly: boolean
  /** Cluster time, ns. */
  readonly started: bigint
  /** Commands up to this call id were acknowledged. */
  readonly acked: bigint
  /** Whose it is: as whom it began with TLS. Empty: nobody's. */
  readonly identity: string
  /** The export that it is of; empty: it sees everything. */
  readonly export: string
  /** What its ids of blocks are made with; empty: nothing. It stays, as blocks may be on their way. */
  readonly domain: Uint8Array
}

interface Row {
  readonly id: bigint
  readonly epoch: bigint
  readonly secret: Buffer
  readonly host: string
  readonly mountpoint: string
  readonly pid: bigint
  readonly program: string
  readonly zone: string
  readonly read_only: bigint
  readonly started: bigint
  readonly acked: bigint
  readonly identity: string
  readonly export: string
  readonly domain: Buffer
}

const fromRow = ({ id, pid, read_only, ...rest }: Row): SessionRow => ({
  ...rest,
  id: id as SessionId,
  pid: Number(pid),
  readOnly: read_only !== 0n,
})

/** Sessions that are not known to be dead: after a restart the master waits for them to reclaim. */
export class Sessions {
  static readonly schema = `
    CREATE TABLE sessions (
      id INTEGER PRIMARY KEY,
      epoch INTEGER NOT NULL,
      secret BLOB NOT NULL,
      host TEXT NOT NULL,
      mountpoint TEXT NOT NULL,
      pid INTEGER NOT NULL,
      program TEXT NOT NULL,
      zone TEXT NOT NULL,
      read_only INTEGER NOT NULL,
      started INTEGER NOT NULL, -- ns
      acked INTEGER NOT NULL, -- call id
      identity TEXT NOT NULL DEFAULT '',
      export TEXT NOT NULL DEFAULT '',
      domain BLOB NOT NULL DEFAULT x'' -- dedup domain
    ) STRICT;`

  /** What databases of before it lack. */
  static readonly identityColumn = "ALTER TABLE sessions ADD COLUMN identity TEXT NOT NULL DEFAULT '';"
  static readonly exportColumn = "ALTER TABLE sessions ADD COLUMN export TEXT NOT NULL DEFAULT '';"
  static readonly domainColumn = "ALTER TABLE sessions ADD COLUMN domain BLOB NOT NULL DEFAULT x'';"

  readonly #counters: Counters
  readonly #byId
  readonly #all
  readonly #insert
  readonly #setEpoch
  readonly #setAcked
  readonly #setProcess
  readonly #delete

  constructor(db: Database, counters: Counters) {
    this.#counters = counters
    this.#byId = db.prepare<[bigint], Row>('SELECT * FROM sessions WHERE id = ?').safeIntegers()
    this.#all = db.prepare<[], Row>('SELECT * FROM sessions ORDER BY id').safeIntegers()
    this.#insert = db.prepare(
      `INSERT INTO sessions (id, epoch, secret, host, mountpoint, pid, program, zone, read_only, started, acked, identity, export, domain)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    )
    this.#setEpoch = db.prepare<[bigint, bigint]>('UPDATE sessions SET epoch = ? WHERE id = ?')
    this.#setAcked = db.prepare<[bigint, bigint]>('UPDATE sessions SET acked = ? WHERE id = ?')
    this.#setProcess = db.prepare<[number, string, bigint]>(
      'UPDATE sessions SET pid = ?, program = ? WHERE id = ?',
    )
    this.#delete = db.prepare<[bigint]>('DELETE FROM sessions WHERE id = ?')
  }

  find(id: bigint): SessionRow | undefined {
    const row = this.#byId.get(id)
    return row === undefined ? undefined : fromRow(row)
  }

  all(): SessionRow[] {
    return this.#all.all().map(fromRow)
  }

  issueId(): SessionId {
    return this.#counters.issue('session') as SessionId
  }

  /** The next session gets this id. */
  get nextId(): bigint {
    return this.#counters.peek('session')
  }

  began(s: SessionRow): void {
    this.#insert.run(
      s.id,
      s.epoch,
      s.secret,
      s.host,
      s.mountpoint,
      s.pid,
      s.program,
      s.zone,
      s.readOnly ? 1 : 0,
      s.started,
      s.acked,
      s.identity,
      s.export,
      s.domain,
    )
  }

  setEpoch(id: SessionId, epoch: bigint): void {
    this.#setEpoch.run(epoch, id)
  }

  acknowledged(id: SessionId, upTo: bigint): void {
    this.#setAcked.run(upTo, id)
  }

  /** Another process has it. */
  movedTo(id: SessionId, pid: number, program: string): void {
    this.#setProcess.run(pid, program, id)
  }

  ended(id: SessionId): void {
    this.#delete.run(id)
  }
}
