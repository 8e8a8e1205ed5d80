/**
 * What the authority remembers: to whom it gave certificates, and which tokens are good. Not in the master's
 * database, since copies of that go to many places; the authority's key, beside which this file is, goes nowhere.
 * Without it nobody who has joined is known any more, and all join again.
 */
import { readFileSync } from 'node:fs'
import { z } from 'zod'
import { messageOf, UsageError } from '../../core/errors.ts'
import { identityForm } from '../../core/ids.ts'
import { replaceFile } from '../../wire/tls/identity-folder.ts'
import { joinableRoles, roles } from '../../wire/tls/roles.ts'

const version = 1
const ms = z.number().int().min(0)

const identity = z.strictObject({
  id: z.string().regex(identityForm),
  role: z.enum(roles),
  name: z.string(),
  created: ms,
  /** When its newest certificate ends. */
  until: ms,
  revoked: ms.optional(),
  /** The export that it may mount, as its token said. */
  export: z.string().optional(),
})

const token = z.strictObject({
  id: z.string(),
  role: z.enum(joinableRoles),
  /** SHA-256 of the secret, hexadecimal. */
  secret: z.string(),
  expires: ms,
  uses: z.number().int().min(0),
  export: z.string().optional(),
})

const schema = z.strictObject({
  version: z.literal(version),
  identities: z.array(identity),
  tokens: z.array(token),
})

export type IdentityRow = z.infer<typeof identity>
export type TokenRow = z.infer<typeof token>
export type Registry = z.infer<typeof schema>

export const emptyRegistry = (): Registry => ({ version, identities: [], tokens: [] })

export interface RegistryStore {
  read(): Registry
  /** On stable storage when it returns. */
  write(registry: Registry): void
}

export class RegistryFile implements RegistryStore {
  readonly #file: string

  constructor(file: string) {
    this.#file = file
  }

  read(): Registry {
    try {
      return schema.parse(JSON.parse(readFileSync(this.#file, 'utf8')))
    } catch (error) {
      throw new UsageError(
        `the registry of identities cannot be used: ${this.#file}: ${error instanceof z.ZodError ? z.prettifyError(error).replaceAll(/\s+/g, ' ') : messageOf(error)}`,
      )
    }
  }

  write(registry: Registry): void {
    replaceFile(this.#file, `${JSON.stringify(registry, undefined, 2)}\n`, 0o600)
  }
}
