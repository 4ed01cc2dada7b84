/** A way to log in that an HTTP server or proxy offers. */
export interface Challenge {
  /** Lower case: `negotiate`, `basic`. */
  readonly scheme: string
  /** In place of parameters: Negotiate's token in Base64. */
  readonly token?: string
}

const TOKEN = "[!#$%&'*+.^_`|~\\w-]+"
const QUOTED = '"(?:[^"\\\\]|\\\\.)*"'
const PARAMETER = new RegExp(`^${TOKEN}[ \\t]*=[ \\t]*(?:${TOKEN}|${QUOTED})$`)
const CHALLENGE = new RegExp(`^(${TOKEN})(?:[ \\t]+(.*))?$`)
const TOKEN68 = /^[\w.~+/-]+=*$/

/**
 * The challenges of all `WWW-Authenticate` or `Proxy-Authenticate` headers (RFC 9110, 11.6.1), in order. One header may
 * hold several, separated by the same comma as the parameters of one. Parts that cannot be read are left out.
 */
export function parseChallenges(values: readonly string[]): readonly Challenge[] {
  const found: Challenge[] = []
  for (const item of values.flatMap(splitList)) {
    // A parameter of the challenge before it.
    if (PARAMETER.test(item)) continue
    const match = CHALLENGE.exec(item)
    if (match === null) continue
    const [, scheme = '', rest = ''] = match
    found.push({ scheme: scheme.toLowerCase(), ...(TOKEN68.test(rest) ? { token: rest } : {}) })
  }
  return found
}

/** Splits at commas outside of quotes. */
function splitList(value: string): string[] {
  const items = value.match(/(?:[^",]|"(?:[^"\\]|\\.)*"?)+/g) ?? []
  return items.map((item) => item.trim()).filter((item) => item !== '')
}
