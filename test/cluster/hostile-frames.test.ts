import { promises as fs, readFileSync, statSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import test from 'ava'
import type { CallDef, Codec, StreamDef } from '#src/core/network.ts'
import { messageBytesMax } from '#src/core/limits.ts'
import { MiB } from '#src/core/units.ts'
import { NodeUp } from '#src/wire/gen/cairn/v1/nodes.ts'
import { SessionUp } from '#src/wire/gen/cairn/v1/session.ts'
import { GrpcNetwork } from '#src/wire/grpc/grpc-network.ts'
import {
  adminFsck,
  adminInfo,
  adminListBlocks,
  adminSetCopies,
  adminStatus,
  blocksOpen,
  nodesAttach,
  sessionAttach,
} from '#src/wire/services.ts'
import { hostileCall } from '../master/hostile-calls.js'
import { cairn, Cluster } from '../support/cluster.js'
import { HostileBytes, nested } from '../support/hostile-bytes.js'
import { descendants, residentBytes } from '../support/processes.js'
import { stderrLog } from '../support/stderr-log.js'

const asBytes: Codec<Uint8Array> = { encode: bytes => bytes, decode: bytes => bytes }
const rawStream = ({ path: name }: { path: string }): StreamDef<Uint8Array, Uint8Array> => ({
  path: name,
  up: asBytes,
  down: asBytes,
})
const rawCall = ({ path: name }: { path: string }): CallDef<Uint8Array, Uint8Array> => ({
  path: name,
  request: asBytes,
  response: asBytes,
})

const noBytes = new Uint8Array(0)
const fields = Array.from({ length: 14 }, (_, index) => index + 1)
const seed = Number(process.env['CAIRN_HOSTILE_SEED'] ?? '1')
const streams = Number(process.env['CAIRN_HOSTILE_STREAMS'] ?? '60')
const framesPerStream = 20
/** More than any daemon needs for this, and less than it takes that keeps what it is sent. */
const residentMax = 400 * MiB

let cluster: Cluster
let network: GrpcNetwork
test.before(async () => {
  cluster = await Cluster.start()
  network = new GrpcNetwork({ log: { ...stderrLog, warn: () => undefined } })
})
test.after.always(async () => {
  await network.close()
  await cluster.dispose()
})

const daemons = (): { pid: number; command: string }[] => {
  const { pid } = JSON.parse(readFileSync(path.join(cluster.dir, 'running.json'), 'utf8')) as { pid: number }
  return descendants(pid).filter(({ command }) => /cairn\.js (master|chunkserver|mount) /.test(command))
}

/** Sends the frames on a stream of its own, until the daemon ends it or for a while. */
async function stream(
  address: string,
  of: { path: string },
  frames: readonly Uint8Array[],
): Promise<boolean> {
  const link = network.dial(address, rawStream(of))
  let ended = false
  link.onFrame(() => undefined)
  const end = new Promise<void>(resolve =>
    link.onClose(() => {
      ended = true
      resolve()
    }),
  )
  for (const frame of frames) link.send(frame)
  await Promise.race([end, sleep(150)])
  const byItself = ended
  link.close()
  await end
  return byItself
}

const hello = (): Uint8Array =>
  SessionUp.encode({
    acked: 0n,
    items: [
      {
        item: {
          $case: 'hello',
          value: {
            versionMin: 1,
            versionMax: 1,
            session: 0n,
            epoch: 0n,
            secret: noBytes,
            cluster: noBytes,
            host: 'hostile',
            mountpoint: '/hostile',
            pid: 1,
            program: 'test',
            zone: '',
            readOnly: false,
            clock: 0n,
            export: '',
          },
        },
      },
    ],
  }).finish()

/** Of a cluster that is not there, so that no store joins which does not exist. */
const register = (hostile: HostileBytes): Uint8Array =>
  NodeUp.encode({
    item: {
      $case: 'register',
      value: {
        versionMin: 1,
        versionMax: 1,
        cluster: hostile.bytes(16),
        node: 1n,
        store: hostile.bytes(16),
        incarnation: 1n,
        address: '127.0.0.1:1',
        zone: '',
        host: 'hostile',
        totalBytes: 1n << 40n,
        usedBytes: 0n,
        blocks: 0n,
        program: 'test',
        sequence: 0n,
      },
    },
  }).finish()

test.serial('whatever is sent to running daemons, they stay up, small, sound and of use', async t => {
  t.timeout(170_000)
  const status = await cluster.json<{ master: { address: string }; nodes: { address: string }[] }>('status')
  const master = status.master.address
  const before = daemons()
  t.is(before.length, 5)
  const at = (name: string): string => path.join(cluster.mount, name)
  await fs.mkdir(at('d'))
  for (const name of ['f', 'l', 'p', 'kept']) await fs.writeFile(at(name), `content of ${name}`.repeat(1000))
  await cairn(['sync', cluster.mount])
  const inos = [1n, ...['f', 'l', 'p', 'd'].map(name => BigInt(statSync(at(name)).ino))]

  const hostile = new HostileBytes(seed)
  const call = (id: number): Buffer => nested(1, nested(2, hostileCall(hostile, BigInt(id), inos)))
  const wild = (): Buffer => nested(hostile.pick(fields), hostile.message(fields))
  const perhaps = (frame: Uint8Array, often: number): Uint8Array =>
    hostile.below(often) === 0 ? hostile.mutated(frame) : frame
  let ended = 0
  for (let n = 0; n < streams; n++) {
    const ids = Array.from({ length: framesPerStream }, (_, index) => index + 1)
    const sessionFrames = [
      perhaps(hello(), 5),
      ...ids.map(id => perhaps(hostile.below(4) === 0 ? nested(1, wild()) : call(id), 6)),
    ]
    const nodeFrames = [perhaps(register(hostile), 3), ...ids.map(() => perhaps(wild(), 4))]
    const blockFrames = ids.map(() => perhaps(wild(), 4))
    const outcomes = await Promise.all([
      stream(master, sessionAttach, sessionFrames),
      stream(master, nodesAttach, nodeFrames),
      ...status.nodes.map(async node => stream(node.address, blocksOpen, blockFrames)),
      // A daemon hears of what is not for it, too.
      stream(hostile.pick(status.nodes).address, sessionAttach, sessionFrames),
    ])
    ended += outcomes.filter(Boolean).length
  }
  t.true(ended > 0, `${ended} streams were ended`)

  const requests = [adminStatus, adminInfo, adminSetCopies, adminListBlocks, adminFsck]
  let answered = 0
  for (let n = 0; n < streams; n++)
    for (const method of requests) {
      // Each check of the database is a thread of its own.
      if (method === adminFsck && n % 20 > 0) continue
      const bytes = hostile.below(3) === 0 ? hostile.bytes(hostile.below(200)) : hostile.message(fields)
      await network.call(master, rawCall(method), bytes, { timeoutMs: 20_000 }).then(
        () => answered++,
        () => undefined,
      )
    }
  t.true(answered > 0)
  for (const address of [master, ...status.nodes.map(node => node.address)])
    await Promise.all(
      [sessionAttach, nodesAttach, blocksOpen].map(async of =>
        stream(address, of, [Buffer.alloc(messageBytesMax, 0x0a)]),
      ),
    )

  t.deepEqual(daemons(), before, 'no daemon ended')
  for (const { pid, command } of before)
    t.true(residentBytes(pid) < residentMax, `${command}: ${residentBytes(pid)} bytes resident`)
  // What the sessions of hostile mounts still hold is recalled or runs out.
  t.is(await fs.readFile(at('kept'), 'utf8'), 'content of kept'.repeat(1000))
  await fs.writeFile(at('new'), 'new'.repeat(100_000))
  await cairn(['sync', cluster.mount])
  t.is(await fs.readFile(at('new'), 'utf8'), 'new'.repeat(100_000))
  await cairn(['fsck', '--data', '--dir', cluster.dir])
})
