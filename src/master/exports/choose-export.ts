import { FsError } from '../../core/errors.ts'
import { everybody } from '../../core/export-names.ts'
import type { Exports, ExportRow } from '../store/exports.ts'

/** Exports that the token of an identity was for, by its id. */
export type TokenExports = ReadonlyMap<string, string>

/** What an identity may mount: undefined is everything. `identity` is empty without TLS. */
export function exportsFor(
  exports: Exports,
  tokens: TokenExports,
  identity: string,
): ReadonlySet<string> | undefined {
  const names = new Set(exports.namesFor(identity))
  const token = tokens.get(identity)
  if (token !== undefined) names.add(token)
  if (names.size > 0) return names
  const others = exports.namesFor(everybody)
  return others.size > 0 ? others : undefined
}

/** The export that a new session is of: undefined if it sees everything. Throws EACCES or EINVAL. */
export function chooseExport(
  exports: Exports,
  tokens: TokenExports,
  identity: string,
  wanted: string,
): ExportRow | undefined {
  const allowed = exportsFor(exports, tokens, identity)
  if (allowed !== undefined && wanted !== '' && !allowed.has(wanted))
    throw new FsError('EACCES', `This identity may not mount the export ${wanted}`)
  const names = wanted === '' ? [...(allowed ?? [])] : [wanted]
  const found = names.flatMap(name => exports.find(name) ?? [])
  const [only, second] = found
  if (second !== undefined)
    throw new FsError(
      'EINVAL',
      `This identity may mount several exports: name one with --export, of ${found.map(({ name }) => name).join(', ')}`,
    )
  if (only !== undefined || (wanted === '' && allowed === undefined)) return only
  throw new FsError(
    'EACCES',
    wanted === '' ? 'This identity may mount no export' : `There is no export ${wanted}`,
  )
}
