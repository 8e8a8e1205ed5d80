import { GrpcNetwork } from '#src/wire/grpc/grpc-network.ts'
import { echo, recordingLog } from './harness.ts'

/** A process that echoes until it is killed; prints where. */
const network = new GrpcNetwork({ log: recordingLog([]) })
const listener = await network.listen('127.0.0.1:0', serving =>
  serving.stream(echo, link => {
    link.onFrame(frame => link.send(frame))
    link.onClose(() => undefined)
  }),
)
process.stdout.write(`${listener.address}\n`)
