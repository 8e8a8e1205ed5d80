import { FsError } from '#src/core/errors.ts'
import type { Caller, Codec, Link, Listener, Network, Serving, StreamDef } from '#src/core/network.ts'

type Accept = (link: Link<unknown, unknown>, caller: Caller) => void

const caller: Caller = { peer: 'client', identity: undefined }

/** Both ends of streams in one process: frames pass encoded, in order, each in a turn of its own. */
export class PairNetwork implements Network {
  readonly #served = new Map<string, { def: StreamDef<unknown, unknown>; accept: Accept }>()
  readonly #ends = new Set<End>()
  /** Nobody can be dialled. */
  away = false

  dial<Up, Down>(address: string, def: StreamDef<Up, Down>): Link<Up, Down> {
    const client = new End(address, def.up, def.down)
    this.#ends.add(client)
    setImmediate(() => {
      const served = this.#served.get(def.path)
      if (served === undefined || this.away) {
        client.close(new FsError('ECONNREFUSED', `nobody serves ${def.path}`))
        return
      }
      const server = new End('client', served.def.down, served.def.up)
      client.meet(server)
      served.accept(server, caller)
      server.meet(client)
    })
    return client as unknown as Link<Up, Down>
  }

  call(): Promise<never> {
    return Promise.reject(new FsError('ECONNREFUSED', 'no calls here'))
  }

  async listen(address: string, register: (serving: Serving) => void): Promise<Listener> {
    register({
      stream: (def, accept) => {
        this.#served.set(def.path, {
          def: def,
          accept: accept as unknown as Accept,
        })
      },
      call: () => undefined,
    })
    return { address, close: async () => undefined }
  }

  /** Cuts every stream. */
  cut(): void {
    for (const end of this.#ends) end.close(new FsError('ECONNREFUSED', 'cut'))
    this.#ends.clear()
  }
}

class End implements Link<unknown, unknown> {
  readonly peer: string
  readonly queuedBytes = 0
  readonly #out: Codec<unknown>
  readonly #in: Codec<unknown>
  #other: End | undefined
  #before: Uint8Array[] = []
  #onFrame: ((frame: unknown) => void) | undefined
  #onClose: ((error: FsError | undefined) => void) | undefined
  #closed = false

  constructor(peer: string, out: Codec<unknown>, incoming: Codec<unknown>) {
    this.peer = peer
    this.#out = out
    this.#in = incoming
  }

  meet(other: End): void {
    this.#other = other
    for (const bytes of this.#before.splice(0)) this.#pass(bytes)
  }

  send(frame: unknown, taken?: () => void): void {
    if (!this.#closed) {
      const bytes = this.#out.encode(frame)
      if (this.#other === undefined) this.#before.push(bytes)
      else this.#pass(bytes)
    }
    taken?.()
  }

  async drained(): Promise<void> {
    // Nothing is ever queued.
  }

  onFrame(handler: (frame: unknown) => void): void {
    this.#onFrame = handler
  }

  onClose(handler: (error: FsError | undefined) => void): void {
    this.#onClose = handler
  }

  pause(): void {
    // Frames are few.
  }

  resume(): void {
    // Never paused.
  }

  close(error?: FsError): void {
    if (this.#closed) return
    this.#closed = true
    this.#onClose?.(error)
    setImmediate(() => this.#other?.close(error))
  }

  #pass(bytes: Uint8Array): void {
    const copy = Uint8Array.from(bytes)
    setImmediate(() => this.#other?.take(copy))
  }

  take(bytes: Uint8Array): void {
    if (!this.#closed) this.#onFrame?.(this.#in.decode(bytes))
  }
}
