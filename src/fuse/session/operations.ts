import { type ErrnoName, FsError } from '../../core/errors.ts'
import { opcode, type OpcodeName } from '../codec/abi.ts'
import { fileOperations } from './file-operations.ts'
import { inodeOperations } from './inode-operations.ts'
import { nameOperations } from './name-operations.ts'
import { operation, type Operation } from './operation.ts'

const refused = (code: ErrnoName): Operation =>
  operation({
    inBytes: 0,
    run: () => {
      throw new FsError(code)
    },
  })

/** What a session answers from its file system. INIT, INTERRUPT and DESTROY are the session's own. */
const table: Partial<Record<OpcodeName, Operation>> = {
  ...nameOperations,
  ...inodeOperations,
  ...fileOperations,
  // After one ENOSYS the kernel does not ask again, and does what it does without the operation.
  ACCESS: refused('ENOSYS'),
  BMAP: refused('ENOSYS'),
  POLL: refused('ENOSYS'),
  SYNCFS: refused('ENOSYS'),
  IOCTL: refused('ENOTTY'),
}

export interface NamedOperation {
  readonly name: string
  readonly row: Operation
}

/** By opcode, without holes. */
export const operations: readonly (NamedOperation | undefined)[] = Array.from(
  { length: Math.max(...Object.values(opcode)) + 1 },
  (_, code) => {
    const name = (Object.keys(opcode) as OpcodeName[]).find(key => opcode[key] === code)
    const row = name === undefined ? undefined : table[name]
    return name === undefined || row === undefined ? undefined : { name, row }
  },
)
