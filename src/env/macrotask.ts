/** Resolves when every microtask that can run has run. For the simulator, which runs between two of its events. */
export function settled(): Promise<void> {
  return new Promise(resolve => {
    setImmediate(resolve)
  })
}
