/** Leases of database users that Vault does not renew. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { startPostgres } from '../support/postgres.ts'
import { engineOf, startPlace } from '../support/vault/database-suite.ts'
import { startVaultDouble } from '../support/vault/double.ts'

const REFUSALS = {
  'that cannot be renewed': { status: 400, body: { errors: ['lease is not renewable'] } },
  'that Vault does not know any more': { status: 400, body: { errors: ['lease not found'] } },
  'that the policy does not let be renewed': { status: 403, body: { errors: ['permission denied'] } },
} as const

for (const [what, refusal] of Object.entries(REFUSALS)) {
  test(`a lease ${what} is followed by another user, without a failed statement`, { timeout: 120_000 }, async () => {
    await using vault = await startVaultDouble()
    await using server = await startPostgres()
    const place = await startPlace(vault, server)
    vault.fault = ({ path }) => (path === 'sys/leases/renew' ? refusal : undefined)
    const users = new Set<string>()
    await using db = await engineOf(
      place,
      { vault_database_role: 'app' },
      { on: { 'connection:opened': ({ identity }) => users.add(identity) } },
    )
    while (users.size < 3) {
      await db.raw('select 1')
      await sleep(5)
    }
    assert.ok(vault.asked.some(({ path }) => path === 'sys/leases/renew'))
  })
}
