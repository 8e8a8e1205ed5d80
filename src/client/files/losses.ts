import { FsError } from '../../core/errors.ts'
import type { Ino } from '../../core/ids.ts'
import type { Inode } from '../cache/inode.ts'
import type { FilesContext } from './context.ts'

/**
 * Errors of what programs were told was done and then could not be kept: written data, names. As in Linux (errseq_t),
 * each handle that was open hears of each once, by fsync or close, whoever else has heard of it before; and one that
 * nobody has heard of is told to who opens the file next.
 */
export interface Listener {
  readonly node: Inode
  /** Losses that it need not be told of any more, of `Inode.losses.count`. */
  heard: number
}

/** What a new handle need not be told of. */
export const alreadyHeard = ({ losses: { count, unheard } }: Inode): number => (unheard ? count - 1 : count)

/** Something was lost that no write-back has told of: the caller tells somebody, others are still to hear of it. */
export function noteLoss({ ownLosses: losses }: Inode, error: FsError): void {
  losses.count += 1
  losses.last = error
  losses.unheard = true
}

/** Throws the last loss that the handle has not heard of. */
export function throwLossTo(context: FilesContext, listener: Listener): void {
  const { losses } = gathered(context, listener.node)
  if (listener.heard >= losses.count) return
  listener.heard = losses.count
  listener.node.ownLosses.unheard = false
  if (losses.last !== undefined) throw FsError.from(losses.last)
}

/** For an operation by name: throws a loss that nobody has heard of. Who has the file open is still told. */
export function throwUnheardLoss(context: FilesContext, ino: Ino): void {
  const node = context.cache.get(ino)
  if (node === undefined) {
    const error = context.data.known(ino)?.takeError()
    if (error !== undefined) throw FsError.from(error)
    return
  }
  const { losses } = gathered(context, node)
  if (!losses.unheard || losses.last === undefined) return
  if (node.opens === 0 || node.isDirectory) node.ownLosses.unheard = false
  throw FsError.from(losses.last)
}

/** What is to be told, with everything that the data path has noted. */
export const lossesOf = (context: FilesContext, node: Inode): Inode['losses'] =>
  gathered(context, node).losses

function gathered({ data }: FilesContext, node: Inode): Inode {
  const error = data.known(node.ino)?.takeError() ?? node.lost
  node.lost = undefined
  if (error !== undefined) noteLoss(node, FsError.from(error))
  return node
}
