import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { RealLocalFiles } from '#src/client/disk/real-local-files.ts'
import { pieceBytes } from '#src/core/limits.ts'
import { pattern } from './data/harness.ts'

const proof = Buffer.from('0123456789abcdef')
const proofFile = 'tmp/proof-3'
const files = new RealLocalFiles({ now: () => performance.now(), wall: () => 0n })

function store(t: ExecutionContext): string {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'cairn-local-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  mkdirSync(path.join(folder, 'tmp'))
  mkdirSync(path.join(folder, 'blocks'))
  writeFileSync(path.join(folder, proofFile), proof)
  return folder
}

test('a folder is used only if the proof of its node is in it', async t => {
  const folder = store(t)
  t.truthy(await files.open({ folder, proofFile, proof }))
  for (const other of [Buffer.from('another start :-'), proof.subarray(0, 15), Buffer.alloc(0)])
    t.is(await files.open({ folder, proofFile, proof: other }), undefined)
  t.is(await files.open({ folder: `${folder}-gone`, proofFile, proof }), undefined)
  t.is(await files.open({ folder, proofFile: 'tmp/proof-4', proof }), undefined)
})

test('a node cannot have another file opened than one of its own making', async t => {
  const folder = store(t)
  writeFileSync(path.join(folder, 'tmp', 'other'), proof)
  symlinkSync('other', path.join(folder, 'tmp', 'proof-5'))
  mkdirSync(path.join(folder, 'tmp', 'proof-6'))
  for (const name of ['tmp/other', '../tmp/proof-3', 'tmp/proof-3/../other', 'tmp/proof-5', 'tmp/proof-6'])
    t.is(await files.open({ folder, proofFile: name, proof }), undefined, name)
  t.is(await files.open({ folder: path.relative(process.cwd(), folder), proofFile, proof }), undefined)
})

test('files are read into frames, to their end, and to the end of a read that is under way when closed', async t => {
  const folder = store(t)
  const bytes = pattern(2 * pieceBytes + 1000, 1)
  writeFileSync(path.join(folder, 'blocks', 'b'), bytes)
  const opened = await files.open({ folder, proofFile, proof })
  const memory = Buffer.from(files.memory(4 * pieceBytes))
  const frames = [2, 0, 3].map(n => memory.subarray(n * pieceBytes, (n + 1) * pieceBytes))
  const file = await opened?.open('blocks/b')
  t.is(await file?.read(frames, 0), bytes.length)
  t.true(Buffer.concat(frames).subarray(0, bytes.length).equals(bytes))
  t.is(await file?.read(frames.slice(0, 1), 2 * pieceBytes), 1000)
  t.true(frames[0]?.subarray(0, 1000).equals(bytes.subarray(2 * pieceBytes)))
  const last = file?.read(frames.slice(1, 2), pieceBytes)
  file?.close()
  file?.close()
  t.is(await last, pieceBytes)
  await t.throwsAsync(async () => file?.read(frames, 0), { code: 'EBADF' })
  await t.throwsAsync(async () => opened?.open('blocks/none'), { code: 'ENOENT' })
})

test('a file is read at once where its disk is quick, and for a while not where it was not', async t => {
  const folder = store(t)
  writeFileSync(path.join(folder, 'blocks', 'b'), pattern(pieceBytes + 1000, 2))
  let now = 0
  let takes = 0.1
  const timed = new RealLocalFiles({ now: () => (now += takes), wall: () => 0n })
  const opened = await timed.open({ folder, proofFile, proof })
  const file = await opened?.open('blocks/b')
  const into = Buffer.from(timed.memory(pieceBytes))
  t.is(file?.readNow(into, 0), pieceBytes)
  t.true(into.equals(pattern(pieceBytes + 1000, 2).subarray(0, pieceBytes)))
  takes = 50
  t.is(file?.readNow(into, pieceBytes), 1000)
  takes = 0.1
  t.is(file?.readNow(into, 0), undefined)
  now += 2000
  t.is(file?.readNow(into, 0), pieceBytes)
  file?.close()
  t.is(file?.readNow(into, 0), undefined)
})
