import { silentLog } from '../core/env.ts'
import { GrpcNetwork } from '../wire/grpc/grpc-network.ts'
import { ownIdentity } from './own-identity.ts'

/**
 * The network of a command that runs once: what goes wrong is the command's answer, not a log line. `identity`: a
 * folder, or off; undefined: the admin's, if this machine has one.
 */
export function commandNetwork(identity: string | undefined): GrpcNetwork {
  return new GrpcNetwork({ log: silentLog, tls: ownIdentity(identity, 'admin')?.tls })
}
