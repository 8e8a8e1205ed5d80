import { FsError } from '../../core/errors.ts'
import { wireVersion, wireVersionMin } from '../../core/limits.ts'
import type { Link, Serving } from '../../core/network.ts'
import { MiB } from '../../core/units.ts'
import type {
  ListLogReply,
  LogBaseEnd,
  LogDown,
  LogHello,
  LogUp,
  ReadLogReply,
  ReadLogRequest,
} from '../../wire/gen/cairn/v1/log.ts'
import { isLogMac } from '../../wire/mac.ts'
import { logFollow, logList, logRead } from '../../wire/services.ts'
import { bytesOf, oneofPresent, text, u32, u63, u64 } from '../../wire/validate.ts'
import { lentBytesMax } from '../disk/disk.ts'
import type { Joined, MasterLog } from '../log/master-log.ts'
import type { Authority } from './authority.ts'

export interface LogServiceParts {
  /** Opened when it is first needed. */
  readonly open: () => Promise<MasterLog>
  readonly authority: Authority
  readonly identity: () => { readonly cluster: Uint8Array; readonly node: bigint }
  /** Hears of bytes that come. */
  readonly onMoved?: ((bytes: number) => void) | undefined
}

type LogLink = Link<LogDown, LogUp>
type Item = NonNullable<LogUp['item']>

/** What may have come and not be stored yet, before the link is asked to hold more back. */
const waitingBytesMax = 8 * MiB

/** The log of the master on this node: one master writes, whoever restores reads. */
export class LogService {
  readonly #parts: LogServiceParts
  #opened: Promise<MasterLog> | undefined
  #writing: LogStream | undefined
  /** What touches the files comes one after the other. */
  #last: Promise<unknown> = Promise.resolve()

  constructor(parts: LogServiceParts) {
    this.#parts = parts
  }

  register(serving: Serving): void {
    serving.stream(logFollow, link => this.#accept(link))
    serving.call(logList, () => this.#inTurn(log => this.#list(log)))
    serving.call(logRead, request => this.#inTurn(log => read(log, request)))
  }

  #accept(link: LogLink): void {
    const stream: LogStream = new LogStream(
      link,
      work => this.#inTurn(work),
      hello => this.#check(hello, stream),
      this.#parts.onMoved ?? (() => undefined),
      () => {
        if (this.#writing === stream) this.#writing = undefined
      },
    )
  }

  /** Who speaks last is the master: a link that it gave up may not be known to be dead here. */
  #check(hello: LogHello, stream: LogStream): bigint {
    const { membership } = this.#parts.authority
    if (membership === undefined) throw new FsError('EAGAIN', 'this node has not reached its master yet')
    const { cluster, node, key } = membership
    const incarnation = u63(hello.incarnation, 'hello.incarnation')
    if (hello.versionMin > wireVersion || hello.versionMax < wireVersionMin)
      throw new FsError('EPROTO', `the log is spoken in version ${wireVersionMin} to ${wireVersion}`)
    if (Buffer.compare(cluster, hello.cluster) !== 0 || hello.node !== node)
      throw new FsError('ESTALE', `this is node ${node} of another master`)
    if (!isLogMac(key, node, incarnation, hello.mac))
      throw new FsError('EACCES', 'the log is not written by the master of this node')
    if (this.#writing !== stream) this.#writing?.end(new FsError('ECANCELED', 'the master began anew'))
    this.#writing = stream
    return incarnation
  }

  #list(log: MasterLog): ListLogReply {
    const { cluster, node } = this.#parts.identity()
    return {
      cluster,
      node,
      bases: log.bases.map(base => ({ ...base, bytes: BigInt(base.bytes) })),
      segments: log.segments.map(segment => ({ ...segment, bytes: BigInt(segment.bytes) })),
    }
  }

  #inTurn<T>(work: (log: MasterLog) => T | Promise<T>): Promise<T> {
    const result = this.#last.then(async () => work(await this.#open()))
    this.#last = result.catch(() => undefined)
    return result
  }

  #open(): Promise<MasterLog> {
    this.#opened ??= this.#parts.open().catch((error: unknown) => {
      this.#opened = undefined
      throw error
    })
    return this.#opened
  }
}

async function read(log: MasterLog, request: ReadLogRequest): Promise<ReadLogReply> {
  const length = u32(request.length, 'length', lentBytesMax, 1)
  const data = await log.read(text(request.name, 'name', 100), u64(request.offset, 'offset'), length)
  return { data }
}

/** One link of a master. What has come together is stored with one sync. */
class LogStream {
  readonly #link: LogLink
  readonly #inTurn: <T>(work: (log: MasterLog) => Promise<T>) => Promise<T>
  readonly #check: (hello: LogHello) => bigint
  readonly #moved: (bytes: number) => void
  #items: Item[] = []
  #waitingBytes = 0
  #paused = false
  #working = false
  #joined = false
  #over = false

  constructor(
    link: LogLink,
    inTurn: <T>(work: (log: MasterLog) => Promise<T>) => Promise<T>,
    check: (hello: LogHello) => bigint,
    moved: (bytes: number) => void,
    ended: () => void,
  ) {
    this.#link = link
    this.#inTurn = inTurn
    this.#check = check
    this.#moved = moved
    link.onFrame(frame => this.#receive(oneofPresent(frame.item, 'log frame')))
    link.onClose(() => {
      this.#over = true
      ended()
      if (this.#joined) void this.#inTurn(log => log.leave()).catch(() => undefined)
    })
  }

  end(error: FsError): void {
    this.#over = true
    this.#link.close(error)
  }

  #receive(item: Item): void {
    if (this.#over) return
    this.#items.push(item)
    this.#waitingBytes += bytesOfItem(item)
    if (this.#waitingBytes > waitingBytesMax && !this.#paused) {
      this.#paused = true
      this.#link.pause()
    }
    if (!this.#working) void this.#work()
  }

  async #work(): Promise<void> {
    this.#working = true
    try {
      while (this.#items.length > 0 && !this.#over) {
        const batch = this.#take()
        await this.#inTurn(log => (this.#over ? Promise.resolve() : this.#run(log, batch)))
        const bytes = batch.reduce((sum, item) => sum + bytesOfItem(item), 0)
        this.#waitingBytes -= bytes
        this.#moved(bytes)
        if (this.#paused && this.#waitingBytes <= waitingBytesMax / 2) {
          this.#paused = false
          this.#link.resume()
        }
      }
    } catch (error) {
      this.end(FsError.from(error))
    } finally {
      this.#working = false
    }
  }

  /** All records that are next, or one other item. */
  #take(): Item[] {
    const other = this.#items.findIndex(({ $case }) => $case !== 'record')
    return this.#items.splice(0, other === 0 ? 1 : other === -1 ? this.#items.length : other)
  }

  async #run(log: MasterLog, batch: readonly Item[]): Promise<void> {
    const [first] = batch
    if (first === undefined) return
    if (first.$case === 'hello') {
      const incarnation = this.#check(first.value)
      this.#welcome(await log.join(incarnation))
      return
    }
    if (!this.#joined) throw new FsError('EPROTO', `log: ${first.$case} before hello`)
    switch (first.$case) {
      case 'record': {
        const records = batch.flatMap(item => (item.$case === 'record' ? [item.value.data] : []))
        this.#send({ $case: 'stored', value: { sequence: await log.append(records) } })
        return
      }
      case 'base':
        await log.beginBase(u63(first.value.after, 'base.after'))
        return
      case 'data': {
        const { offset, data } = first.value
        this.#told(await log.appendBase(u64(offset, 'data.offset'), data), false)
        return
      }
      case 'end':
        this.#told(await log.endBase(factsOf(first.value)), true)
        return
      case 'drop':
        await log.drop()
        this.#send({ $case: 'stored', value: { sequence: 0n } })
    }
  }

  #welcome({ last, base }: Joined): void {
    this.#joined = true
    this.#send({
      $case: 'welcome',
      value: {
        version: wireVersion,
        last,
        hasBase: base !== undefined,
        base: base?.after ?? 0n,
        until: base?.until ?? 0n,
      },
    })
  }

  #told(bytes: number, whole: boolean): void {
    this.#send({ $case: 'base', value: { bytes: BigInt(bytes), whole } })
  }

  #send(item: NonNullable<LogDown['item']>): void {
    this.#link.send({ item })
  }
}

const bytesOfItem = (item: Item): number =>
  item.$case === 'record' || item.$case === 'data' ? item.value.data.length : 0

const factsOf = (end: LogBaseEnd) => ({
  bytes: u64(end.bytes, 'end.bytes'),
  sha256: bytesOf(end.sha256, 32, 'end.sha256'),
  until: u63(end.until, 'end.until'),
  time: end.time,
})
