import { SessionRecords } from '#src/cli/local/session-records.ts'

export const recordCluster = Buffer.from('a cluster')
export const recordHost = 'a machine'

const [, , folder, session] = process.argv
if (import.meta.filename === process.argv[1] && folder !== undefined && session !== undefined) {
  const records = await SessionRecords.open(recordHost, folder)
  records.note({
    cluster: recordCluster,
    session: BigInt(session),
    epoch: 1n,
    secret: Buffer.from('secret'),
  })
  console.log('ready')
  setInterval(() => undefined, 1000)
}
