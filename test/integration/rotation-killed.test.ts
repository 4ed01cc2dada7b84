/** A rotation that is killed at any step, while a pool uses the password. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ConnectionInput } from '../../src/index.ts'
import { rotate } from '../../src/rotation/index.ts'
import { killAt } from '../support/rotation/kill-at.ts'
import { killAtEachStep } from '../support/rotation/killed-password.ts'
import { load } from '../support/rotation/load.ts'
import { PLACES } from '../support/rotation/places.ts'
import { FIRST, ROTATION_SIDES, type RotationSide } from '../support/rotation/sides.ts'
import { startVaultDouble, type VaultDouble } from '../support/vault/double.ts'
import { administer } from '../support/vault/server.ts'

const stores = { environment: {} }

function recordOf(side: RotationSide, vault: VaultDouble, extra: object = {}) {
  const reference = {
    password_from: 'vault:secret/sales#password',
    vault_addr: vault.address,
    vault_token: vault.rootToken,
  }
  return { ...side.record, login: 'etl', extra: { ...side.record.extra, ...reference, secrets_ttl: 1, ...extra } }
}

async function fieldsIn(vault: VaultDouble): Promise<Record<string, string>> {
  const { data } = await administer(vault, 'GET', 'secret/data/sales')
  return (data as { data: Record<string, string> }).data
}

for (const [name, start] of Object.entries(ROTATION_SIDES)) {
  test(
    `${name}: a rotation that is killed at any step is finished by the same call, and no statement fails`,
    {
      timeout: 300_000,
    },
    () => killAtEachStep(start, PLACES['Vault']),
  )
}

for (const [name, start] of Object.entries(ROTATION_SIDES)) {
  test(`${name}: two users take turns, also where each rotation was killed before`, { timeout: 300_000 }, async () => {
    await using side = await start()
    await using vault = await startVaultDouble()
    await administer(vault, 'POST', 'secret/data/sales', { data: { user: 'etl', password: FIRST } })
    const record = { ...recordOf(side, vault, { login_from: 'vault:secret/sales#user' }), login: null }
    const admin = { ...side.record, login: 'boss', password: FIRST }
    const users = ['etl', 'etl_b'] as const
    await using stack = new AsyncDisposableStack()
    const callers = await load(record as ConnectionInput)
    stack.defer(callers.stop)
    await callers.reopened()
    let present = { user: 'etl', password: FIRST }
    for (const step of ['pending', 'alter', 'verify', 'promote']) {
      await killAt(step, 'password', record, { stores, users, admin })
      await callers.reopened()
      // The user in use is never touched.
      assert.equal(await side.accepts(present.user, present.password), true)
      const { user } = await rotate(record, { stores, users, admin })
      const after = await fieldsIn(vault)
      assert.deepEqual(Object.keys(after).sort(), ['password', 'user'])
      assert.equal(
        user,
        users.find((one) => one !== present.user),
      )
      assert.equal(after['user'], user)
      assert.equal(await side.accepts(present.user, present.password), true)
      assert.equal(await side.accepts(user, String(after['password'])), true)
      present = { user, password: String(after['password']) }
      await callers.reopened()
    }
    assert.ok((await callers.end()) > 0)
  })
}
