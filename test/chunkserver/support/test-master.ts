import type { Link, Listener, Network } from '#src/core/network.ts'
import type { NodeDown, NodeUp } from '#src/wire/gen/cairn/v1/nodes.ts'
import { nodesAttach } from '#src/wire/services.ts'
import { cluster, key, now, wireReadKey } from './test-node.ts'

type Item = NonNullable<NodeUp['item']>
type Value<Case extends Item['$case']> = Extract<Item, { $case: Case }>['value']

interface Waiting {
  readonly from: number
  readonly matches: (item: Item) => boolean
  readonly resolve: (item: Item) => void
}

/** The master's end of Attach, played by a test: accepts nodes, acknowledges, remembers what they say. */
export class TestMaster {
  readonly heard: Item[] = []
  knownSequence = 0n
  refusal: { errno: number; message: string } | undefined
  silent = false
  /** Hears of changes as if it had not. */
  forgetful = false
  readonly #node: bigint
  #listener: Listener | undefined
  #link: Link<NodeDown, NodeUp> | undefined
  #waiting: Waiting[] = []

  constructor(node: bigint) {
    this.#node = node
  }

  async listen(network: Network, address = '127.0.0.1:0'): Promise<string> {
    this.#listener = await network.listen(address, serving =>
      serving.stream(nodesAttach, link => {
        this.#link = link
        link.onFrame(({ item }) => this.#receive(item))
        link.onClose(() => undefined)
      }),
    )
    return this.#listener.address
  }

  send(item: NonNullable<NodeDown['item']>): void {
    this.#link?.send({ item })
  }

  drop(): void {
    this.#link?.close()
  }

  /** The first item of this case after the first `from` items of all. */
  async hears<Case extends Item['$case']>(
    $case: Case,
    from = 0,
    matches: (value: Value<Case>) => boolean = () => true,
  ): Promise<Value<Case>> {
    const right = (item: Item): boolean => item.$case === $case && matches(item.value as Value<Case>)
    const known = this.heard.slice(from).find(right)
    const item =
      known ?? (await new Promise<Item>(resolve => this.#waiting.push({ from, matches: right, resolve })))
    return item.value as Value<Case>
  }

  #receive(item: Item | undefined): void {
    if (item === undefined) return
    this.heard.push(item)
    for (const waiting of this.#waiting.filter(({ matches }) => matches(item))) {
      this.#waiting = this.#waiting.filter(other => other !== waiting)
      waiting.resolve(item)
    }
    if (this.silent) return
    if (item.$case === 'register') this.#answerRegister()
    if (item.$case === 'heartbeat')
      this.send({
        $case: 'heartbeat',
        value: {
          sentMs: item.value.sentMs,
          time: now,
          endedSessions: [],
          readKeys: [],
          readShares: [],
          proven: [],
        },
      })
    if (item.$case === 'changes' && !this.forgetful) {
      this.knownSequence = item.value.first + BigInt(item.value.changes.length) - 1n
      this.send({ $case: 'ackChanges', value: { sequence: this.knownSequence } })
    }
  }

  #answerRegister(): void {
    if (this.refusal !== undefined) {
      this.send({ $case: 'refused', value: { error: this.refusal } })
      this.drop()
      return
    }
    const { knownSequence } = this
    const limits = { version: 1, heartbeatMs: 50, blockBytes: 4 * 2 ** 20 }
    this.send({
      $case: 'accepted',
      value: {
        ...limits,
        cluster,
        node: this.#node,
        key,
        knownSequence,
        time: now,
        sessionsBelow: 0n,
        liveSessions: [],
        readKeys: [wireReadKey],
      },
    })
  }
}
