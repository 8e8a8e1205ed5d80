import test from 'ava'
import { createChecksums } from '#src/core/checksum.ts'
import { FsError } from '#src/core/errors.ts'
import { rootIno } from '#src/core/ids.ts'
import type { Name } from '#src/core/name.ts'
import { FileIo } from '#src/sim/kernel/file-io.ts'
import { Kernel } from '#src/sim/kernel/kernel.ts'
import { pageBytes } from '#src/sim/kernel/kernel-inode.ts'
import { KernelNotifier } from '#src/sim/kernel/kernel-notifier.ts'
import { Names, type Place } from '#src/sim/kernel/names.ts'
import { World } from '#src/sim/world/world.ts'
import { MemoryFileSystem } from '../support/memory-filesystem.ts'

const pages = 4
const byteAt = (page: number) => page + 1

const placeOf = (kernel: Kernel, name: string): Place => ({ parent: kernel.root, name: name as Name })

async function mounted(seed: number) {
  const world = new World(seed, await createChecksums(), () => undefined)
  const env = world.start('mount', { aheadNs: 0n })
  const prng = world.fork()
  const fs = new MemoryFileSystem({ before: () => env.delay(prng.between(0, 2)) })
  const kernel = new Kernel(env, world.fork(), error => world.bug(error))
  const names = new Names(kernel)
  const io = new FileIo(kernel, names)
  const notifier = new KernelNotifier(kernel, io, true)
  const done = async <Result>(work: Promise<Result>): Promise<Result> => {
    const ended = { yet: false }
    const end = () => {
      ended.yet = true
    }
    work.then(end, end)
    await world.timeline.run(world.timeline.now + 60_000, () => ended.yet)
    if (!ended.yet) throw new Error(`stuck: ${kernel.stuck().join('; ')}`)
    return work
  }
  await done(kernel.attach(fs))
  return { world, env, prng, fs, kernel, names, io, notifier, done }
}

test('every page has its own bytes, however reads and invalidations overlap', async t => {
  for (let seed = 1; seed <= 30; seed++) {
    const { world, env, prng, io, kernel, notifier, done } = await mounted(seed)
    const file = await done(io.openAt(placeOf(kernel, 'f'), { read: true, write: true, create: true }, 1))
    const bytes = Buffer.concat(
      Array.from({ length: pages }, (_, page) => Buffer.alloc(pageBytes, byteAt(page))),
    )
    await done(io.write(file, 0, bytes))
    const wrong: string[] = []
    const reads = async () => {
      for (let n = 0; n < 20; n++) {
        await env.delay(prng.between(0, 1))
        const from = prng.below(pages)
        const count = 1 + prng.below(pages - from)
        const found = await io.read(file, from * pageBytes, count * pageBytes)
        for (let at = 0; at < count; at++)
          if (found[at * pageBytes] !== byteAt(from + at)) wrong.push(`page ${from + at} of seed ${seed}`)
      }
    }
    const invalidates = async () => {
      for (let n = 0; n < 20; n++) {
        await env.delay(prng.between(0, 1))
        await notifier.invalidateInode(file.inode.ino, 0, -1)
      }
    }
    await done(Promise.all([reads(), reads(), reads(), invalidates()]))
    t.deepEqual(wrong, [])
    t.is(world.failure, undefined)
  }
})

test('a rename between names of one inode does nothing, also where it got the second name meanwhile', async t => {
  const { world, fs, kernel, names, done } = await mounted(1)
  const [a, b] = [placeOf(kernel, 'a'), placeOf(kernel, 'b')]
  const made = await done(names.mkdirAt(a, 1))
  // Another mount renames it after this kernel has looked up the first name, and before it looks up the second.
  const { prototype } = MemoryFileSystem
  fs.lookup = async (parent, name, caller) => {
    const found = await prototype.lookup.call(fs, parent, name, caller)
    if (name === a.name) fs.rename(rootIno, a.name, rootIno, b.name, 'replace')
    return found
  }
  const same = await done(names.renameAt(a, b, 'replace', 1))
  t.is(same?.ino, made)
  fs.lookup = (...args) => prototype.lookup.apply(fs, args)
  t.is((await done(names.walk('/b', 1))).ino, made)
  const failure = await done(t.throwsAsync(names.walk('/a', 1), { instanceOf: FsError }))
  t.is(failure.code, 'ENOENT')
  t.is(await done(names.renameAt(b, a, 'replace', 1)), undefined)
  t.is(world.failure, undefined)
})
