import { FsError } from '../core/errors.ts'
import { decodeBytes } from './percent-path.ts'

/** The part of a URL after its `?`: only names that are known, each once. EINVAL for anything else. */
export class Query {
  readonly #values = new Map<string, string>()

  constructor(text: string, known: readonly string[]) {
    for (const pair of text === '' ? [] : text.split('&')) {
      const at = pair.indexOf('=')
      const name = at === -1 ? pair : pair.slice(0, at)
      if (!known.includes(name)) throw new FsError('EINVAL', `There is no parameter '${name.slice(0, 40)}'`)
      if (this.#values.has(name)) throw new FsError('EINVAL', `'${name}' is given twice`)
      this.#values.set(name, at === -1 ? '' : pair.slice(at + 1))
    }
  }

  bytes(name: string): Buffer {
    return decodeBytes(this.#values.get(name) ?? '')
  }

  /** Decimal, up to `max`; `otherwise` where it is not given. */
  number(name: string, max: bigint, otherwise: bigint): bigint {
    const text = this.#values.get(name)
    if (text === undefined) return otherwise
    if (!/^\d{1,19}$/.test(text) || BigInt(text) > max)
      throw new FsError('EINVAL', `'${name}' must be a whole number up to ${max}`)
    return BigInt(text)
  }
}
