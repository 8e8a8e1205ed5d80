import type { ClientOptions, ServerOptions } from '@grpc/grpc-js'
import { messageBytesMax } from '../../core/limits.ts'
import { MiB, second } from '../../core/units.ts'
import { serverName } from '../tls/peer.ts'

/** HTTP/2 flow-control windows, of a stream and of a connection: with the usual 64 KiB a block crawls. */
export const windowBytes = 4 * MiB

/** Queued bytes above which `drained` waits: what is in flight within one window keeps the pipe full. */
export const highWaterBytes = 4 * MiB

/** A connection that is not there by then will not come. */
export const connectTimeoutMs = 5 * second

/** A client that has not finished TLS' handshake by then will not. */
export const handshakeTimeoutMs = 10 * second

/** How long an orderly end may take to reach the other side. */
export const closeGraceMs = 5 * second

/** How long a network or a server that stops waits for its streams to end in order. */
export const stopGraceMs = 1 * second

const common = {
  'grpc.max_receive_message_length': messageBytesMax,
  'grpc.max_send_message_length': messageBytesMax,
  // A dead peer is noticed within the sum of these; a daemon may be busy for seconds without being dead.
  'grpc.keepalive_time_ms': 5 * second,
  'grpc.keepalive_timeout_ms': 8 * second,
  'grpc.keepalive_permit_without_calls': 1,
  'grpc.enable_channelz': 0,
} as const

export const clientOptions: ClientOptions = {
  ...common,
  'grpc-node.flow_control_window': windowBytes,
  // The retry buffer would keep every frame; retrying is decided above, by sessions.
  'grpc.enable_retries': 0,
  // One connection to a link: no other link's backoff holds it up.
  'grpc.use_local_subchannel_pool': 1,
  'grpc.ssl_target_name_override': serverName,
  'grpc.enable_http_proxy': 0,
  'grpc.service_config_disable_resolution': 1,
}

export const serverOptions: ServerOptions = {
  ...common,
  'grpc.max_concurrent_streams': 1024,
}
