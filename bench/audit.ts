/**
 * The cost of the audit log, on a real PostgreSQL: what a line costs, and how many durable lines a second there can be; and
 * of the validation of an API key.
 */

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { AuditOptions } from '../src/audit/index.ts'
import { createEngine, type Engine } from '../src/index.ts'
import { type PostgresServer, startPostgres } from '../test/support/postgres.ts'
import { validation } from './api-keys.ts'
import { compare, type Result } from './measure.ts'

const STATEMENTS = 300
const CALLERS = 200
const ANSWERS = 5000
const LEAST_ANSWERS_PER_SECOND = 5000
/** A session is held until its line is durable, so lines share an fsync only if they come from several sessions. */
const SESSIONS = 50

function engineOf(server: PostgresServer, audit: AuditOptions | undefined): Promise<Engine> {
  const { host, port, superuser: login, superuserPassword: password } = server
  const record = { type: 'postgres', host, port, login, password, database: 'postgres', extra: { sslmode: 'disable' } }
  return createEngine(record as never, { pool_size: SESSIONS, max_overflow: 0, audit })
}

/** Every round has its own session: some sessions are twice as fast as others for their whole life. */
async function statementMicros(server: PostgresServer, audit: AuditOptions | undefined): Promise<number> {
  await using db = await engineOf(server, audit)
  const micros = async (): Promise<number> => {
    const begin = performance.now()
    for (let count = 0; count < STATEMENTS; count++) await db.raw('select 1')
    return ((performance.now() - begin) * 1000) / STATEMENTS
  }
  await micros()
  return await micros()
}

async function answerMicros(db: Engine): Promise<number> {
  let left = ANSWERS
  const caller = async (): Promise<void> => {
    while (left-- > 0) await db.raw('select 1')
  }
  const begin = performance.now()
  await Promise.all(Array.from({ length: CALLERS }, caller))
  return ((performance.now() - begin) * 1000) / ANSWERS
}

export async function run(): Promise<Result[]> {
  await using server = await startPostgres()
  const folder = await mkdtemp(join(tmpdir(), 'poolsmith-audit-'))
  const file = join(folder, 'audit.jsonl')
  try {
    const line = (name: string, audit: AuditOptions): Promise<Result> =>
      compare({
        name,
        unit: 'us',
        bound: 1.05,
        rounds: 200,
        ours: () => statementMicros(server, audit),
        peer: () => statementMicros(server, undefined),
      })
    const on = await line('select 1, audited, against not', { file })
    await using required = await engineOf(server, { file, mode: 'required' })
    await answerMicros(required)
    const durable = await compare({
      name: `required: an answer to one of ${CALLERS} callers, against ${LEAST_ANSWERS_PER_SECOND} a second`,
      unit: 'us',
      bound: 1,
      rounds: 10,
      ours: () => answerMicros(required),
      peer: async () => 1e6 / LEAST_ANSWERS_PER_SECOND,
    })
    return [on, durable, await validation()]
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}
