/** The API of the page: GET only, nothing is changed, every parameter is checked and every answer bounded. */
import type { Env } from '../core/env.ts'
import { FsError } from '../core/errors.ts'
import { nsPerMs, second } from '../core/units.ts'
import { extentsAnswer, folderAnswer, overviewAnswer } from './answers.ts'
import type { ClusterView } from './cluster-view.ts'
import type { History } from './history.ts'
import { Query } from './query.ts'

const entriesPerPage = 200n
const entriesMax = 500n
const extentsPerPage = 100n
const extentsMax = 500n
/** However many pages are open: the master is asked no more often. */
const overviewMs = 1 * second
/** Questions that the master is working on for pages. */
const asksMax = 8
const int64Max = (1n << 63n) - 1n

export class Api {
  readonly #env: Env
  readonly #view: ClusterView
  readonly #history: History
  #overview: { readonly atMs: number; readonly answer: Promise<object> } | undefined
  #asks = 0

  constructor(env: Env, view: ClusterView, history: History) {
    this.#env = env
    this.#view = view
    this.#history = history
  }

  /** Undefined: there is no such question. Rejects with FsError. */
  async answer(name: string, query: string): Promise<object | undefined> {
    switch (name) {
      case 'overview':
        new Query(query, [])
        return this.#shared()
      case 'live': {
        const since = new Query(query, ['since']).number('since', int64Max, 0n)
        return { nowMs: this.#nowMs, ...this.#history.live.after(Number(since)) }
      }
      case 'capacity':
        new Query(query, [])
        return { nowMs: this.#nowMs, ...this.#history.capacity.after(Number.NEGATIVE_INFINITY) }
      case 'folder':
        return this.#folder(new Query(query, ['path', 'after', 'limit']))
      case 'blocks':
        return this.#blocks(new Query(query, ['path', 'offset', 'limit']))
      default:
        return undefined
    }
  }

  get #nowMs(): number {
    return Number(this.#env.clock.wall() / nsPerMs)
  }

  async #folder(query: Query): Promise<object> {
    const path = query.bytes('path')
    const after = query.number('after', int64Max, 0n)
    const limit = Number(query.number('limit', entriesMax, entriesPerPage))
    return folderAnswer(path, await this.#ask(() => this.#view.browse({ path, after, limit })))
  }

  async #blocks(query: Query): Promise<object> {
    const path = query.bytes('path')
    const offset = query.number('offset', BigInt(Number.MAX_SAFE_INTEGER), 0n)
    const limit = Number(query.number('limit', extentsMax, extentsPerPage))
    return this.#ask(async () => {
      const { attr } = await this.#view.browse({ path, after: 0n, limit: 0 })
      if (attr === undefined) throw new FsError('ENOENT', 'There is no such path')
      return extentsAnswer(await this.#view.extents(attr.ino, offset, limit))
    })
  }

  #shared(): Promise<object> {
    const now = this.#env.clock.now()
    if (this.#overview === undefined || now - this.#overview.atMs >= overviewMs) {
      const answer = this.#askOverview()
      this.#overview = { atMs: now, answer }
      // The next one asks again.
      answer.catch(() => {
        if (this.#overview?.answer === answer) this.#overview = undefined
      })
    }
    return this.#overview.answer
  }

  async #askOverview(): Promise<object> {
    const [{ status }, repair, rebalance] = await Promise.all([
      this.#view.measure(),
      this.#view.repairStatus(),
      this.#view.rebalanceStatus(),
    ])
    const findings = this.#view.findings(status)
    return overviewAnswer({ status, repair, rebalance, findings, growth: this.#history.growth })
  }

  async #ask<T>(work: () => Promise<T>): Promise<T> {
    if (this.#asks >= asksMax) throw new FsError('EAGAIN', 'Too many questions at a time: ask again')
    this.#asks++
    try {
      return await work()
    } finally {
      this.#asks--
    }
  }
}
