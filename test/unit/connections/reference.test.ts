import assert from 'node:assert/strict'
import { test } from 'node:test'
import { describeConnection } from '../../../src/connections/describe.ts'
import { FieldMismatch, reference } from '../../../src/connections/fields.ts'
import { parseConnection } from '../../../src/connections/parse.ts'
import { type ConfigError, createEngine } from '../../../src/index.ts'
import { Secret } from '../../../src/secret.ts'

const field = reference('A secret.')

const GOOD: Readonly<Record<string, readonly [scheme: string, path: string, field: string | undefined]>> = {
  'vault:secret/sales#password': ['vault', 'secret/sales', 'password'],
  'vault:team/kv/prod/sales': ['vault', 'team/kv/prod/sales', undefined],
  'file:/run/secrets/sales': ['file', '/run/secrets/sales', undefined],
  'file:./sales.json#password': ['file', './sales.json', 'password'],
  'env:SALES_PASSWORD': ['env', 'SALES_PASSWORD', undefined],
  'k8s:prod/sales#password': ['k8s', 'prod/sales', 'password'],
  'k8s:/etc/secrets/sales#tls.key': ['k8s', '/etc/secrets/sales', 'tls.key'],
}

for (const [text, [scheme, path, name]] of Object.entries(GOOD)) {
  test(`${text} is read`, () => {
    assert.deepEqual(field.parse(text)?.reference, { scheme, path, field: name })
    assert.deepEqual(field.parse(new Secret(text))?.reference.path, path)
  })
}

const BAD = [
  'Tr0ub4dor&3',
  'secret:x',
  'vault:',
  'vault:secret',
  'vault:secret/../sys/seal#x',
  'vault:secret//sales',
  'vault:secret/sales?version=1',
  'vault:secret/sales.',
  'vault:secret/sales#a#b',
  'vault:secret/sa%2fles',
  'env:SALES-PASSWORD',
  'env:',
  'k8s:/etc/secrets/sales',
  'k8s:prod/sales',
  'k8s:prod/../sales#x',
  'k8s:Prod/sales#x',
  'k8s:/etc/secrets/sales#../x',
  'file:hunter2',
  `env:${'X'.repeat(2000)}`,
  'vault:secret/sales\n#x',
]

for (const text of BAD) {
  test(`${JSON.stringify(text.slice(0, 40))} is refused and not repeated`, () => {
    assert.throws(
      () => field.parse(text),
      (error: unknown) => error instanceof FieldMismatch && !error.message.includes(`${text} `),
    )
  })
}

test('a reference is shown with its connection, and a secret in its place is not', () => {
  const shown = (value: string): string =>
    describeConnection(parseConnection({ type: 'postgres', host: 'db', extra: { password_from: value } }))
  assert.equal(shown('vault:secret/sales#password'), 'postgres://db/?password_from=vault:secret/sales%23password')
  assert.equal(shown('Tr0ub4dor'), 'postgres://db/?password_from=[secret]')
})

test('an option that takes no reference says so: no other identity takes the place of the one that is named', async () => {
  const message = 'vault_token takes no reference to a store; give it directly'
  const extra = { password_from: 'vault:secret/sales#password', vault_token_from: 'file:/run/token' }
  const record = { type: 'postgres', host: 'db', login: 'etl', extra }
  await assert.rejects(
    createEngine(record, { stores: { environment: { VAULT_TOKEN: 'x' } } }),
    (error: ConfigError) => {
      assert.ok(
        error.problems.some((problem) => problem.path === 'extra.vault_token_from' && problem.message === message),
      )
      return true
    },
  )
})
