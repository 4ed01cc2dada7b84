/** The same connections by psql and by our driver: what psql opens we open, with the same answer, and nothing else. */

import assert from 'node:assert/strict'
import type { SessionInfo } from '../../src/drivers/driver.ts'
import { PoolsmithError } from '../../src/errors.ts'
import { type PostgresServer, psql } from './postgres.ts'
import { driverFor, openSession, passwordCredential } from './postgres-driver.ts'

export interface Case {
  readonly user: string
  readonly host?: string
  readonly password?: string
  readonly extra: Readonly<Record<string, string>>
  /** psql lets this pass; we refuse with this code, or get in better protected. */
  readonly stricter?: string
  /** psql refuses this as we do, and this is our code. */
  readonly code?: string
}

export interface Comparison {
  readonly server: PostgresServer
  /** The password of every user whose case has no other one. */
  readonly password: string
  /** Its one row is compared. */
  readonly sql: string
  /** Looks at the row and the session of ours. */
  readonly check?: (row: readonly unknown[], info: SessionInfo) => void
  /** Where `.postgresql` with default files lies. Default: nowhere. */
  readonly home?: string | undefined
  readonly environment?: Readonly<Record<string, string>>
}

interface Outcome {
  readonly outcome: string
  readonly error?: PoolsmithError
}

async function byPsql(one: Case, { server, password, sql, home, environment }: Comparison): Promise<string> {
  const words = Object.entries({ host: one.host ?? 'localhost', hostaddr: '127.0.0.1', ...one.extra })
  const dsn = words.map(([key, value]) => `${key}='${value}'`).join(' ')
  const answer = await psql(['-At', '-c', sql, `${dsn} port=${server.port} user=${one.user} dbname=postgres`], {
    PGPASSWORD: one.password ?? password,
    ...(home === undefined ? {} : { HOME: home }),
    ...environment,
  })
  return answer.code === 0 ? answer.stdout.trim() : 'refused'
}

async function byUs(one: Case, { server, password, sql, home, check }: Comparison): Promise<Outcome> {
  try {
    const { driver } = driverFor(
      { host: one.host ?? 'localhost', port: server.port, login: one.user, database: 'postgres' },
      { hostaddr: '127.0.0.1', ...one.extra },
      home === undefined ? {} : { home },
    )
    await using session = await openSession(driver, passwordCredential(one.password ?? password))
    const { rows } = await session.client.query({ text: sql, rowMode: 'array' })
    const row: readonly unknown[] = rows[0] ?? []
    check?.(row, driver.info(session.client))
    return { outcome: row.map(shown).join('|') }
  } catch (error) {
    if (!(error instanceof PoolsmithError)) throw error
    assert.notEqual(error.code === 'CONFIG_INVALID' ? '' : error.hint, undefined, `${error.code} needs a hint`)
    return { outcome: 'refused', error }
  }
}

/** As psql shows it. */
function shown(value: unknown): string {
  return typeof value === 'boolean' ? String(value).slice(0, 1) : String(value ?? '')
}

function difference(one: Case, theirs: string, { outcome, error }: Outcome): string | undefined {
  const label = `${JSON.stringify(one)}: psql ${theirs}, we ${outcome} ${error?.code ?? ''} ${error?.message ?? ''}`
  if (one.stricter !== undefined) {
    return theirs === 'refused' || (error?.code ?? outcome) !== one.stricter ? label : undefined
  }
  return theirs !== outcome || (one.code !== undefined && error?.code !== one.code) ? label : undefined
}

/** Runs the cases a few at a time and reports every difference at once. */
export async function compareWithPsql(cases: readonly Case[], comparison: Comparison): Promise<void> {
  const differences: string[] = []
  const queue = [...cases]
  const worker = async (): Promise<void> => {
    for (let one = queue.shift(); one !== undefined; one = queue.shift()) {
      const [theirs, ours] = await Promise.all([byPsql(one, comparison), byUs(one, comparison)])
      const found = difference(one, theirs, ours)
      if (found !== undefined) differences.push(found)
    }
  }
  await Promise.all([worker(), worker(), worker()])
  assert.ok(cases.length > 0)
  assert.deepEqual(differences, [])
}
