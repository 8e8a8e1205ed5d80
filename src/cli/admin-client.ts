import type { CallDef, Network } from '../core/network.ts'
import { FsError } from '../core/errors.ts'
import { minute, second } from '../core/units.ts'

/** One admin call, with a failure that says which master did not answer. */
export async function ask<Request, Response>(
  network: Network,
  address: string,
  def: CallDef<Request, Response>,
  request: Request,
  timeoutMs: number = 10 * second,
): Promise<Response> {
  try {
    return await network.call(address, def, request, { timeoutMs })
  } catch (error) {
    const failure = FsError.from(error)
    if (failure.code === 'ECONNREFUSED' || failure.code === 'ETIMEDOUT')
      throw new FsError(
        failure.code,
        `no answer from the master at ${address}: is it running there? (${failure.message})`,
      )
    throw failure
  }
}

/** For calls that walk the whole namespace. */
export const longCallMs = 60 * minute
