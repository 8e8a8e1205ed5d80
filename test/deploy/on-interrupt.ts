/** Has what was made taken down when the program is told to end, and ends it with the code that shells expect. */
export function onInterrupt(dispose: (signal: string) => Promise<void>): void {
  for (const [signal, code] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGHUP', 129],
  ] as const)
    process.on(signal, () => {
      void dispose(signal).finally(() => process.exit(code))
    })
}
