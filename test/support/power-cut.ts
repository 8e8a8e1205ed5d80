import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Ino, rootIno } from '#src/core/ids.ts'
import { nameToText, type Name } from '#src/core/name.ts'
import type { DiskEvent } from './disk-events.ts'
import type { Dice } from './random-calls.ts'

/**
 * What a power cut leaves of what was not synced: all of it (only processes died), nothing, what came first, or each
 * sector and each name for itself.
 */
export type Loss = 'nothing' | 'everything' | 'the last' | 'any'

type Bytes = Extract<DiskEvent, { op: 'write' | 'size' }>
type Naming = Extract<DiskEvent, { op: 'name' | 'noName' }>

const sectorBytes = 512

class Content {
  #bytes = Buffer.alloc(0)
  size = 0

  get bytes(): Buffer {
    return this.#bytes.subarray(0, this.size)
  }

  copy(): Content {
    const copy = new Content()
    copy.#bytes = Buffer.from(this.bytes)
    copy.size = this.size
    return copy
  }

  write(at: number, data: Uint8Array): void {
    this.#reserve(at + data.length)
    this.#bytes.set(data, at)
    this.size = Math.max(this.size, at + data.length)
  }

  resize(size: number): void {
    this.#reserve(size)
    if (size < this.size) this.#bytes.fill(0, size, this.size)
    this.size = size
  }

  #reserve(size: number): void {
    if (size <= this.#bytes.length) return
    const larger = Buffer.alloc(Math.max(size, 2 * this.#bytes.length))
    this.#bytes.copy(larger, 0, 0, this.size)
    this.#bytes = larger
  }
}

class StoredFile {
  readonly #safe = new Content()
  #pending: Bytes[] = []

  did(event: Bytes): void {
    this.#pending.push(event)
  }

  sync(): void {
    for (const event of this.#pending) apply(this.#safe, event)
    this.#pending = []
  }

  left(loss: Loss, dice: Dice): Buffer {
    const content = this.#safe.copy()
    const pending = this.#pending
    if (loss === 'nothing') for (const event of pending) apply(content, event)
    else if (loss === 'the last')
      for (const event of pending.slice(0, dice.below(pending.length + 1))) apply(content, event)
    else if (loss === 'any') for (const event of pending) applyInPart(content, event, dice)
    return content.bytes
  }
}

function apply(content: Content, event: Bytes): void {
  if (event.op === 'size') content.resize(event.size)
  else content.write(event.at, event.data)
}

/** Each sector that a write touches is as before, or as after; one beyond the end before may be garbage. */
function applyInPart(content: Content, event: Bytes, dice: Dice): void {
  if (event.op === 'size') {
    if (dice.below(2) === 0) content.resize(event.size)
    return
  }
  const { at, data } = event
  for (let done = 0; done < data.length; ) {
    const end = Math.min(data.length, done + sectorBytes - ((at + done) % sectorBytes))
    const fate = dice.below(8)
    if (fate < 4) content.write(at + done, data.subarray(done, end))
    else if (fate === 4 && at + done >= content.size)
      content.write(at + done, Buffer.alloc(end - done, 1 + dice.below(255)))
    done = end
  }
}

interface Entry {
  readonly ino: Ino
  readonly isFolder: boolean
}

class StoredFolder {
  #safe = new Map<Name, Entry>()
  #pending: Naming[] = []

  did(event: Naming): void {
    this.#pending.push(event)
  }

  sync(): void {
    this.#safe = this.left('nothing')
    this.#pending = []
  }

  left(loss: Loss, dice?: Dice): Map<Name, Entry> {
    const names = new Map(this.#safe)
    const count = loss === 'the last' ? (dice?.below(this.#pending.length + 1) ?? 0) : this.#pending.length
    const lost = new Set<Name>()
    for (const event of loss === 'everything' ? [] : this.#pending.slice(0, count)) {
      // Of one name the first changes may have come through and not the later ones.
      if (loss === 'any' && dice?.below(2) === 0) lost.add(event.name)
      if (lost.has(event.name)) continue
      if (event.op === 'name') names.set(event.name, { ino: event.ino, isFolder: event.isFolder })
      else names.delete(event.name)
    }
    return names
  }
}

/** A recorded disk, as it was after the first so many events. */
export class ReplayedDisk {
  readonly #events: readonly DiskEvent[]
  #done = 0
  readonly #files = new Map<Ino, StoredFile>()
  readonly #folders = new Map<Ino, StoredFolder>()

  constructor(events: readonly DiskEvent[]) {
    this.#events = events
  }

  /** Moments only go forward. */
  goTo(moment: number): void {
    for (; this.#done < moment; this.#done++) {
      const event = this.#events[this.#done]
      if (event !== undefined) this.#did(event)
    }
  }

  /** Writes what is left into a new folder. Each of the folders at the top is a disk of its own, with its own loss. */
  leave(into: string, lossOf: (disk: string) => Loss, dice: Dice): void {
    mkdirSync(into)
    for (const [name, { ino }] of this.#folder(rootIno).left('nothing'))
      this.#leaveFolder(ino, join(into, nameToText(name)), lossOf(nameToText(name)), dice)
  }

  #leaveFolder(ino: Ino, into: string, loss: Loss, dice: Dice): void {
    mkdirSync(into)
    for (const [name, entry] of this.#folder(ino).left(loss, dice)) {
      const path = join(into, nameToText(name))
      if (entry.isFolder) this.#leaveFolder(entry.ino, path, loss, dice)
      else writeFileSync(path, this.#file(entry.ino).left(loss, dice))
    }
  }

  #did(event: DiskEvent): void {
    switch (event.op) {
      case 'name':
      case 'noName':
        this.#folder(event.folder).did(event)
        return
      case 'write':
      case 'size':
        this.#file(event.ino).did(event)
        return
      case 'sync':
        this.#file(event.ino).sync()
        return
      case 'syncFolder':
        this.#folder(event.ino).sync()
    }
  }

  #file(ino: Ino): StoredFile {
    const file = this.#files.get(ino) ?? new StoredFile()
    this.#files.set(ino, file)
    return file
  }

  #folder(ino: Ino): StoredFolder {
    const folder = this.#folders.get(ino) ?? new StoredFolder()
    this.#folders.set(ino, folder)
    return folder
  }
}
