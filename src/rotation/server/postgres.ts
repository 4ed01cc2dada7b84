import type pg from 'pg'
import { errorCode, errorText } from '../../any-error.ts'
import { scramVerifier } from '../../drivers/postgres/scram.ts'
import { type ChangeRefusal, ChangeRefused, type PasswordChange } from './change.ts'

const DEFAULT_ITERATIONS = 4096

/**
 * Sets the password of a role, as a SCRAM verifier that is computed here. Nothing has changed where it throws, unless the
 * session has ended in the commit.
 *
 * ALTER ROLE locks the role until the transaction ends, for the sessions of all databases. Another rotation can
 * begin before that and not end, so the store is asked once more in between.
 *
 * @throws ChangeRefused; the error of the statement
 */
export async function changePostgresPassword(client: pg.Client, change: PasswordChange): Promise<void> {
  const { user, next, assertPending, onRefused } = change
  const { rows } = await client.query("select current_setting('scram_iterations', true) as iterations")
  const verifier = await scramVerifier(next, Number(rows[0]?.iterations ?? DEFAULT_ITERATIONS))
  await client.query('begin')
  try {
    const lock = 'select pg_try_advisory_xact_lock(hashtextextended($1, 0)) as taken'
    const { rows: locks } = await client.query(lock, [`poolsmith rotation ${user}`])
    if (locks[0]?.taken !== true) throw new ChangeRefused('running', 'another session holds the lock of this rotation')
    await client
      .query(`alter role "${user.replaceAll('"', '""')}" password '${verifier}'`)
      .catch(async (error: unknown) => {
        const reason = refusalOf(error)
        if (reason === undefined) throw error
        // The lock lasts until the rollback.
        if (reason !== 'running') await onRefused()
        throw new ChangeRefused(reason, errorText(error), error)
      })
    await assertPending()
    await client.query('commit')
  } catch (error) {
    // A session that has ended has rolled it back.
    await client.query('rollback').catch(() => undefined)
    throw error
  }
}

/** "PostgreSQL Error Codes". Extensions that check passwords raise 22023 (passwordcheck), or a class of their own. */
function refusalOf(error: unknown): ChangeRefusal | undefined {
  const code = errorCode(error) ?? ''
  if (code === '42501' || code === '42704') return 'rights'
  // tuple concurrently updated
  if (code === 'XX000' && /concurrently/.test(errorText(error))) return 'running'
  return /^(22|23|28|42|P0)/.test(code) ? 'password' : undefined
}
