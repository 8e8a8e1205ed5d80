import { must } from '../../core/assert.ts'
import { isRegular } from '../../core/attr.ts'
import { type BlockKey, blockIdBytes, type Ino } from '../../core/ids.ts'
import { fileBytesMax, pieceBytes, smallAtOnce } from '../../core/limits.ts'
import { FsError } from '../../core/errors.ts'
import type { BlockInfo, GetExtents, GetExtentsOf, Locate } from '../../wire/gen/cairn/v1/session.ts'
import { existingFile } from '../namespace/checks.ts'
import type { QueryContext, ResultOf } from '../namespace/context.ts'
import type { Block } from '../store/blocks.ts'
import { wireAttr } from '../store/inodes.ts'
import type { Store } from '../store/store.ts'
import { liveRows } from './extents-edit.ts'

/** Extents in one answer, if the question does not say or asks for more. */
const extentsMax = 4096
/** A file of more is not small. */
const extentsOfSmallMax = 16
/** Blocks asked for in one Locate. */
const locateMax = 4096

/** The extents that overlap a range, whole, with their blocks and where those are. */
export function getExtents(store: Store, op: GetExtents, ctx: QueryContext): ResultOf<'extents'> {
  const inode = existingFile(store, op.ino)
  const from = Math.min(Number(op.offset), fileBytesMax)
  const to = Math.min(from + Number(op.length), fileBytesMax)
  const limit = op.limit === 0 ? extentsMax : Math.min(op.limit, extentsMax)
  const { rows, end } = liveRows(store, inode, from, to, limit)
  const indexes = new Map<BlockKey, number>()
  const blocks: BlockInfo[] = []
  const tokens = ctx.tokens()
  const extents = rows.map(row => {
    let index = indexes.get(row.block)
    if (index === undefined) {
      const block = must(store.blocks.byKey(row.block), 'block of an extent')
      index = blocks.push(info(block, ctx, tokens.make(block.id))) - 1
      indexes.set(row.block, index)
    }
    const { offset, length, blockOffset } = row
    return { offset: BigInt(offset), length: BigInt(length), block: index, blockOffset }
  })
  const attr = wireAttr(inode)
  return { $case: 'extents', value: { extents, blocks, end: BigInt(end), attr, tokensUntil: tokens.until } }
}

/** Those of whole small files; other inodes, and files that others may be changing, are left out. */
export function getExtentsOf(store: Store, { inos }: GetExtentsOf, ctx: QueryContext): ResultOf<'extentsOf'> {
  if (inos.length > smallAtOnce)
    throw new FsError('EINVAL', `At most ${smallAtOnce} files can be asked for at once`)
  const files = inos.flatMap(ino => {
    const inode = ctx.isSettled(ino as Ino) ? store.inodes.find(ino) : undefined
    if (inode === undefined || !isRegular(inode.mode) || inode.size > pieceBytes) return []
    const whole = { ino, offset: 0n, length: BigInt(inode.size), limit: extentsOfSmallMax + 1 }
    const { value } = getExtents(store, whole, ctx)
    return value.extents.length > extentsOfSmallMax ? [] : [{ ino, extents: value }]
  })
  return { $case: 'extentsOf', value: { files } }
}

/** Blocks that are unknown by now are left out. Who knows a block's name does not therefore get to read it: no tokens. */
export function locate(store: Store, op: Locate, ctx: QueryContext): ResultOf<'locate'> {
  if (op.ids.length > locateMax)
    throw new FsError('EINVAL', `At most ${locateMax} blocks can be located at once`)
  const blocks = op.ids.flatMap(id => {
    const block = id.length === blockIdBytes ? store.blocks.owner(id) : undefined
    return block === undefined ? [] : [info(block, ctx, noToken)]
  })
  return { $case: 'locate', value: { blocks } }
}

const noToken = new Uint8Array(0)

const info = ({ key, id, length }: Block, ctx: QueryContext, token: Uint8Array): BlockInfo => ({
  key,
  id,
  length,
  locations: ctx.locations(key),
  token,
})
