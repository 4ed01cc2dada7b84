/** The lines of an audit log, as tests compare them: without what differs from run to run. */

import { readFile } from 'node:fs/promises'
import type { PostgresServer } from './postgres.ts'

export type Line = Readonly<Record<string, unknown>>

export async function linesOf(path: string): Promise<readonly Line[]> {
  const text = await readFile(path, 'utf8')
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Line)
}

/** Those that are whole. */
export async function wholeLinesOf(path: string): Promise<readonly Line[]> {
  const text = await readFile(path, 'utf8')
  return text.split('\n').flatMap((line) => {
    try {
      return [JSON.parse(line) as Line]
    } catch {
      return []
    }
  })
}

/** A line without the properties that are the same on all lines of a pool, and with those that differ checked by their form. */
export function core(line: Line, common: Line = {}): Line {
  const rest: Record<string, unknown> = {}
  for (const [name, value] of Object.entries(line)) {
    if (name in common) {
      if (common[name] !== value) throw new Error(`${name} is ${JSON.stringify(value)} in ${JSON.stringify(line)}`)
      continue
    }
    const form = FORMS[name]
    if (form === undefined) rest[name] = value
    else if (!form.test(String(value))) throw new Error(`${name} is ${JSON.stringify(value)}, which is not ${form}`)
  }
  return rest
}

const FORMS: Readonly<Record<string, RegExp>> = {
  time: /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/,
  duration_ms: /^\d+(\.\d+)?$/,
  pid: /^\d+$/,
  session: /^\d+$/,
  machine: /./,
  os_user: /./,
  client: /^127\.0\.0\.1:\d+$/,
}

export function recordOf(server: PostgresServer) {
  return {
    type: 'postgres' as const,
    host: server.host,
    port: server.port,
    login: server.superuser,
    password: server.superuserPassword,
    database: 'postgres',
    extra: { sslmode: 'disable' },
  }
}
