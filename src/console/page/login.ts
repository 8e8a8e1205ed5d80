/** Brings the code, from behind # in the address or as it is typed, for a cookie. */
const form = document.querySelector('form')
const input = document.querySelector('input')
const notice = document.querySelector<HTMLElement>('[role=alert]')

async function enter(code: string): Promise<void> {
  let why: string
  try {
    const response = await fetch('login', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ code }),
    })
    if (response.ok) {
      window.location.replace('./')
      return
    }
    const { error } = (await response.json()) as { readonly error?: string }
    why = error ?? `The master answers ${String(response.status)}`
  } catch {
    why = 'The master does not answer'
  }
  if (notice !== null) {
    notice.textContent = why
    notice.hidden = false
  }
}

function fromAddress(): void {
  const code = window.location.hash.slice(1)
  if (code === '') return
  // It is good once: neither the history nor who looks over a shoulder needs it.
  window.history.replaceState(null, '', window.location.pathname)
  void enter(code)
}

form?.addEventListener('submit', event => {
  event.preventDefault()
  void enter(input?.value.trim() ?? '')
})
window.addEventListener('hashchange', fromAddress)
fromAddress()

export {}
