import { useEffect, useState } from 'preact/hooks'

/** One question to the master. Rejects with what it says, or that it does not answer. */
export async function ask<T>(question: string, signal?: AbortSignal): Promise<T> {
  let response: Response
  try {
    response = await fetch(`api/${question}`, signal === undefined ? {} : { signal })
  } catch (error) {
    if (error instanceof DOMException && error.name === 'AbortError') throw error
    throw new Error('The master does not answer', { cause: error })
  }
  // Who is not logged in, or not any more.
  if (response.status === 401) window.location.assign('login.html')
  const body = (await response.json()) as T & { readonly error?: string }
  if (!response.ok) throw new Error(body.error ?? `The master answers ${String(response.status)}`)
  return body
}

export interface Asked<T> {
  readonly value: T | undefined
  readonly error: string | undefined
}

/** Asks again and again while the page can be seen; what was known stays when an answer is missing. */
export function usePolled<T>(question: (before: T | undefined) => Promise<T>, everyMs: number): Asked<T> {
  const [asked, setAsked] = useState<Asked<T>>({ value: undefined, error: undefined })
  useEffect(() => {
    let timer: number | undefined
    let over = false
    let value: T | undefined
    const look = async () => {
      if (!document.hidden)
        try {
          value = await question(value)
          if (!over) setAsked({ value, error: undefined })
        } catch (error) {
          if (!over) setAsked({ value, error: messageOf(error) })
        }
      if (!over) timer = window.setTimeout(() => void look(), everyMs)
    }
    const seen = () => {
      if (document.hidden || timer === undefined) return
      window.clearTimeout(timer)
      timer = undefined
      void look()
    }
    document.addEventListener('visibilitychange', seen)
    void look()
    return () => {
      over = true
      window.clearTimeout(timer)
      document.removeEventListener('visibilitychange', seen)
    }
  }, [])
  return asked
}

/** Ends the login, and with it what the page shows. */
export async function leave(): Promise<void> {
  await fetch('logout', { method: 'POST' })
  window.location.assign('login.html')
}

export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))
