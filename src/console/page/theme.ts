import { useEffect, useLayoutEffect, useState } from 'preact/hooks'

export type Theme = 'auto' | 'light' | 'dark'
const themes: readonly Theme[] = ['auto', 'light', 'dark']
const key = 'cairn-theme'

function kept(): Theme {
  try {
    return themes.find(theme => theme === localStorage.getItem(key)) ?? 'auto'
  } catch {
    // Storage is switched off: it is chosen anew each time.
    return 'auto'
  }
}

export function useTheme(): { readonly theme: Theme; readonly next: () => void } {
  const [theme, setTheme] = useState<Theme>(kept)
  useLayoutEffect(() => {
    document.documentElement.dataset['theme'] = theme
    try {
      localStorage.setItem(key, theme)
    } catch {
      // As above.
    }
    window.dispatchEvent(new Event('cairn-theme'))
  }, [theme])
  const next = () => {
    setTheme(before => themes[(themes.indexOf(before) + 1) % themes.length] ?? 'auto')
  }
  return { theme, next }
}

/** Rises whenever the colours change. */
export function useColours(): number {
  const [turn, setTurn] = useState(0)
  useEffect(() => {
    const changed = () => {
      setTurn(before => before + 1)
    }
    const system = window.matchMedia('(prefers-color-scheme: dark)')
    system.addEventListener('change', changed)
    window.addEventListener('cairn-theme', changed)
    return () => {
      system.removeEventListener('change', changed)
      window.removeEventListener('cairn-theme', changed)
    }
  }, [])
  return turn
}
