/** Bytes that a peer counts since it started, as its heartbeats tell, and how fast they come. */
export class Flow {
  inBytes = 0n
  outBytes = 0n
  inPerSecond = 0
  outPerSecond = 0
  #atMs: number | undefined

  note(nowMs: number, inBytes: bigint, outBytes: bigint): void {
    // What counts from the beginning again has started anew.
    const goesOn = inBytes >= this.inBytes && outBytes >= this.outBytes
    const seconds = this.#atMs === undefined || !goesOn ? 0 : (nowMs - this.#atMs) / 1000
    const perSecond = (bytes: bigint): number => (seconds <= 0 ? 0 : Math.round(Number(bytes) / seconds))
    this.inPerSecond = perSecond(inBytes - this.inBytes)
    this.outPerSecond = perSecond(outBytes - this.outBytes)
    this.inBytes = inBytes
    this.outBytes = outBytes
    this.#atMs = nowMs
  }

  /** It is away. */
  stop(): void {
    this.inPerSecond = 0
    this.outPerSecond = 0
    this.#atMs = undefined
  }
}
