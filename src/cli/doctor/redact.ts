/** What is to be shown to others has no secrets in it. */
const secretName = /(secret|passw(or)?d|passphrase|token|credential|api_?key|private_?key|_key$)/i

const leftOut = '(left out)'
/** What is secret wherever it stands: tokens to join, links of logins, private keys. */
const secretForms = [
  /\bcairn1\.[A-Za-z0-9_-]{16,}/g,
  /(?<=login\.html#)[A-Za-z0-9_-]+/g,
  /-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(-----END [A-Z ]*PRIVATE KEY-----|$)/g,
]

/** Of configuration and logs: values of settings whose name says that they are secret, and what has the form of a secret. */
export const redacted = (text: string): string =>
  secretForms
    .reduce((rest, form) => rest.replace(form, leftOut), text)
    .replace(
      /^(\s*["']?)([\w.-]+)(["']?\s*[=:]\s*)(.+)$/gm,
      (line, before: string, name: string, between: string) =>
        secretName.test(name) ? `${before}${name}${between}"(left out)"` : line,
    )
    .replace(/"([\w.-]+)"\s*:\s*"[^"]*"/g, (pair, name: string) =>
      secretName.test(name) ? `"${name}":"(left out)"` : pair,
    )
    .replace(/([a-z][a-z0-9+.-]*:\/\/[^\s:/@]+:)[^\s@/]+@/gi, '$1(left out)@')

export const isSecret = (name: string): boolean => secretName.test(name)
