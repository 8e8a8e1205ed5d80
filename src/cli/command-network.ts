import { silentLog } from '../core/env.ts'
import { GrpcNetwork } from '../wire/grpc/grpc-network.ts'

/** The network of a command that runs once: what goes wrong is the command's answer, not a log line. */
export function commandNetwork(): GrpcNetwork {
  return new GrpcNetwork({ log: silentLog })
}
