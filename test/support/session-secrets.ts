/** Looks for secrets in sessions, in the objects that programs hold, and in all that is told. */

import assert from 'node:assert/strict'
import { EVENT_NAMES } from '../../src/events.ts'
import { createEngine, type EngineOptions } from '../../src/index.ts'
import { findSecrets } from './object-graph.ts'

export type Connection = Readonly<Record<string, unknown>> & { readonly extra: object }

/** A password that every test of sessions has in its environment: pg looks for it where it is not told one. */
export const ENVIRONMENT = 'a-password-of-the-environment'

export type Secrets = readonly (string | Buffer)[]

/** Listens to every event. Each payload is kept. */
export function hearAll(): { readonly told: unknown[]; readonly on: EngineOptions['on'] } {
  const told: unknown[] = []
  const on = Object.fromEntries(EVENT_NAMES.map((name) => [name, (payload: unknown) => told.push([name, payload])]))
  return { told, on }
}

/** Opens sessions, runs a statement on one, and looks for secrets in it, in the engine and in all that was told. */
export async function assertHidden(
  connection: Connection,
  secrets: Secrets,
  { fails = false }: { readonly fails?: boolean } = {},
): Promise<void> {
  const { told, on } = hearAll()
  const options = { pool_timeout: 10, on, stores: { environment: {} } }
  await using db = await createEngine(connection as Parameters<typeof createEngine>[0], options)
  const all = [...secrets, ENVIRONMENT]
  try {
    await db.pool.use(async (raw) => {
      assert.deepEqual(findSecrets(raw, all), [])
      assert.deepEqual(findSecrets(db.pool.infoOf(raw), all), [])
    })
    await db.raw('select 1 as one')
    await db.pool.use((raw) => assert.deepEqual(findSecrets(raw, all), []))
    assert.equal(fails, false, 'the login went through')
  } catch (error) {
    if (!fails) throw error
    assert.deepEqual(findSecrets(error, all), [])
  }
  assert.ok(told.length > 0)
  assert.deepEqual(findSecrets(told, all), [])
  // A builder of knex makes another at each look, so that the walk begins below it.
  const { config, connectionSettings } = db.client as { readonly config: object; readonly connectionSettings?: object }
  assert.deepEqual(findSecrets([db.pool, db.connection, config, connectionSettings], all), [])
}
