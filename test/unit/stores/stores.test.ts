import assert from 'node:assert/strict'
import { test } from 'node:test'
import { inspect } from 'node:util'
import { openStores } from '../../../src/stores/index.ts'

test('open stores show neither their environment nor their settings', async () => {
  const hidden = 'Zq9kWv3pLx7'
  await using stores = openStores({
    team: 'sales',
    environment: { VAULT_TOKEN: hidden },
    stores: [{ type: 'vault', url: 'https://vault.example.com:8200', token: hidden }],
  })
  const shown = [inspect(stores, { depth: 9 }), inspect({ stores }), JSON.stringify({ stores }), String(stores)]
  for (const text of shown) assert.ok(!text.includes(hidden), text)
  assert.match(shown[0] ?? '', /^Stores .*team: 'sales'/s)
})
