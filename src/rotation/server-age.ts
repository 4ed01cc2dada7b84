/** The life of the password that we logged in with, as the database tells it. */

import type { Engine } from '../engine/knex/create-engine.ts'
import type { FoundCredential } from './credential-age.ts'

export type ServerAge = Pick<FoundCredential, 'setAt' | 'expiresAt' | 'sources' | 'notes'>

/** Asks by a session of its own. @throws the error of the login, or of the statement */
export async function serverAge(db: Engine, now: number): Promise<ServerAge> {
  return db.connection.type === 'postgres' ? postgresAge(db) : sqlServerAge(db, now)
}

/** PostgreSQL keeps the end of a password, and not when it was set (PostgreSQL documentation, "pg_roles"). */
const ENDS_AT = `select (extract(epoch from nullif(rolvaliduntil, 'infinity')) * 1000)::text as until
  from pg_roles where rolname = session_user`

async function postgresAge(db: Engine): Promise<ServerAge> {
  const { rows } = await db.raw(ENDS_AT)
  const until = rows[0]?.until
  if (typeof until !== 'string') return { sources: [], notes: [] }
  return { expiresAt: Number(until), sources: ['rolvaliduntil'], notes: [] }
}

/** LOGINPROPERTY gives times in the time zone of the server, so the age is calculated there. */
const AGES = `select datediff(second, convert(datetime, loginproperty(suser_sname(), 'PasswordLastSetTime')), getdate()) as age,
  convert(int, loginproperty(suser_sname(), 'DaysUntilExpiration')) as days,
  convert(int, loginproperty(suser_sname(), 'IsExpired')) as expired`

async function sqlServerAge(db: Engine, now: number): Promise<ServerAge> {
  const [row] = await db.raw(AGES)
  const { age, days, expired } = (row ?? {}) as Readonly<Record<'age' | 'days' | 'expired', number | string | null>>
  // Text under exact_values. A contained user of a database has no login, and no such properties.
  const known = (value: number | string | null | undefined): number | undefined =>
    value === null || value === undefined ? undefined : Number(value)
  const [seconds, left] = [known(age), known(days)]
  const setAt = seconds === undefined ? undefined : now - seconds * 1000
  const expiresAt = known(expired) === 1 ? now : left === undefined ? undefined : now + left * 86_400_000
  return {
    setAt,
    expiresAt,
    sources: [
      ...(setAt === undefined ? [] : ['PasswordLastSetTime']),
      ...(expiresAt === undefined ? [] : ['DaysUntilExpiration']),
    ],
    notes: setAt === undefined ? ['the server does not say when the password was set'] : [],
  }
}
