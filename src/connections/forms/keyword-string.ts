/**
 * libpq's keyword string, `host=db dbname=sales user=etl`, read by libpq's own rules (PostgreSQL documentation,
 * "Connection Strings"; `conninfo_parse` in fe-connect.c).
 */

import type { ConfigProblem } from '../../errors.ts'
import { Secret } from '../../secret.ts'
import { childPath } from '../problem-path.ts'
import { type FormReading, type Pair, type TextForm, unreadable } from './form.ts'

/** libpq's words for the parts of a connection. */
const PARTS: Readonly<Record<string, string>> = {
  host: 'host',
  port: 'port',
  dbname: 'database',
  user: 'login',
  password: 'password',
}

/** libpq's other keywords that mean something here. */
const OPTIONS = new Set(
  [
    'hostaddr service servicefile passfile sslmode sslrootcert sslcrl sslcrldir sslcert sslkey sslpassword sslcertmode',
    'sslsni sslnegotiation ssl_min_protocol_version ssl_max_protocol_version channel_binding require_auth requirepeer',
    'requiressl gssencmode krbsrvname gssdelegation application_name options connect_timeout keepalives',
    'keepalives_idle keepalives_interval keepalives_count tcp_user_timeout client_encoding fallback_application_name',
    'sslcompression sslkeylogfile gsslib min_protocol_version max_protocol_version target_session_attrs load_balance_hosts',
  ]
    .join(' ')
    .split(' '),
)

/** libpq's keywords that change nothing here, and why. */
const UNUSED: Readonly<Record<string, string>> = {
  krb_srvname: 'write krbsrvname; ignored',
  tty: 'has no meaning since PostgreSQL 7.4; ignored',
}

/** The same parts in the words of other programs, which libpq refuses. */
const OTHER_WORDS: Readonly<Record<string, string>> = {
  username: 'user',
  login: 'user',
  uid: 'user',
  pwd: 'password',
  database: 'dbname',
  db: 'dbname',
  schema: 'dbname',
  server: 'host',
  hostname: 'host',
}

const KEY_OF_OTHERS = /;\s*[A-Za-z][\w ]*=/

export const keywordString: TextForm = {
  recognises(text) {
    const [, word = ''] = /^([a-z_]+)\s*=/.exec(text) ?? []
    // These also begin strings of ADO.NET, whose keys stand behind semicolons.
    if (word === 'user' || word === 'password') return !KEY_OF_OTHERS.test(text) || isWhole(scan(text))
    return isKeyword(word)
  },
  read(text) {
    const pairs = scan(text)
    return typeof pairs === 'string' ? unreadable(pairs) : readKeywords(pairs)
  },
}

/** Whether libpq has the keyword. */
export function isKeyword(word: string): boolean {
  return [PARTS, UNUSED].some((words) => Object.hasOwn(words, word)) || OPTIONS.has(word)
}

function isWhole(pairs: readonly Pair[] | string): boolean {
  return typeof pairs === 'object' && pairs.length > 1 && pairs.every(([key]) => isKeyword(key))
}

/** Reads keywords with their values. */
export function readKeywords(pairs: readonly Pair[]): FormReading {
  const problems: ConfigProblem[] = []
  const notes: ConfigProblem[] = []
  const record: Record<string, unknown> = { type: 'postgres' }
  const extra: Record<string, string> = {}
  for (const [key, value] of pairs) {
    const lower = key.toLowerCase()
    // Of a keyword that stands twice the last counts.
    if (Object.hasOwn(PARTS, key))
      record[PARTS[key] as string] = key === 'port' && value !== '' ? new Secret(value) : value
    else if (key === 'requiressl') extra['sslmode'] = value.startsWith('1') ? 'require' : 'prefer'
    else if (Object.hasOwn(UNUSED, key)) notes.push({ path: childPath('extra', key), message: UNUSED[key] as string })
    else if (Object.hasOwn(OTHER_WORDS, lower)) problems.push(wrongWord(key, OTHER_WORDS[lower] as string))
    else if (key !== lower && (Object.hasOwn(PARTS, lower) || OPTIONS.has(lower))) problems.push(wrongWord(key, lower))
    else extra[key] = value
  }
  if (String(record['database']).includes('://')) {
    problems.push({ path: 'database', message: 'expected a name; write a URI alone, without keywords' })
  }
  return { record: { ...record, extra }, problems, notes, closed: true }
}

function wrongWord(key: string, word: string): ConfigProblem {
  const path = PARTS[word] ?? childPath('extra', word)
  return { path, message: `is written ${JSON.stringify(key)}, which libpq refuses; write ${word}` }
}

/** The blanks of C's `isspace`. */
const BLANK = /[ \t\n\v\f\r]/

/** The keywords and values, or what is wrong. */
function scan(text: string): Pair[] | string {
  const pairs: Pair[] = []
  let at = 0
  const skipBlanks = (): void => {
    while (at < text.length && BLANK.test(text[at] as string)) at++
  }
  for (;;) {
    skipBlanks()
    if (at === text.length) return pairs
    const start = at
    while (at < text.length && text[at] !== '=' && !BLANK.test(text[at] as string)) at++
    const key = text.slice(start, at)
    skipBlanks()
    if (text[at] !== '=') return `a word without "=" follows the ${ordinal(pairs.length)} value; ${QUOTE_HINT}`
    if (key === '') return `a "=" without a keyword follows the ${ordinal(pairs.length)} value; ${QUOTE_HINT}`
    at++
    skipBlanks()
    const isQuoted = text[at] === "'"
    if (isQuoted) at++
    const pieces: string[] = []
    let from = at
    while (at < text.length && (isQuoted ? text[at] !== "'" : !BLANK.test(text[at] as string))) {
      if (text[at] === '\\') {
        pieces.push(text.slice(from, at))
        from = at + 1
        at++
      }
      at++
    }
    at = Math.min(at, text.length)
    pieces.push(text.slice(from, at))
    if (isQuoted && at === text.length) return `the quote of the ${ordinal(pairs.length + 1)} value is not closed`
    if (isQuoted) at++
    pairs.push([key, pieces.join('')])
  }
}

const QUOTE_HINT = "write a value with blanks in single quotes, and ' and \\ in it as \\' and \\\\"

function ordinal(count: number): string {
  return ['zeroth', 'first', 'second', 'third'][count] ?? `${count}th`
}
