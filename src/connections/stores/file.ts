/**
 * The connections file, as Airflow's local-filesystem secrets backend has it: YAML or JSON, a mapping from id to a URI, a
 * text or an object; or `.env`, with `id=URI` on each line.
 */

import { access, type FileHandle, lstat, open, stat } from 'node:fs/promises'
import { basename, dirname, extname, resolve } from 'node:path'
import { errorCode, errorText } from '../../any-error.ts'
import { ConfigError, type ConfigProblem } from '../../errors.ts'
import { loadPackage } from '../../optional-package.ts'
import { isPlausiblePath } from '../../plausible-path.ts'
import { assertOwner, assertTrusted, DistrustedFile, readAtMost } from '../../private-file.ts'
import { exactInteger, parseJson } from '../exact-json.ts'
import { textProblem } from '../field-types.ts'
import { LARGEST_FILE, LONGEST_PATH, tooLong } from '../limits.ts'
import type { ConnectionInput } from '../parse.ts'
import type { Environment } from './environment.ts'
import type { Stored } from './stored.ts'

export const FILE_VARIABLE = 'POOLSMITH_CONNECTIONS_FILE'
const FILE_HINT = 'Check the path, the rights and the content of the file; docs/connections.md has an example.'
const DEFAULT_NAMES = ['connections.yaml', 'connections.yml', 'connections.json']

/** The key of the list of stores. A connection of this name is written as a text or an object. */
const STORES = 'stores'

export interface ConnectionsFile {
  readonly path: string
  readonly connections: ReadonlyMap<string, Stored>
  /** The list under `stores`: the stores that are searched after the file. */
  readonly stores: readonly unknown[] | undefined
  /** Whether users other than the owner may read it. */
  readonly readableByOthers: boolean
}

/** The file to read: the one given, the one that the environment names, or a default name in the working folder. */
export async function locateConnectionsFile(options: {
  readonly file?: string
  readonly environment: Environment
  readonly cwd: string
}): Promise<string | undefined> {
  const named = options.file || options.environment[FILE_VARIABLE]
  if (named) {
    const path = resolve(options.cwd, named)
    const problem =
      (named.length > LONGEST_PATH ? tooLong(LONGEST_PATH) : textProblem(named)) ??
      // The content of a file may have been given in its place.
      (isPlausiblePath(named) || (await exists(path))
        ? undefined
        : 'no file has this name (not repeated, since it does not look like a path)')
    if (problem !== undefined)
      throw new ConfigError([{ path: '', message: problem }], {
        subject: 'The path of the connections file',
        hint: FILE_HINT,
      })
    return path
  }
  for (const name of DEFAULT_NAMES) {
    const path = resolve(options.cwd, name)
    if (!(await exists(path))) continue
    await refuseForeign(path)
    return path
  }
  return undefined
}

/**
 * Refuses a file of another user, where every user can create files, such as in /tmp. Nobody has named the file, and
 * its connections could send this user's secrets to the server of that user.
 *
 * @throws ConfigError
 */
async function refuseForeign(path: string): Promise<void> {
  if (((await stat(dirname(path))).mode & 0o002) === 0) return
  try {
    assertOwner(path, await lstat(path))
    assertTrusted(path, await stat(path), { forbiddenMode: 0o002 })
  } catch (error) {
    if (!(error instanceof DistrustedFile)) throw error
    throw new ConfigError([{ path: '', message: `it ${error.reason}, in a folder where every user can make files` }], {
      subject: `The connections file ${path}`,
      hint: `If you trust it, name it by ${FILE_VARIABLE}.`,
      cause: error,
    })
  }
}

/** Where {@link locateConnectionsFile} looks when no file is named. */
export function defaultFiles(cwd: string): string[] {
  return DEFAULT_NAMES.map((name) => resolve(cwd, name))
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  )
}

/** @throws ConfigError for a file that is missing, unreadable, or not a mapping; it repeats nothing of the content */
export async function readConnectionsFile(path: string): Promise<ConnectionsFile> {
  const { text, mode } = await readText(path, (message, cause) => fileError(path, message, cause))
  const content = await parseContent(text, path)
  if (typeof content !== 'object' || content === null || Array.isArray(content)) {
    throw fileError(path, 'expected a mapping from connection ids to connections')
  }
  const connections = new Map<string, Stored>()
  let stores: readonly unknown[] | undefined
  for (const [id, value] of Object.entries(content as Record<string, unknown>)) {
    if (id === STORES && Array.isArray(value)) {
      stores = value
      continue
    }
    // Airflow also takes a list, as long as it holds a single connection; anything else, parsing refuses.
    const single: unknown = Array.isArray(value) && value.length === 1 ? value[0] : value
    connections.set(id, { id, store: `file ${path}`, value: single as ConnectionInput })
  }
  return { path, connections, stores, readableByOthers: process.platform !== 'win32' && (mode & 0o077) !== 0 }
}

function fileError(path: string, message: string, cause?: unknown): ConfigError {
  return new ConfigError([{ path: '', message }], { subject: `The connections file ${path}`, hint: FILE_HINT, cause })
}

/**
 * A text of limited length, and who may read it.
 *
 * @param fail makes the error of a file that cannot be read
 */
export async function readText(
  path: string,
  fail: (message: string, cause?: unknown) => ConfigError,
): Promise<{ text: string; mode: number }> {
  let file: FileHandle
  try {
    file = await open(path)
  } catch (cause) {
    throw fail(unreadable(cause), cause)
  }
  try {
    const { mode } = await file.stat()
    // A pipe is read too, such as one of a shell (`<(gpg --decrypt ...)`).
    const bytes = await readAtMost(file, LARGEST_FILE)
    if (bytes === undefined) throw fail(`it is larger than ${LARGEST_FILE} bytes`)
    return { text: new TextDecoder('utf-8', { fatal: true }).decode(bytes), mode }
  } catch (cause) {
    throw cause instanceof ConfigError ? cause : fail(unreadable(cause), cause)
  } finally {
    await file.close()
  }
}

function unreadable(error: unknown): string {
  const code = errorCode(error) ?? 'unknown error'
  const known: Record<string, string> = {
    ENOENT: 'it does not exist',
    EACCES: 'this user may not read it',
    EPERM: 'this user may not read it',
    EISDIR: 'it is a folder',
    ERR_ENCODING_INVALID_ENCODED_DATA: 'it is not UTF-8 text',
  }
  return known[code] ?? `it cannot be read (${code})`
}

async function parseContent(text: string, path: string): Promise<unknown> {
  // A file called `.env` alone has no extension.
  const kind = extname(path).toLowerCase() || basename(path).toLowerCase()
  if (kind === '.json') return parseJsonFile(text, path)
  return kind === '.env' ? parseEnv(text, path) : parseYaml(text, path)
}

/** Nothing is unquoted and no blank taken off a key, as in Airflow. */
function parseEnv(text: string, path: string): unknown {
  const mistakes: ConfigProblem[] = []
  const found = new Map<string, string>()
  const wrong = (line: number, message: string): void => {
    if (mistakes.length < MOST_MISTAKES) mistakes.push({ path: `line ${line}`, message })
  }
  for (const [index, line] of text.split(/\r\n|\r|\n/).entries()) {
    if (/^\s*(#|$)/.test(line)) continue
    const equals = line.indexOf('=')
    const [id, value] = [line.slice(0, equals), line.slice(equals + 1)]
    if (equals <= 0) wrong(index + 1, 'expected id=URI')
    else if (value.trim() === '') wrong(index + 1, 'the connection behind the = is missing')
    else if (found.has(id)) wrong(index + 1, YAML_MISTAKES['DUPLICATE_KEY'] as string)
    else found.set(id, value)
  }
  if (mistakes.length > 0) throw new ConfigError(mistakes, { subject: `The connections file ${path}`, hint: FILE_HINT })
  return Object.fromEntries(found)
}

function parseJsonFile(text: string, path: string): unknown {
  if (text.trim() === '') return {}
  try {
    return parseJson(text)
  } catch (error) {
    // The parser's message quotes the text, secrets and all; only the position in it is safe to pass on.
    const position = /position (\d+)/.exec(errorText(error))?.[1]
    const line = position === undefined ? '' : ` (line ${text.slice(0, Number(position)).split('\n').length})`
    throw fileError(path, `it is not valid JSON${line}`)
  }
}

/** YAML's own messages quote the file; these say the common ones without it. */
const YAML_MISTAKES: Readonly<Record<string, string>> = {
  BAD_ALIAS: 'a wrong alias',
  BAD_DQ_ESCAPE: 'a wrong escape in double quotes',
  BAD_INDENT: 'wrong indentation',
  BAD_SCALAR_START: 'a character that text without quotes cannot begin with',
  DUPLICATE_KEY: 'a key that stands twice',
  MISSING_CHAR: 'a missing character, such as a closing quote or bracket',
  MULTILINE_IMPLICIT_KEY: 'a key over several lines, or a missing colon',
  MULTIPLE_DOCS: 'a second document',
  TAB_AS_INDENT: 'a tab as indentation',
  TAG_RESOLVE_FAILED: 'an unknown tag',
}

const MOST_MISTAKES = 50

/** As it is written in decimal digits: leading zeros count in a password. */
function integerText(value: bigint, source: string | undefined): string {
  return source !== undefined && /^[+-]?\d+$/.test(source) ? source : String(value)
}

async function parseYaml(text: string, path: string): Promise<unknown> {
  const { LineCounter, isScalar, parseDocument, visit } = await loadPackage(
    'yaml',
    () => import('yaml'),
    'a connections file in YAML',
  )
  const lineCounter = new LineCounter()
  // The parser's own search for keys that stand twice compares each with each.
  const document = parseDocument(text, {
    lineCounter,
    prettyErrors: false,
    merge: true,
    uniqueKeys: false,
    intAsBigInt: true,
  })
  const found = [...document.errors, ...document.warnings].map(({ code, pos }) => ({ code: String(code), at: pos[0] }))
  visit(document, {
    Scalar(_, node) {
      if (typeof node.value === 'bigint')
        node.value = exactInteger(Number(node.value), integerText(node.value, node.source))
    },
    Map(_, map) {
      const seen = new Set<unknown>()
      for (const { key } of map.items) {
        if (!isScalar(key)) continue
        if (seen.has(key.value)) found.push({ code: 'DUPLICATE_KEY', at: key.range?.[0] ?? 0 })
        seen.add(key.value)
      }
    },
  })
  const mistakes = found.slice(0, MOST_MISTAKES).map(({ code, at }) => ({
    path: `line ${lineCounter.linePos(at).line}`,
    message: YAML_MISTAKES[code] ?? code.toLowerCase().replaceAll('_', ' '),
  }))
  if (mistakes.length > 0) throw new ConfigError(mistakes, { subject: `The connections file ${path}`, hint: FILE_HINT })
  let content: unknown
  try {
    content = document.toJS()
  } catch {
    throw fileError(path, 'an alias in it has no anchor, or aliases repeat each other too often')
  }
  return content ?? {}
}
