/** Exports as an operator makes, changes and removes them. Sessions hear of it by `exportChanged`. */
import { isDirectory } from '../../core/attr.ts'
import { dedupDomainBytes } from '../../core/checksum.ts'
import { FsError } from '../../core/errors.ts'
import { everybody, exportNameForm, userIdMax } from '../../core/export-names.ts'
import { identityForm } from '../../core/ids.ts'
import type {
  CreateExportRequest,
  ExportRecord,
  ExportReply,
  ExportRules as WireRules,
  ListExportsReply,
  RemoveExportRequest,
  SetExportRequest,
} from '../../wire/gen/cairn/v1/admin.ts'
import { bytesUpTo, listOf, text, u32, u64 } from '../../wire/validate.ts'
import type { Turn } from '../engine/turn.ts'
import type { SessionRegistry } from '../sessions/session-registry.ts'
import {
  type Dedup,
  dedups,
  type ExportRow,
  type ExportRules,
  type Squash,
  squashes,
} from '../store/exports.ts'
import { inodeAt, pathBytesMax } from './browse.ts'
import { pathOf } from './paths.ts'

const exportsMax = 1000
const identitiesMax = 10_000
/** Who is nobody in particular, by custom. */
const nobody = 65_534

const byDefault: ExportRules = {
  readOnly: false,
  squash: 'none',
  anonUid: nobody,
  anonGid: nobody,
  setuid: true,
  devices: true,
  callsPerSecond: 0,
  bytesPerSecond: 0,
  readBytesPerSecond: 0,
  dedup: 'own',
  shortCircuit: false,
}

export interface ExportParts {
  readonly sessions: SessionRegistry
  /** Sessions that show what they may not any more end; the others are told of the rules. */
  readonly exportChanged: (name: string) => void
}

export function createExport(turn: Turn, parts: ExportParts, request: CreateExportRequest): ExportReply {
  const { exports } = turn.store
  const name = text(request.name, 'name', 64)
  if (!exportNameForm.test(name))
    throw new FsError(
      'EINVAL',
      'The name of an export has at most 64 letters, digits, dots, hyphens and underscores',
    )
  if (exports.find(name) !== undefined) throw new FsError('EEXIST', `There is an export ${name} already`)
  if (exports.size >= exportsMax) throw new FsError('EDQUOT', `There are ${exportsMax} exports`)
  const inode = inodeAt(turn.store, bytesUpTo(request.path, pathBytesMax, 'path'))
  if (!isDirectory(inode.mode)) throw new FsError('ENOTDIR', 'Only a folder is exported')
  const identities = identitiesOf(request.identities)
  const rules = changed(byDefault, request.rules)
  exports.put({ ...rules, name, ino: inode.ino, domain: turn.entropy.bytes(dedupDomainBytes) })
  for (const identity of identities) exports.bind(identity, name)
  return done(turn, parts, name, 'an export was made')
}

export function setExport(turn: Turn, parts: ExportParts, request: SetExportRequest): ExportReply {
  const { exports } = turn.store
  const row = existing(turn, request.name)
  const [add, drop] = [identitiesOf(request.add), identitiesOf(request.drop)]
  const rules = changed(row, request.rules)
  exports.put({ ...row, ...rules })
  for (const identity of add) exports.bind(identity, row.name)
  for (const identity of drop) exports.drop(identity, row.name)
  return done(turn, parts, row.name, 'an export was changed')
}

export function removeExport(turn: Turn, parts: ExportParts, request: RemoveExportRequest): ExportReply {
  const row = existing(turn, request.name)
  const record = recordOf(turn, parts, row)
  turn.store.exports.remove(row.name)
  turn.out.log('info', 'an export was removed', { export: row.name })
  parts.exportChanged(row.name)
  return { export: record }
}

export function listExports(turn: Turn, parts: ExportParts): ListExportsReply {
  const { exports } = turn.store
  return {
    exports: [...exports.all()].map(row => recordOf(turn, parts, row)),
    unbound: exports.identitiesOf(''),
  }
}

export function releaseIdentity(turn: Turn, parts: ExportParts, identity: string): void {
  const [checked = ''] = identitiesOf([identity])
  if (!turn.store.exports.release(checked))
    throw new FsError('ENOENT', `${checked} is in an export, or never was in one: see cairn export ls`)
  turn.out.log('info', 'an identity is in no export any more', { identity: checked })
  parts.exportChanged('')
}

function existing(turn: Turn, name: string): ExportRow {
  const row = turn.store.exports.find(text(name, 'name', 64))
  if (row === undefined) throw new FsError('ENOENT', `There is no export ${name}: see cairn export ls`)
  return row
}

function identitiesOf(given: readonly string[]): readonly string[] {
  for (const identity of listOf(given, identitiesMax, 'identities'))
    if (identity !== everybody && !identityForm.test(identity))
      throw new FsError('EINVAL', 'identities: one is no id of an identity')
  return given
}

/** What is not given stays. */
function changed(rules: ExportRules, wire: WireRules | undefined): ExportRules {
  const squash = wire?.squash ?? rules.squash
  if (!isSquash(squash)) throw new FsError('EINVAL', `squash: one of ${squashes.join(', ')}`)
  const dedup = wire?.dedup ?? rules.dedup
  if (!isDedup(dedup)) throw new FsError('EINVAL', `dedup: one of ${dedups.join(', ')}`)
  // To be squashed to root would be none.
  return {
    readOnly: wire?.readOnly ?? rules.readOnly,
    squash,
    anonUid: u32(wire?.anonUid ?? rules.anonUid, 'anon_uid', userIdMax, 1),
    anonGid: u32(wire?.anonGid ?? rules.anonGid, 'anon_gid', userIdMax, 1),
    setuid: wire?.setuid ?? rules.setuid,
    devices: wire?.devices ?? rules.devices,
    callsPerSecond: wire?.callsPerSecond ?? rules.callsPerSecond,
    bytesPerSecond:
      wire?.writtenBytesPerSecond === undefined
        ? rules.bytesPerSecond
        : u64(wire.writtenBytesPerSecond, 'written_bytes_per_second'),
    readBytesPerSecond:
      wire?.readBytesPerSecond === undefined
        ? rules.readBytesPerSecond
        : u64(wire.readBytesPerSecond, 'read_bytes_per_second'),
    dedup,
    shortCircuit: wire?.shortCircuit ?? rules.shortCircuit,
  }
}

const isDedup = (dedup: string): dedup is Dedup => (dedups as readonly string[]).includes(dedup)
const isSquash = (squash: string): squash is Squash => (squashes as readonly string[]).includes(squash)

function done(turn: Turn, parts: ExportParts, name: string, what: string): ExportReply {
  turn.out.log('info', what, { export: name })
  parts.exportChanged(name)
  return { export: recordOf(turn, parts, existing(turn, name)) }
}

function recordOf(turn: Turn, { sessions }: ExportParts, row: ExportRow): ExportRecord {
  const { name, ino, domain: _, bytesPerSecond, readBytesPerSecond, ...rules } = row
  return {
    name,
    ino,
    path: pathOf(turn.store, ino),
    rules: {
      ...rules,
      writtenBytesPerSecond: BigInt(bytesPerSecond),
      readBytesPerSecond: BigInt(readBytesPerSecond),
    },
    identities: turn.store.exports.identitiesOf(name),
    mounts: BigInt([...sessions.all()].filter(session => session.row.export === name).length),
  }
}
