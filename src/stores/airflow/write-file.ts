/** Writes an entry to a file of connections or variables, in YAML, JSON or `.env`, and leaves the others as they are. */

import { readFile } from 'node:fs/promises'
import { basename, extname } from 'node:path'
import { parseJson } from '../../connections/exact-json.ts'
import { readConnectionsFile } from '../../connections/stores/file.ts'
import { PoolsmithError } from '../../errors.ts'
import { loadPackage } from '../../optional-package.ts'
import { ownFile } from '../../private-file.ts'
import { replaceFile } from '../replace-file.ts'

type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json | undefined }

export interface FileEntry {
  /** The keys under which it may be. One that the file has stays; else it is written under the first. */
  readonly keys: readonly string[]
  /** In YAML and JSON. */
  readonly value: Json
  /** On a line of `.env`. */
  readonly line: string
}

/**
 * Replaces the file as a whole, with mode 0600. It is made where there is none.
 *
 * @throws PoolsmithError SECRET_FILE_LOCKED, SECRET_FILE_REFUSED, SECRET_UNUSABLE; ConfigError for a file that is wrong
 */
export async function writeEntry(path: string, { keys, value, line }: FileEntry, signal: AbortSignal): Promise<void> {
  const name = `The file ${path}`
  await replaceFile(
    path,
    async () => {
      const isThere = (await ownFile(path)) !== undefined
      const known = isThere ? (await readConnectionsFile(path)).connections : new Map<string, unknown>()
      const text = isThere ? await readFile(path, 'utf8') : ''
      const key = keys.find((one) => known.has(one)) ?? keys[0] ?? ''
      const kind = extname(path).toLowerCase() || basename(path).toLowerCase()
      if (kind === '.json') return { text: inJson(text, key, value) }
      return { text: kind === '.env' ? inEnv(text, key, line, name) : await inYaml(text, key, value, name) }
    },
    { name, code: 'SECRET_FILE_LOCKED', signal },
  )
}

function inJson(text: string, key: string, value: Json): string {
  const content = text.trim() === '' ? {} : (parseJson(text) as Record<string, unknown>)
  return `${JSON.stringify({ ...content, [key]: value }, undefined, 2)}\n`
}

function inEnv(text: string, key: string, line: string, name: string): string {
  if (/[=\r\n]/.test(key) || /^\s*#/.test(key) || /[\r\n]/.test(line) || line.trim() === '') {
    throw unusable(name, 'cannot hold this entry: it has one line for each, behind the first =')
  }
  const written = `${key}=${line}`
  const lines = text.split(/\r\n|\r|\n/)
  if (lines.at(-1) === '') lines.pop()
  const at = lines.findIndex((one) => one.startsWith(`${key}=`))
  if (at === -1) lines.push(written)
  else lines[at] = written
  return `${lines.join('\n')}\n`
}

/** All scalars are read as texts, so that those of other entries are written as they were: `0071` and not `71`. */
async function inYaml(text: string, key: string, value: Json, name: string): Promise<string> {
  const { isSeq, parseDocument, Scalar, YAMLMap, YAMLSeq } = await loadPackage(
    'yaml',
    () => import('yaml'),
    'a connections file in YAML',
  )
  const nodeOf = (given: Json): InstanceType<typeof Scalar> | InstanceType<typeof YAMLMap | typeof YAMLSeq> => {
    if (Array.isArray(given)) {
      const list = new YAMLSeq()
      for (const one of given as readonly Json[]) list.add(nodeOf(one))
      return list
    }
    if (typeof given === 'object' && given !== null) {
      const map = new YAMLMap()
      for (const [part, one] of Object.entries(given)) if (one !== undefined) map.set(nodeOf(part), nodeOf(one))
      return map
    }
    const scalar = new Scalar(String(given))
    if (typeof given === 'string') scalar.type = Scalar.QUOTE_DOUBLE
    return scalar
  }
  const document = parseDocument(text, { schema: 'failsafe', uniqueKeys: false })
  // A list under `stores` is that of the stores.
  if (isSeq(document.get(key))) throw unusable(name, `has a list under ${key}, which no connection replaces`)
  document.set(document.has(key) ? key : nodeOf(key), nodeOf(value))
  try {
    return document.toString({ lineWidth: 0 })
  } catch {
    // Its message names an anchor, which may be part of the entry that was replaced.
    throw unusable(name, `uses a part of ${key} elsewhere, by an alias`)
  }
}

function unusable(name: string, what: string): PoolsmithError {
  return new PoolsmithError(`${name} ${what}; nothing was written.`, {
    code: 'SECRET_UNUSABLE',
    phase: 'credential',
    hint: 'Edit the file by hand, or name another file.',
  })
}
