import { logVerbosity, setLogVerbosity } from '@grpc/grpc-js'
import type { Log } from '../../core/env.ts'
import { FsError } from '../../core/errors.ts'
import type { CallDef, CallOptions, Link, Listener, Network, Serving, StreamDef } from '../../core/network.ts'
import { ClosedLink } from './closed-link.ts'
import { callUnary, dialStream } from './dial.ts'
import { listenOn } from './listen.ts'

/** The real network: gRPC over TCP. Everything that it opened ends with `close`. */
export class GrpcNetwork implements Network {
  readonly #log: Log
  readonly #links = new Map<{ close(): void }, () => void>()
  readonly #listeners = new Set<Listener>()

  constructor(options: { readonly log: Log }) {
    this.#log = options.log
    // grpc-js would print failures to bind on its own; they are in our errors.
    setLogVerbosity(logVerbosity.NONE)
  }

  dial<Up, Down>(address: string, def: StreamDef<Up, Down>): Link<Up, Down> {
    try {
      const dialled = dialStream(address, def, this.#log, () => this.#links.delete(dialled.link))
      this.#links.set(dialled.link, dialled.drop)
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
    return callUnary(address, def, request, options)
  }

  async listen(address: string, register: (serving: Serving) => void): Promise<Listener> {
    const listener = await listenOn(address, register, this.#log)
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

  /** Closes what is left open. */
  async close(): Promise<void> {
    for (const [link, drop] of this.#links) {
      link.close()
      drop()
    }
    await Promise.all([...this.#listeners].map(listener => listener.close()))
  }
}
