import { type ComponentChildren, render } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import type { OverviewAnswer, VisitorAnswer } from '../answers.ts'
import { ask, leave, usePolled } from './ask.ts'
import { Files } from './files.tsx'
import { Mounts } from './mounts.tsx'
import { Nodes } from './nodes.tsx'
import { Overview } from './overview.tsx'
import { State } from './parts.tsx'
import { useTheme } from './theme.ts'
import { Work } from './work.tsx'

const views = [
  ['overview', 'Overview'],
  ['nodes', 'Nodes'],
  ['work', 'Repair and scrub'],
  ['mounts', 'Mounts'],
  ['files', 'Files'],
] as const

const everyMs = 2000

/** `#/files/a/b`: the view, and what is behind it. */
function usePlace(): { readonly view: string; readonly rest: string } {
  const read = () => {
    const [, view = '', rest = ''] = /^#\/([a-z]+)(.*)$/.exec(window.location.hash) ?? []
    return { view: views.some(([name]) => name === view) ? view : 'overview', rest: rest.replace(/\/$/, '') }
  }
  const [place, setPlace] = useState(read)
  useEffect(() => {
    const changed = () => {
      setPlace(read())
    }
    window.addEventListener('hashchange', changed)
    return () => {
      window.removeEventListener('hashchange', changed)
    }
  }, [])
  return place
}

function App() {
  const place = usePlace()
  const { theme, next } = useTheme()
  const { value: cluster, error } = usePolled<OverviewAnswer>(() => ask<OverviewAnswer>('overview'), everyMs)
  const main = useRef<HTMLElement>(null)
  const before = useRef(place.view)
  const title = views.find(([name]) => name === place.view)?.[1] ?? ''

  useEffect(() => {
    document.title = `${cluster === undefined ? '' : `${cluster.health} · `}${title} · Cairn`
  }, [title, cluster?.health])
  // A screen reader is told of another view as of another page.
  useEffect(() => {
    if (before.current !== place.view) main.current?.focus()
    before.current = place.view
  }, [place.view])

  return (
    <>
      <a
        class="skip"
        href="#main"
        onClick={event => {
          event.preventDefault()
          main.current?.focus()
        }}
      >
        Skip to the content
      </a>
      <header>
        <div class="row">
          <h1>
            <img src="icon.svg" alt="" width="28" height="28" /> Cairn
          </h1>
          <span role="status" class="now">
            {cluster !== undefined && (
              <>
                <span class="unseen">Health: </span>
                <State of={cluster.health} />
              </>
            )}
          </span>
          <span class="cluster">
            {cluster !== undefined && `cluster ${cluster.cluster.slice(0, 8)}, version ${cluster.program}`}
          </span>
          <Who />
          <button type="button" class="theme" onClick={next}>
            Colours: {theme}
          </button>
        </div>
        <nav aria-label="Views">
          <ul>
            {views.map(([name, label]) => (
              <li key={name}>
                <a href={`#/${name}`} aria-current={name === place.view ? 'page' : undefined}>
                  {label}
                </a>
              </li>
            ))}
          </ul>
        </nav>
      </header>
      <main ref={main} id="main" tabIndex={-1} aria-label={title}>
        {error !== undefined && (
          <p role="alert" class="error">
            {error}. {cluster === undefined ? '' : 'What is shown is what was known last.'}
          </p>
        )}
        {cluster === undefined && error === undefined && <p class="note">Looking…</p>}
        {viewOf(place, cluster)}
      </main>
    </>
  )
}

/** Who is logged in; nothing on the machine itself, where nobody is asked. */
function Who() {
  const [who, setWho] = useState<VisitorAnswer>()
  useEffect(() => {
    // The page itself says when the master does not answer.
    ask<VisitorAnswer>('visitor').then(setWho, () => undefined)
  }, [])
  if (who?.name == null) return null
  return (
    <>
      <span class="who">
        {who.name} ({who.role})
      </span>
      {who.login && (
        <button type="button" class="theme" onClick={() => void leave()}>
          Log out
        </button>
      )}
    </>
  )
}

function viewOf(
  { view, rest }: { readonly view: string; readonly rest: string },
  cluster: OverviewAnswer | undefined,
): ComponentChildren {
  if (view === 'files') return <Files path={rest} />
  if (cluster === undefined) return null
  if (view === 'nodes') return <Nodes cluster={cluster} />
  if (view === 'work') return <Work cluster={cluster} />
  if (view === 'mounts') return <Mounts cluster={cluster} />
  return <Overview cluster={cluster} />
}

const root = document.getElementById('console')
if (root !== null) render(<App />, root)
