import { FsError } from '../../core/errors.ts'
import type {
  CallDef,
  CallOptions,
  Codec,
  Link,
  Listener,
  Network,
  Serving,
  StreamDef,
} from '../../core/network.ts'
import { second } from '../../core/units.ts'
import type { HostEnv } from './host.ts'
import type { Prng } from './prng.ts'

/** How the network behaves; may change during a run. */
export interface NetworkWeather {
  /** Milliseconds one way, uniform. */
  minDelay: number
  maxDelay: number
  /** Probability that a frame is the last one its link carries in order (the rest is lost, the link cut). */
  cut: number
  /** Probability that a frame takes a hundred times as long. */
  slow: number
}

/** After this long without a word from the other side a link is given up, as keepalive does. */
const keepaliveMs = 15 * second
const connectTimeoutMs = 5 * second

interface Accept {
  readonly env: HostEnv
  readonly streams: Map<string, (link: SimLink) => void>
  readonly calls: Map<string, (request: Uint8Array) => Promise<Uint8Array>>
}

/**
 * Every machine's network. Streams keep order or break, as TCP does; different streams overtake one
 * another; partitions hold what is sent until keepalive notices. Frames travel as bytes, so the codecs are
 * part of every run.
 */
export class SimNetwork {
  readonly weather: NetworkWeather
  readonly #prng: Prng
  readonly #listeners = new Map<string, Accept>()
  readonly #cuts = new Set<string>()
  readonly #links = new Set<SimLink>()

  constructor(prng: Prng, weather: NetworkWeather) {
    this.#prng = prng
    this.weather = weather
  }

  /** The network as one machine sees it. */
  of(env: HostEnv): Network {
    return {
      dial: (address, def) => this.#dial(env, address, def),
      call: (address, def, request, options) => this.#call(env, address, def, request, options),
      listen: async (address, register) => this.#listen(env, address, register),
    }
  }

  /** Cuts or heals the way from one machine to another (one direction). */
  setCut(from: string, to: string, cut: boolean): void {
    if (cut) this.#cuts.add(`${from}>${to}`)
    else this.#cuts.delete(`${from}>${to}`)
  }

  heal(): void {
    this.#cuts.clear()
  }

  isCut(from: string, to: string): boolean {
    return this.#cuts.has(`${from}>${to}`)
  }

  /** A machine is gone: its listeners are closed, the other ends of its links hear of it. */
  crash(env: HostEnv): void {
    for (const [address, accept] of this.#listeners) if (accept.env === env) this.#listeners.delete(address)
    for (const link of this.#links) if (link.env === env) link.vanish()
  }

  delay(): number {
    const base = this.#prng.between(this.weather.minDelay, this.weather.maxDelay)
    return this.#prng.chance(this.weather.slow) ? base * 100 : base
  }

  breaks(): boolean {
    return this.#prng.chance(this.weather.cut)
  }

  forget(link: SimLink): void {
    this.#links.delete(link)
  }

  #listen(env: HostEnv, address: string, register: (serving: Serving) => void): Listener {
    if (this.#listeners.has(address)) throw new FsError('EBUSY', `${address} is in use`)
    const accept: Accept = { env, streams: new Map(), calls: new Map() }
    register({
      stream: (def, handler) => accept.streams.set(def.path, link => handler(typed(link, def.down, def.up))),
      call: (def, handler) =>
        accept.calls.set(def.path, async bytes =>
          def.response.encode(await handler(def.request.decode(bytes))),
        ),
    })
    this.#listeners.set(address, accept)
    return {
      address,
      close: async () => {
        if (this.#listeners.get(address) === accept) this.#listeners.delete(address)
      },
    }
  }

  #dial<Up, Down>(env: HostEnv, address: string, def: StreamDef<Up, Down>): Link<Up, Down> {
    const near = new SimLink(this, env, address)
    this.#links.add(near)
    env.schedule(this.delay(), () => {
      const accept = this.#listeners.get(address)
      const handler = accept?.streams.get(def.path)
      if (accept === undefined || handler === undefined) {
        near.fail(new FsError('ECONNREFUSED', `no answer from ${address}`))
        return
      }
      if (this.isCut(env.name, accept.env.name) || this.isCut(accept.env.name, env.name)) {
        env.schedule(connectTimeoutMs, () => near.fail(new FsError('ETIMEDOUT', `no answer from ${address}`)))
        return
      }
      const far = new SimLink(this, accept.env, env.name)
      this.#links.add(far)
      near.join(far)
      far.join(near)
      accept.env.schedule(0, () => handler(far))
    })
    return typed(near, def.up, def.down)
  }

  #call<Request, Response>(
    env: HostEnv,
    address: string,
    def: CallDef<Request, Response>,
    request: Request,
    options: CallOptions,
  ): Promise<Response> {
    return new Promise((resolve, reject) => {
      const cancel = env.schedule(options.timeoutMs, () =>
        reject(new FsError('ETIMEDOUT', `no answer from ${address}`)),
      )
      const settle = (finish: () => void) => {
        cancel()
        finish()
      }
      options.signal?.addEventListener('abort', () => settle(() => reject(new FsError('ECANCELED'))), {
        once: true,
      })
      const bytes = def.request.encode(request)
      env.schedule(this.delay(), () => {
        const accept = this.#listeners.get(address)
        const handler = accept?.calls.get(def.path)
        if (accept === undefined || handler === undefined) {
          settle(() => reject(new FsError('ECONNREFUSED', `no answer from ${address}`)))
          return
        }
        if (this.isCut(env.name, accept.env.name) || this.isCut(accept.env.name, env.name)) return
        handler(Uint8Array.from(bytes)).then(
          answer => env.schedule(this.delay(), () => settle(() => resolve(def.response.decode(answer)))),
          (error: unknown) => env.schedule(this.delay(), () => settle(() => reject(FsError.from(error)))),
        )
      })
    })
  }
}

/** One end of a link, in bytes. */
export class SimLink {
  readonly env: HostEnv
  readonly peerName: string
  readonly #network: SimNetwork
  #far: SimLink | undefined
  #waiting: Uint8Array[] = []
  #lastArrival = 0
  #queued = 0
  #ended = false
  #closing = false
  #held: (() => void)[] = []
  #paused = false
  #parked: Uint8Array[] = []
  onFrame: ((bytes: Uint8Array) => void) | undefined
  onClose: ((error: FsError | undefined) => void) | undefined

  constructor(network: SimNetwork, env: HostEnv, peerName: string) {
    this.#network = network
    this.env = env
    this.peerName = peerName
  }

  get queuedBytes(): number {
    return this.#queued
  }

  join(far: SimLink): void {
    this.#far = far
    for (const bytes of this.#waiting.splice(0)) this.#carry(far, bytes)
  }

  send(bytes: Uint8Array): void {
    if (this.#ended || this.#closing) return
    this.#queued += bytes.length
    if (this.#far === undefined) this.#waiting.push(bytes)
    else this.#carry(this.#far, bytes)
  }

  async drained(): Promise<void> {
    while (this.#queued > 1 << 20 && !this.#ended)
      await new Promise<void>(resolve => {
        this.#held.push(resolve)
      })
  }

  close(error?: FsError): void {
    if (this.#ended || this.#closing) return
    this.#closing = true
    const far = this.#far
    if (far !== undefined) this.#after(far, () => far.fail(error ?? undefined))
    this.env.schedule(0, () => this.fail(error))
  }

  /** This end hears that the link is over. */
  fail(error: FsError | undefined): void {
    if (this.#ended) return
    this.#ended = true
    this.#network.forget(this)
    for (const resume of this.#held.splice(0)) resume()
    const hear = this.onClose
    this.env.schedule(0, () => hear?.(error))
  }

  /** The machine of this end is gone without a word. */
  vanish(): void {
    this.#ended = true
    this.#network.forget(this)
    const far = this.#far
    far?.env.schedule(this.#network.delay(), () =>
      far.fail(new FsError('ECONNRESET', `${this.env.name} went away`)),
    )
  }

  pause(): void {
    this.#paused = true
  }

  resume(): void {
    this.#paused = false
    for (const bytes of this.#parked.splice(0)) this.env.schedule(0, () => this.#take(bytes))
  }

  #carry(far: SimLink, bytes: Uint8Array): void {
    const copy = Uint8Array.from(bytes)
    if (this.#network.breaks()) {
      const error = new FsError('ECONNRESET', 'the link broke')
      this.#after(far, () => far.fail(error))
      this.env.schedule(this.#network.delay(), () => this.fail(error))
      this.#closing = true
      return
    }
    this.#after(far, () => {
      this.#queued -= copy.length
      if (this.#queued <= 1 << 20) for (const resume of this.#held.splice(0)) resume()
      far.#take(copy)
    })
  }

  /** Does something at the far end, in order after all that was sent before, when the way is open. */
  #after(far: SimLink, action: () => void): void {
    const now = this.env.clock.now()
    const arrival = Math.max(now + this.#network.delay(), this.#lastArrival + 0.001)
    this.#lastArrival = arrival
    let waited = 0
    const attempt = () => {
      if (!this.#network.isCut(this.env.name, far.env.name)) {
        action()
        return
      }
      waited += 100
      if (waited > keepaliveMs) {
        far.fail(new FsError('ECONNRESET', `${this.env.name} is silent`))
        this.fail(new FsError('ECONNRESET', `${far.env.name} is silent`))
      } else far.env.schedule(100, attempt)
    }
    far.env.schedule(arrival - now, attempt)
  }

  #take(bytes: Uint8Array): void {
    if (this.#ended) return
    if (this.#paused) this.#parked.push(bytes)
    else this.onFrame?.(bytes)
  }
}

/** A byte link as one of frames. */
function typed<Out, In>(link: SimLink, out: Codec<Out>, incoming: Codec<In>): Link<Out, In> {
  return {
    peer: link.peerName,
    get queuedBytes() {
      return link.queuedBytes
    },
    send: frame => link.send(out.encode(frame)),
    drained: () => link.drained(),
    onFrame: handler => {
      link.onFrame = bytes => {
        try {
          handler(incoming.decode(bytes))
        } catch (error) {
          link.close(new FsError('EPROTO', FsError.from(error).message))
        }
      }
    },
    onClose: handler => {
      link.onClose = handler
    },
    pause: () => link.pause(),
    resume: () => link.resume(),
    close: error => link.close(error),
  }
}
