import { assert } from '../../core/assert.ts'
import { FsError, UsageError } from '../../core/errors.ts'
import type {
  CallDef,
  Caller,
  CallOptions,
  Link,
  Listener,
  Network,
  Serving,
  StreamDef,
} from '../../core/network.ts'
import { second } from '../../core/units.ts'
import type { HostEnv } from './host.ts'
import type { Prng } from './prng.ts'
import { type Carrier, keepaliveMs, SimLink, typed } from './sim-link.ts'
import type { Timeline } from './timeline.ts'

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

/** There is no TLS here. */
const nobody: Caller = { peer: '', identity: undefined }

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
export class SimNetwork implements Carrier {
  readonly weather: NetworkWeather
  readonly bug: (error: unknown) => void
  readonly #prng: Prng
  readonly #timeline: Timeline
  readonly #listeners = new Map<string, Accept>()
  /** Ways that are cut, with a number of each cut. */
  readonly #cuts = new Map<string, number>()
  readonly #links = new Set<SimLink>()
  #cutCount = 0

  constructor(timeline: Timeline, prng: Prng, weather: NetworkWeather, bug: (error: unknown) => void) {
    this.#timeline = timeline
    this.#prng = prng
    this.weather = weather
    this.bug = bug
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
    const way = wayOf(from, to)
    if (!cut) {
      if (this.#cuts.delete(way)) this.#healed(from, to)
      return
    }
    if (this.#cuts.has(way)) return
    const number = this.#cutCount++
    this.#cuts.set(way, number)
    // Also a link on which nothing is sent notices: its pings are not answered.
    this.#timeline.after(keepaliveMs, () => {
      if (this.#cuts.get(way) === number) this.#silence(from, to)
    })
  }

  /** Whether no machine is cut off from another. */
  get whole(): boolean {
    return this.#cuts.size === 0
  }

  heal(): void {
    this.#cuts.clear()
    for (const link of [...this.#links]) link.healed()
  }

  isCut(from: string, to: string): boolean {
    return this.#cuts.has(wayOf(from, to))
  }

  /** A process is gone: its listeners are closed, the other ends of its links hear of it at once or by silence. */
  crash(env: HostEnv, silently: boolean): void {
    for (const [address, accept] of this.#listeners) if (accept.env === env) this.#listeners.delete(address)
    for (const link of [...this.#links]) if (link.env === env) link.vanish(silently)
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

  #healed(from: string, to: string): void {
    for (const link of [...this.#links])
      if (link.env.name === from && link.far?.env.name === to) link.healed()
  }

  #silence(from: string, to: string): void {
    for (const link of [...this.#links]) {
      const far = link.far
      if (far === undefined || link.env.name !== from || far.env.name !== to) continue
      link.fail(new FsError('ECONNRESET', `${to} is silent`))
      far.fail(new FsError('ECONNRESET', `${from} is silent`))
    }
  }

  #isApart(a: HostEnv, b: HostEnv): boolean {
    return this.isCut(a.name, b.name) || this.isCut(b.name, a.name)
  }

  #listen(env: HostEnv, address: string, register: (serving: Serving) => void): Listener {
    assert(env.alive, 'a machine that stopped does nothing')
    if (this.#listeners.has(address)) throw new UsageError(`${address} is in use`)
    const accept: Accept = { env, streams: new Map(), calls: new Map() }
    register({
      stream: (def, handler) =>
        accept.streams.set(def.path, link => handler(typed(link, def.down, def.up), nobody)),
      call: (def, handler) =>
        accept.calls.set(def.path, async bytes =>
          def.response.encode(await handler(def.request.decode(bytes), nobody)),
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
    env.schedule(this.delay(), () => this.#connect(near, address, def.path))
    return typed(near, def.up, def.down)
  }

  #connect(near: SimLink, address: string, path: string): void {
    if (near.over) return
    const { env } = near
    const accept = this.#listeners.get(address)
    const handler = accept?.streams.get(path)
    if (accept === undefined || handler === undefined) {
      near.fail(new FsError('ECONNREFUSED', `no answer from ${address}`))
      return
    }
    if (this.#isApart(env, accept.env)) {
      env.schedule(connectTimeoutMs, () => near.fail(new FsError('ETIMEDOUT', `no answer from ${address}`)))
      return
    }
    const far = new SimLink(this, accept.env, env.name)
    this.#links.add(far)
    far.join(near)
    // What accepts is there before the first frame.
    handler(far)
    near.join(far)
  }

  #call<Request, Response>(
    env: HostEnv,
    address: string,
    def: CallDef<Request, Response>,
    request: Request,
    options: CallOptions,
  ): Promise<Response> {
    return new Promise((resolve, reject) => {
      const refuse = (error: FsError) => {
        cancel()
        reject(error)
      }
      const cancel = env.schedule(options.timeoutMs, () =>
        reject(new FsError('ETIMEDOUT', `no answer from ${address}`)),
      )
      const { signal } = options
      if (signal?.aborted === true) refuse(new FsError('ECANCELED'))
      signal?.addEventListener('abort', () => refuse(new FsError('ECANCELED')), { once: true })
      const bytes = Uint8Array.from(def.request.encode(request))
      env.schedule(this.delay(), () => {
        const accept = this.#listeners.get(address)
        const handler = accept?.calls.get(def.path)
        if (accept === undefined || handler === undefined) {
          refuse(new FsError('ECONNREFUSED', `no answer from ${address}`))
          return
        }
        if (this.#isApart(env, accept.env)) return
        const back = (settle: () => void) => {
          env.schedule(this.delay(), () => {
            if (this.#isApart(env, accept.env)) return
            cancel()
            settle()
          })
        }
        handler(bytes).then(
          answer => back(() => resolve(def.response.decode(answer))),
          (error: unknown) => {
            if (!(error instanceof FsError)) this.bug(error)
            back(() => reject(FsError.from(error)))
          },
        )
      })
    })
  }
}

const wayOf = (from: string, to: string): string => `${from}>${to}`

/** Links of one machine to itself are never cut. */
export function cutBetween(network: SimNetwork, a: string, b: string, ways: 'both' | 'there' | 'back'): void {
  assert(a !== b, 'a machine reaches itself')
  if (ways !== 'back') network.setCut(a, b, true)
  if (ways !== 'there') network.setCut(b, a, true)
}
