/** Clocks that are an hour wrong, and that are set while a program runs. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseFields } from '../../src/connections/fields.ts'
import { vaultFields } from '../../src/vault/fields.ts'
import { KeyValues } from '../../src/vault/kv.ts'
import { Vault } from '../../src/vault/vault.ts'
import { startVaultDouble } from '../support/vault/double.ts'
import { administer } from '../support/vault/server.ts'
import { appRole } from '../support/vault/suite.ts'

const HOUR_MILLIS = 3_600_000
const signal = AbortSignal.timeout(60_000)

for (const offset of [HOUR_MILLIS, -HOUR_MILLIS]) {
  test(`a clock that is an hour ${offset > 0 ? 'ahead of' : 'behind'} Vault's costs no login`, async () => {
    await using server = await startVaultDouble()
    await administer(server, 'POST', 'secret/data/allowed/sales', { data: { password: 'one' } })
    const { roleId, secretId } = await appRole(server, 'reader', { token_ttl: 600 })
    const options = { vault_auth: 'approle', vault_role_id: roleId, vault_secret_id: (await secretId()).secret_id }
    const { values: parsed } = parseFields(vaultFields, { vault_addr: server.address, ...options })
    const vault = new Vault(parsed, { environment: {}, now: () => Date.now() + offset })
    const values = new KeyValues(vault, 2)
    for (let reads = 0; reads < 3; reads++) await values.read('secret/allowed/sales', signal)
    assert.equal(vault.logins, 1)
    vault.close()
  })

  test(`a clock that is set an hour ${offset > 0 ? 'ahead' : 'back'} while the program runs costs no read`, async () => {
    await using server = await startVaultDouble()
    await administer(server, 'POST', 'secret/data/allowed/sales', { data: { password: 'one' } })
    const { roleId, secretId } = await appRole(server, 'reader', { token_ttl: 600 })
    const options = { vault_auth: 'approle', vault_role_id: roleId, vault_secret_id: (await secretId()).secret_id }
    const { values: parsed } = parseFields(vaultFields, { vault_addr: server.address, ...options })
    let now = 0
    const vault = new Vault(parsed, { environment: {}, now: () => Date.now() + now })
    const values = new KeyValues(vault, 2)
    await values.read('secret/allowed/sales', signal)
    now = offset
    await values.read('secret/allowed/sales', signal)
    // The token ends at Vault while the clock says that it has an hour more.
    const { body } = await vault.query({ step: 'look up', path: 'auth/token/lookup-self' }, signal)
    await administer(server, 'POST', 'auth/token/revoke', { token: (body.data as { id: string }).id })
    const secret = await values.read('secret/allowed/sales', signal)
    assert.equal(secret.read('password', 'The secret').reveal(), 'one')
    vault.close()
  })
}
