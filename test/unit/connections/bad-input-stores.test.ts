/**
 * Texts that are cut off at each character, hold NUL or half a surrogate pair, or are a million characters long, where
 * stores of secrets are named: an error of ours, in time; never a crash, a hang, or a secret.
 */

import assert from 'node:assert/strict'
import { createReadStream } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { inspect } from 'node:util'
import { verifyAudit } from '../../../src/audit/verify.ts'
import { fromName } from '../../../src/connections/reference.ts'
import { createEngine } from '../../../src/engine/knex/create-engine.ts'
import { PoolsmithError } from '../../../src/errors.ts'
import { openStores } from '../../../src/stores/index.ts'
import { assertPaths, outcomeOf, PASSWORD } from '../../support/bad-input.ts'
import { damages, STRANGERS, truncations } from '../../support/bad-strings.ts'
import { temporaryFolder } from '../../support/folder.ts'
import { OPTION_SPELLINGS } from '../../support/option-tables.ts'

process.setMaxListeners(0)

const REFERENCES = [
  'vault:secret/data/sales#password',
  'aws-sm:arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod/sales-AbCdEf#password',
  'aws-ssm:/prod/sales/password:3',
  'azure-kv:https://vault.vault.azure.net/secrets/sales/0123456789abcdef0123456789abcdef',
  'gcp-sm:projects/prod/locations/europe-west1/secrets/sales/versions/7#password',
  'k8s:prod/sales#password',
  'encrypted:prod/sales#password',
  'file:/run/secrets/sales',
  'env:SALES_PASSWORD',
  'store:sales#password',
]
/** A secret where a reference belongs. */
const MISTAKES = [
  PASSWORD,
  `vault:secret/sales#${PASSWORD}#x`,
  `postgres://etl:${PASSWORD}@db/sales`,
  `{"a":"${PASSWORD}"}`,
]

/** The error of anything that is done with stores. It is ours, and shows no secret. */
async function errorOf(work: () => Promise<unknown>): Promise<PoolsmithError | undefined> {
  try {
    await work()
    return undefined
  } catch (error) {
    assert.ok(error instanceof PoolsmithError, inspect(error).slice(0, 2000))
    assert.ok(error.message.length < 20_000, 'a message stays short')
    const shown = [String(error), inspect(error, { depth: 9 }), JSON.stringify(error)].join('\n')
    for (const piece of [PASSWORD, PASSWORD.slice(0, 6)]) assert.ok(!shown.includes(piece), shown.slice(0, 500))
    return error
  }
}

test('a reference, cut off at each character, damaged or enormous, or a secret in its place', async () => {
  for (const text of [...REFERENCES.flatMap((one) => [...truncations(one), ...damages(one)]), ...MISTAKES]) {
    const { error } = await outcomeOf({ type: 'postgres', host: 'db.test', extra: { password_from: text } })
    assertPaths(error, text.slice(0, 200))
  }
})

test('a damaged reference in place of every secret', async () => {
  const secrets = OPTION_SPELLINGS.filter(({ field }) => field.type === 'secret')
  assert.ok(secrets.length > 10)
  for (const { key, type, authMethod } of secrets) {
    for (const value of [...STRANGERS, 'vault:secret/sales#pass\0word', 'vault:secret/\ud800#password', ...MISTAKES]) {
      const method = authMethod === undefined ? {} : { auth_method: authMethod }
      const record = { type, host: 'db.test', login: 'etl', extra: { ...method, [fromName(key)]: value } }
      const { error } = await outcomeOf(record as Parameters<typeof createEngine>[0])
      assertPaths(error, key)
    }
  }
})

test('the place of a whole connection, cut off, damaged or enormous', async () => {
  // Whole ones would ask the network.
  for (const text of ['encrypted:prod/sales', 'file:/nonexistent/sales', 'env:SALES', 'store:sales#x']) {
    for (const value of [...truncations(text), ...damages(text)]) {
      await errorOf(async () => {
        await using _ = await createEngine(value, { stores: { environment: {} } })
      })
    }
  }
})

const KWARGS = JSON.stringify({
  url: 'http://127.0.0.1:1',
  token: PASSWORD,
  connections_path: 'connections',
  mount_point: 'x',
})

test('the arguments of a secrets backend, cut off, damaged or enormous', async () => {
  for (const type of [
    'airflow.providers.hashicorp.secrets.vault.VaultBackend',
    'no.such.Backend',
    'x\0',
    '%',
    'a'.repeat(1e6),
  ]) {
    for (const kwargs of [
      ...truncations(KWARGS),
      ...damages(KWARGS),
      '[]',
      '7',
      '{"url": {"a": [1]}}',
      '['.repeat(1e5),
    ]) {
      const environment = { AIRFLOW__SECRETS__BACKEND: type, AIRFLOW__SECRETS__BACKEND_KWARGS: kwargs }
      const error = await errorOf(() => createEngine('sales', { stores: { environment } }))
      assert.ok(error !== undefined)
    }
  }
})

test('stores in a connections file and in code, as values of any kind', async () => {
  const kinds = ['vault', 'aws-sm', 'aws-ssm', 'azure-kv', 'gcp-sm', 'kubernetes', 'file', 'encrypted', 'nothing', '\0']
  const settings = [
    ...STRANGERS,
    ...kinds.flatMap((type) => [
      { type },
      ...[...STRANGERS, 'x\0', '\ud800', PASSWORD].map((value) => ({ type, url: value, token: value, path: value })),
    ]),
  ]
  for (const one of settings) {
    await errorOf(async () => {
      await using stores = await openStores({ environment: {}, stores: [one] as never })
      void stores
    })
  }
})

test('a password file of libpq and the log of an audit, cut off or damaged', async () => {
  await using folder = await temporaryFolder()
  const [passfile, log] = [join(folder.path, 'pgpass.txt'), join(folder.path, 'audit.jsonl')]
  const line = `127.0.0.1:1:sales:etl:${PASSWORD}\n`
  for (const value of [...truncations(line), ...damages(line)]) {
    await writeFile(passfile, value, { mode: 0o600 })
    const record = {
      type: 'postgres',
      host: '127.0.0.1',
      port: 1,
      login: 'etl',
      database: 'sales',
      extra: { passfile },
    }
    const error = await errorOf(async () => {
      await using db = await createEngine(record as Parameters<typeof createEngine>[0], { stores: { environment: {} } })
      await db.raw('select 1')
    })
    // Nothing listens there.
    assert.ok(error !== undefined)
  }
  const entry = '{"time":"2026-01-01T00:00:00.000Z","event":"log","hash":"0000"}\n'
  for (const value of [...truncations(entry), ...damages(entry)]) {
    await writeFile(log, value)
    await errorOf(() => verifyAudit(createReadStream(log)))
  }
})
