/** What reading the whole database of a master at work has found. */
export interface Integrity {
  /** It was read at least once since the process started. */
  readonly checked: boolean
  /** What contradicts itself, and what is not as in an earlier copy; some lines of each. */
  readonly problems: readonly string[]
  readonly differences: readonly string[]
  /** Copies that cannot be read, and why; some of them. */
  readonly unreadable: readonly string[]
  /** What is needed may look as if nobody needed it. */
  readonly endangered: boolean
  /** Why it could not be read the last time; empty if it could. */
  readonly failing: string
}

export const uncheckedIntegrity: Integrity = {
  checked: false,
  problems: [],
  differences: [],
  unreadable: [],
  endangered: false,
  failing: '',
}

/** Why what the tables say is no reason to delete anything; empty if it is one. */
export function mistrust(integrity: Integrity | undefined): string {
  if (integrity === undefined) return ''
  const { checked, endangered, failing } = integrity
  if (endangered) return 'the metadata has problems: cairn health'
  if (checked) return ''
  return failing === '' ? 'the metadata is being checked' : `the metadata cannot be checked: ${failing}`
}
