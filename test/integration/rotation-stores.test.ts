/** Passwords and API keys in each kind of store that can be written. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createEngine } from '../../src/index.ts'
import { checkRotation, openApiKeys, rotate } from '../../src/rotation/index.ts'
import { startPostgres } from '../support/postgres.ts'
import { PLACES } from '../support/rotation/places.ts'
import { FIRST } from '../support/rotation/sides.ts'

for (const [name, start] of Object.entries(PLACES)) {
  test(`${name}: a password is rotated, and the pools that read it follow`, { timeout: 60_000 }, async () => {
    await using server = await startPostgres()
    await server.sql(`create role etl login password '${FIRST}'`)
    await using place = await start()
    const { environment } = place
    const extra = { ...place.extra, password_from: `${place.secret}#password` }
    const { host, port } = server
    const record = { type: 'postgres', host, port, login: 'etl', database: 'postgres', extra } as const
    const stores = { environment }
    await using db = await createEngine(record, { pool_size: 2, stores })
    await db.raw('select 1')
    const steps: string[] = []
    const result = await rotate(record, {
      stores,
      onStep: async (step) => {
        steps.push(step)
        // A session is opened in each state of the rotation.
        db.pool.invalidate()
        await db.raw('select 1')
      },
    })
    assert.deepEqual(steps, ['read', 'login', 'pending', 'alter', 'verify', 'promote'])
    assert.equal(result.user, 'etl')
    db.pool.invalidate()
    await db.raw('select 1')
    const { credentials } = await checkRotation({ connections: [record], stores, askServers: false })
    const age = credentials.find(({ option }) => option === 'password')
    // The doubles of Kubernetes and of parameters tell no times.
    if (!['the API of Kubernetes', 'the AWS Parameter Store'].includes(name))
      assert.ok(Math.abs((age?.setAt ?? 0) - Date.now()) < 600_000, String(age?.notes))
  })

  test(`${name}: API keys are made, rotated, validated and revoked`, { timeout: 60_000 }, async () => {
    await using place = await start()
    const options = { store: place.extra, environment: place.environment }
    using keys = await openApiKeys(place.keys, options)
    const first = (await keys.generate('billing')).key
    await keys.generate('ledger')
    const second = (await keys.rotate('billing')).key
    using validator = await openApiKeys(place.keys, options)
    assert.equal((await validator.validate(first))?.state, 'retiring')
    assert.equal((await validator.validate(second))?.state, 'current')
    assert.equal((await validator.headersFor('billing'))['X-API-Key'], second.reveal())
    assert.equal((await validator.list()).length, 3)
    await keys.revoke('billing')
    using after = await openApiKeys(place.keys, options)
    assert.equal(await after.validate(second), undefined)
    await assert.rejects(after.headersFor('billing'), { code: 'API_KEY_REVOKED' })
    assert.ok((await after.headersFor('ledger'))['Authorization']?.startsWith('Bearer psm_'))
  })
}
