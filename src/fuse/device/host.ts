import { constants } from 'node:fs'

/** O_DIRECT differs between processors (0x4000 on x86, 0x10000 on ARM). */
export const directBit: number = constants.O_DIRECT
