import test from 'ava'
import { RealDisk } from '#src/chunkserver/disk/real-disk.ts'
import { FsError } from '#src/core/errors.ts'
import { openStore, temporaryFolder } from './support/test-node.ts'

/** A disk that for a while can only be read. */
class TurningDisk extends RealDisk {
  readOnly = false

  override async create(path: string): ReturnType<RealDisk['create']> {
    if (this.readOnly) throw new FsError('EROFS', 'the disk is read-only')
    return super.create(path)
  }
}

test('a disk that turns read-only while nobody writes is noticed, and so is its return', async t => {
  const folder = await temporaryFolder(t)
  const disk = new TurningDisk(folder)
  const store = await openStore(folder, { disk })
  t.teardown(() => store.close())
  const maintained = async (): Promise<string | undefined> => {
    for (let rounds = 0; rounds < 10; rounds++) await store.maintain()
    return store.space.failure?.code
  }
  t.is(await maintained(), undefined)
  disk.readOnly = true
  t.is(await maintained(), 'EROFS')
  disk.readOnly = false
  t.is(await maintained(), undefined)
})
