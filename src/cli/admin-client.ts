import { setTimeout as sleep } from 'node:timers/promises'
import type { CallDef, Network } from '../core/network.ts'
import { FsError } from '../core/errors.ts'
import { minute, second } from '../core/units.ts'
import { adminActivity } from '../wire/services.ts'

const shortCallMs = 10 * second
const longCallMs = 60 * minute
/** While a long call is under way, the master is asked a short question so often. */
const askedEveryMs = 10 * second
/** A master that is so long busy is started anew by its own watchdog. */
const silenceMaxMs = 60 * second

/** One admin call, with a failure that says which master did not answer. */
export async function ask<Request, Response>(
  network: Network,
  address: string,
  def: CallDef<Request, Response>,
  request: Request,
  timeoutMs: number = shortCallMs,
  signal?: AbortSignal,
): Promise<Response> {
  try {
    return await network.call(address, def, request, {
      timeoutMs,
      ...(signal === undefined ? {} : { signal }),
    })
  } catch (error) {
    const failure = FsError.from(error)
    if (isSilence(failure))
      throw new FsError(
        failure.code,
        `no answer from the master at ${address}: is it running there? (${failure.message})`,
      )
    if (failure.code === 'ECONNRESET')
      throw new FsError(
        failure.code,
        `the master at ${address} went away before it answered (${failure.message})`,
      )
    throw failure
  }
}

/**
 * For calls that walk the whole namespace: they may take long, but only as long as the master answers other questions. One
 * that is stopped or unreachable would else be noticed only after an hour, since who accepts a connection and is silent
 * cannot be told from who works.
 */
export async function askLong<Request, Response>(
  network: Network,
  address: string,
  def: CallDef<Request, Response>,
  request: Request,
  pace: { readonly everyMs: number; readonly silenceMs: number } = {
    everyMs: askedEveryMs,
    silenceMs: silenceMaxMs,
  },
): Promise<Response> {
  await isThere(network, address, shortCallMs)
  const over = new AbortController()
  try {
    return await Promise.race([
      ask(network, address, def, request, longCallMs, over.signal),
      untilSilent(network, address, pace, over.signal),
    ])
  } finally {
    over.abort()
  }
}

/** Rejects when the master does not answer any more; never resolves before `over`. */
async function untilSilent(
  network: Network,
  address: string,
  { everyMs, silenceMs }: { readonly everyMs: number; readonly silenceMs: number },
  over: AbortSignal,
): Promise<never> {
  for (;;) {
    await sleep(everyMs, undefined, { signal: over })
    await isThere(network, address, silenceMs, over)
  }
}

/** Any answer will do, such as that of an older master that does not know the question. */
async function isThere(
  network: Network,
  address: string,
  timeoutMs: number,
  signal?: AbortSignal,
): Promise<void> {
  try {
    await ask(network, address, adminActivity, {}, timeoutMs, signal)
  } catch (error) {
    if (isSilence(FsError.from(error)) || signal?.aborted === true) throw error
  }
}

const isSilence = ({ code }: FsError): boolean => code === 'ECONNREFUSED' || code === 'ETIMEDOUT'
