const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB']

export function bytes(count: number): string {
  let value = Math.abs(count)
  let unit = 0
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024
    unit++
  }
  const digits = unit === 0 || value >= 100 ? 0 : 1
  return `${count < 0 ? '−' : ''}${value.toFixed(digits)} ${units[unit] ?? ''}`
}

export const number = (count: number): string => count.toLocaleString('en')

export function rate(perSecond: number): string {
  return perSecond >= 100 || perSecond === 0 ? perSecond.toFixed(0) : perSecond.toFixed(1)
}

export function milliseconds(ms: number): string {
  if (ms >= 1000) return `${(ms / 1000).toFixed(1)} s`
  return ms >= 10 || ms === 0 ? `${ms.toFixed(0)} ms` : `${ms.toFixed(2)} ms`
}

const spans: readonly (readonly [number, string])[] = [
  [86_400_000, 'd'],
  [3_600_000, 'h'],
  [60_000, 'min'],
  [1000, 's'],
]

/** Two units at most: `3 d 4 h`. */
export function duration(ms: number): string {
  let left = Math.max(0, ms)
  const parts: string[] = []
  for (const [span, name] of spans) {
    const whole = Math.floor(left / span)
    left -= whole * span
    if (whole > 0) parts.push(`${String(whole)} ${name}`)
    else if (parts.length > 0) break
    if (parts.length === 2) break
  }
  return parts.length === 0 ? '0 s' : parts.join(' ')
}

export function percent(part: number, whole: number): number {
  return whole <= 0 ? 0 : Math.min(100, Math.max(0, (part / whole) * 100))
}

export const counted = (count: number, one: string, many = `${one}s`): string =>
  `${number(count)} ${count === 1 ? one : many}`

export const moment = (ms: number): string => new Date(ms).toLocaleString()
