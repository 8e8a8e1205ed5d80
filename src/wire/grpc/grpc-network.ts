import { logVerbosity, setLogVerbosity } from '@grpc/grpc-js'
import type { Log } from '../../core/env.ts'
import { FsError } from '../../core/errors.ts'
import type { CallDef, CallOptions, Link, Listener, Network, Serving, StreamDef } from '../../core/network.ts'
import type { PeerIdentity } from '../tls/peer.ts'
import type { Tls } from '../tls/tls.ts'
import { ClosedLink } from './closed-link.ts'
import { callUnary, dialStream } from './dial.ts'
import { listenOn } from './listen.ts'
import { stopGraceMs } from './options.ts'

interface Open {
  readonly link: { close(): void }
  readonly server: () => PeerIdentity | undefined
  readonly drop: () => void
  readonly finished: Promise<void>
}

/** The real network: gRPC over TCP, with mutual TLS if it has an identity. Everything that it opened ends with `close`. */
export class GrpcNetwork implements Network {
  readonly #log: Log
  readonly #tls: Tls | undefined
  readonly #forget: () => void
  readonly #dialled = new Set<Open>()
  readonly #listeners = new Set<Listener>()

  constructor(options: { readonly log: Log; readonly tls?: Tls | undefined }) {
    this.#log = options.log
    this.#tls = options.tls
    this.#forget = this.#tls?.standings.onChange(() => this.#dropRevoked()) ?? (() => undefined)
    // grpc-js would print failures to bind on its own; they are in our errors.
    setLogVerbosity(logVerbosity.NONE)
  }

  dial<Up, Down>(address: string, def: StreamDef<Up, Down>): Link<Up, Down> {
    try {
      const dialled = dialStream(address, def, { log: this.#log, tls: this.#tls })
      this.#dialled.add(dialled)
      void dialled.finished.then(() => this.#dialled.delete(dialled))
      return dialled.link
    } catch (thrown) {
      return new ClosedLink(address, FsError.from(thrown))
    }
  }

  call<Request, Response>(
    address: string,
    def: CallDef<Request, Response>,
    request: Request,
    options: CallOptions,
  ): Promise<Response> {
    return callUnary(address, def, request, options, this.#tls)
  }

  async listen(address: string, register: (serving: Serving) => void): Promise<Listener> {
    const listener = await listenOn(address, register, { log: this.#log, tls: this.#tls })
    const owned: Listener = {
      address: listener.address,
      close: () => {
        this.#listeners.delete(owned)
        return listener.close()
      },
    }
    this.#listeners.add(owned)
    return owned
  }

  /** Closes what is left open, in order where the other side lets it. */
  async close(): Promise<void> {
    this.#forget()
    const open = [...this.#dialled]
    for (const { link } of open) link.close()
    const late = setTimeout(() => {
      for (const { drop } of open) drop()
    }, stopGraceMs)
    await Promise.all([
      ...open.map(({ finished }) => finished),
      ...[...this.#listeners].map(listener => listener.close()),
    ])
    clearTimeout(late)
  }

  #dropRevoked(): void {
    const now = Date.now()
    for (const { server, drop } of this.#dialled) {
      const identity = server()
      if (identity !== undefined && this.#tls?.standings.objection(identity, now) !== undefined) drop()
    }
  }
}
