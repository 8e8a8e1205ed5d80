import type { ClientDataPath } from '../../client/data-path.ts'
import type { FileData } from '../../client/ports.ts'
import type { LeaseHolder } from '../../client/session/lease-holder.ts'
import type { Session } from '../../client/session/session.ts'
import type { FileSystem, Notifier } from '../../fuse/filesystem.ts'
import type { Kernel } from '../kernel/kernel.ts'
import type { PlantedBugs } from './options.ts'

/** Breaks a mount's session on purpose, before it starts. */
export function plantInSession(
  bugs: PlantedBugs,
  session: Session,
  delay: (ms: number) => Promise<void>,
): void {
  if (bugs.latePromises === true)
    session.post = async (op, expect) => {
      await delay(500)
      return session.call(op, expect)
    }
  if (bugs.endlessLease === true) session.leaseLeftMs = () => 60_000
  const start = session.start.bind(session)
  session.start = holder => start(plantedHolder(bugs, holder))
}

function plantedHolder(bugs: PlantedBugs, holder: LeaseHolder): LeaseHolder {
  return {
    holds: ino => holder.holds(ino),
    granted: (ino, lease, alone) => holder.granted(ino, lease, alone || bugs.lonelyMounts === true),
    recalled: async (ino, to, how) => {
      const lowering = holder.recalled(ino, to, how)
      return bugs.hastyRecall === true ? { kept: to, open: false, writing: false } : lowering
    },
    distrust: why => {
      if (bugs.endlessLease !== true) holder.distrust(why)
    },
    sessionDied: () => {
      dying = bugs.lateWrites === true
      holder.sessionDied()
      dying = false
    },
    holdings: () => holder.holdings(),
    get dirtyBytes() {
      return holder.dirtyBytes
    },
    get traffic() {
      return holder.traffic
    },
  }
}

/** A session is dying whose data is to be kept, as it must not be. */
let dying = false

/** What was written under a session that died goes on its way all the same. */
export function plantInData(bugs: PlantedBugs, data: ClientDataPath): ClientDataPath {
  if (bugs.lateWrites !== true) return data
  const known = data.known.bind(data)
  data.known = ino => {
    const file = known(ino)
    return !dying || file === undefined ? file : spared(file)
  }
  return data
}

const spared = (file: FileData): FileData =>
  Object.create(file, {
    dirtyBytes: { value: 0 },
    abandon: { value: () => undefined },
    forgetExtents: { value: () => undefined },
  }) as FileData

export function plantInNotifier(bugs: PlantedBugs, notifier: Notifier, kernel: Kernel): Notifier {
  const nothing = async () => undefined
  if (bugs.deafKernel === true)
    return {
      invalidateInode: nothing,
      invalidateEntry: nothing,
      invalidateAllNames: async () => true,
      invalidateAttributesNow: () => undefined,
      invalidateAllNamesNow: () => undefined,
    }
  return {
    invalidateInode: async (ino, offset, length) =>
      notifier.invalidateInode(ino, bugs.keptPages === true ? -1 : offset, length),
    invalidateEntry: async (parent, name) => notifier.invalidateEntry(parent, name),
    invalidateAllNames: async () => {
      if (bugs.keptNames === true) return true
      const known = await notifier.invalidateAllNames()
      if (bugs.keptAbsences === true) kernel.renewAbsences()
      return known
    },
    invalidateAttributesNow: ino => notifier.invalidateAttributesNow(ino),
    invalidateAllNamesNow: () => {
      if (bugs.keptNames === true) return
      notifier.invalidateAllNamesNow()
      if (bugs.keptAbsences === true) kernel.renewAbsences()
    },
  }
}

export function plantInFileSystem(bugs: PlantedBugs, fs: FileSystem): FileSystem {
  if (bugs.hastyFsync === true) fs.fsync = async () => undefined
  if (bugs.localLocks === true) fs.setlk = async () => undefined
  if (bugs.cachedAppend === true) {
    const write = fs.write.bind(fs)
    fs.write = (ino, handle, offset, data, flags, caller) =>
      write(ino, handle, offset, data, { ...flags, append: false }, caller)
  }
  return fs
}
