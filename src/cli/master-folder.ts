import { existsSync, readdirSync } from 'node:fs'
import path from 'node:path'
import { UsageError } from '../core/errors.ts'
import { BackupFolder } from '../service/backup-folder.ts'

/** How the copies that a restore puts aside are called, with the time at the end. */
export const asidePrefix = 'master.db.before-restore-'

/** A master's data folder: where its database and the copies of it are. */
export class MasterFolder {
  readonly path: string
  readonly backups: BackupFolder

  constructor(folder: string) {
    this.path = folder
    this.backups = new BackupFolder(path.join(folder, 'backups'))
  }

  get database(): string {
    return path.join(this.path, 'master.db')
  }

  /** The command that restores the newest copy. */
  get restoreWith(): string {
    const newest = this.backups.list().at(-1)
    const file = newest === undefined ? 'FILE' : this.backups.file(newest.name)
    return `cairn restore ${file} --data ${this.path}`
  }

  /**
   * Makes it ready for a master. UsageError where a database was, and is not any more: a new cluster in its place
   * would take the nodes' blocks for rubbish.
   */
  check(): void {
    if (!existsSync(this.database)) {
      const aside = readdirSync(this.path).some(name => name.startsWith(asidePrefix))
      if (aside || this.backups.list().length > 0)
        throw new UsageError(
          `${this.path} had a master's database, which is gone: restore it with ${this.restoreWith}`,
        )
    }
    this.backups.prepare()
  }
}
