/** What is to be shown to others has no secrets in it. */
const secretName = /(secret|passw(or)?d|passphrase|token|credential|api_?key|private_?key|_key$)/i

/** Of configuration and logs: values of settings whose name says that they are secret. */
export const redacted = (text: string): string =>
  text
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
