import { disorder, namesSecret } from './secret-text.ts'

/** Linux' PATH_MAX and NAME_MAX, in bytes; other systems are close to them. */
const LONGEST_PATH = 4096
const LONGEST_NAME = 255

/** `/x`, `./x`, `../x`, `~/x`, `C:\x`, `\\server\x` */
const ANCHORED = /^(\.{0,2}[/\\]|~\/|[A-Za-z]:[/\\])/
/** Names of files that hold certificates, keys, tickets, passwords or tokens. */
const FILE_NAME =
  /\.(pem|crt|cer|cert|der|key|pk8|p8|p12|pfx|p7b|crl|ca|bundle|chain|keytab|kt|ccache|cc|txt|jwt|token|pass|password|pw|secret|conf|cfg|ini|json|yaml|yml)$/i
/** krb5's own name for a cache. */
const CACHE_NAME = /^krb5cc\w{0,50}$/
/** Base64 may begin with a slash. Above this {@link disorder} a path would have to be all random names. */
const ENCODED = 0.5
/** krb5 writes the kind of a cache or keytab before its name: `FILE:/tmp/krb5cc_0`, `KEYRING:persistent:0`, `DIR::/x/tkt`. */
const KERBEROS_KIND = /^([A-Z]{2,10}):+(?!\\)/

/**
 * Whether a text can be the path of a file, so that it may be repeated in errors, events and lists. Key material or a
 * password in place of a path is none: a relative path begins with `./` or `../`, or its name ends as those of such
 * files do (`certs/client.pem`).
 */
export function isPlausiblePath(text: string): boolean {
  const [prefix = '', kind] = KERBEROS_KIND.exec(text) ?? []
  const rest = text.slice(prefix.length)
  if (!text.isWellFormed() || /\p{Cc}/u.test(text) || Buffer.byteLength(text) > LONGEST_PATH) return false
  if (text.includes('-----') || namesSecret(rest) || disorder(rest) > ENCODED) return false
  if (rest.split(/[/\\]/).some((name) => Buffer.byteLength(name) > LONGEST_NAME)) return false
  if (ANCHORED.test(rest)) return true
  // krb5 writes FILE before a name that has no kind.
  if (kind === undefined || kind === 'FILE' || kind === 'DIR') return FILE_NAME.test(rest) || CACHE_NAME.test(rest)
  // A cache that is no file has a name: `MEMORY:jobs`, `KCM:1000`, `KEYRING:persistent:0`.
  return /^[\w:.@-]{0,100}$/.test(rest)
}

/** A path as errors show it. A text that can be none may be the content of the file, and is not repeated. */
export function shownPath(text: string): string {
  return isPlausiblePath(text) ? text : '(not repeated, since it does not look like a path)'
}

/** The cause of an error about a file, which names the path too; undefined where that is not repeated. */
export function shownCause(path: string, cause: unknown): unknown {
  return isPlausiblePath(path) ? cause : undefined
}
