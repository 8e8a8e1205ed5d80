/** Where the copies of some files are, added up: each block once, however often it is referred to. */
import type { InfoExtent, NodeStatus } from '../wire/gen/cairn/v1/admin.ts'

export interface BlockSum {
  readonly blocks: number
  readonly bytes: number
}

const none: BlockSum = { blocks: 0, bytes: 0 }
const plus = ({ blocks, bytes }: BlockSum, more: number): BlockSum => ({
  blocks: blocks + 1,
  bytes: bytes + more,
})

export class CopySurvey {
  readonly blocks = new Set<bigint>()
  readonly byNode = new Map<bigint, BlockSum>()
  /** Without any copy on a node that is up, and with only one. */
  unreachable = none
  last = none
  files = 0
  readonly #up: ReadonlySet<bigint>

  constructor(nodes: readonly NodeStatus[]) {
    this.#up = new Set(nodes.filter(({ state }) => state !== 'down').map(({ id }) => id))
  }

  file(): void {
    this.files += 1
  }

  extent({ blockKey, blockLength, locations }: InfoExtent): void {
    if (this.blocks.has(blockKey)) return
    this.blocks.add(blockKey)
    for (const { node } of locations) this.byNode.set(node, plus(this.byNode.get(node) ?? none, blockLength))
    const up = locations.filter(({ node }) => this.#up.has(node)).length
    if (up === 0) this.unreachable = plus(this.unreachable, blockLength)
    if (up === 1) this.last = plus(this.last, blockLength)
  }

  /** As scripts see it. */
  result(): object {
    return {
      files: this.files,
      blocks: this.blocks.size,
      nodes: [...this.byNode].map(([node, sum]) => ({ node, ...sum })),
      unreachable: this.unreachable,
      oneCopyUp: this.last,
    }
  }
}
