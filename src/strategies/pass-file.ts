import type { Connection } from '../connections/connection.ts'
import { type FileKind, readFileState } from '../credentials/reread-file.ts'
import { PoolsmithError } from '../errors.ts'
import { Secret } from '../secret.ts'

const PASS_FILE: FileKind = {
  what: 'password file',
  phase: 'credential',
  missing: 'CREDENTIAL_MISSING',
  unreadable: 'CREDENTIAL_FAILED',
  hint: 'passfile names a file in the form of ~/.pgpass: host:port:database:user:password on each line.',
  option: 'passfile',
}

/** Folders of sockets for which libpq looks for `localhost`, as it is built by PostgreSQL and by Debian. */
const DEFAULT_SOCKETS = /^(\/tmp|(\/var)?\/run\/postgresql)\/?$/
const DEFAULT_PORT = 5432

/**
 * The password of a connection in a file such as `~/.pgpass` (PostgreSQL documentation, "The Password File"): that of the
 * first line that fits.
 *
 * @throws PoolsmithError CREDENTIAL_MISSING when there is no file or no line that fits, CREDENTIAL_FAILED when it cannot
 *   be read or other users can
 */
export async function readPassFile(
  file: string,
  { host, port = DEFAULT_PORT, login = '', database = login }: Connection,
  hostaddr?: string,
): Promise<Secret> {
  const { content, mode } = await readFileState(file, PASS_FILE)
  if (process.platform !== 'win32' && (mode & 0o077) !== 0) {
    throw problem('CREDENTIAL_FAILED', file, 'may be read by other users', `Run chmod 0600 ${file}`)
  }
  const server = host ?? hostaddr ?? 'localhost'
  const wanted = [DEFAULT_SOCKETS.test(server) ? 'localhost' : server, String(port), database, login]
  for (const line of content.toString('utf8').split(/\r?\n/)) {
    const password = line.startsWith('#') ? undefined : passwordIn(line, wanted)
    if (password !== undefined) return new Secret(password)
  }
  const place = wanted.join(':')
  throw problem('CREDENTIAL_MISSING', file, `has no line for ${place}`, `Add ${place}:PASSWORD; * stands for any part.`)
}

/** The rest of a line whose first parts fit. A backslash stands before `:` and `\`. */
function passwordIn(line: string, wanted: readonly string[]): string | undefined {
  const parts: string[] = []
  let [part, at] = ['', 0]
  for (; at < line.length && parts.length < wanted.length; at++) {
    if (line[at] === ':') {
      if (part !== '*' && unescaped(part) !== wanted[parts.length]) return undefined
      parts.push(part)
      part = ''
    } else part += line[at] === '\\' ? `\\${line[++at] ?? ''}` : line[at]
  }
  return parts.length === wanted.length ? unescaped(line.slice(at)) : undefined
}

function unescaped(text: string): string {
  return text.replaceAll(/\\(.)/g, '$1')
}

function problem(
  code: 'CREDENTIAL_FAILED' | 'CREDENTIAL_MISSING',
  file: string,
  what: string,
  hint: string,
): PoolsmithError {
  return new PoolsmithError(`The password file ${file} ${what}.`, {
    code,
    phase: 'credential',
    hint,
    details: { file },
  })
}
