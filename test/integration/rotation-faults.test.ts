/** Rotations that meet each other, a store or a server that is away, a server that refuses; and what they tell. */

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { tracingChannel } from 'node:diagnostics_channel'
import { join } from 'node:path'
import { test } from 'node:test'
import { inspect } from 'node:util'
import { ConfigError, PoolsmithError } from '../../src/errors.ts'
import { type RotateOptions, type RotationStep, rotate } from '../../src/rotation/index.ts'
import { poolsmith } from '../support/cli-in-process.ts'
import { temporaryFolder } from '../support/folder.ts'
import { findSecrets } from '../support/object-graph.ts'
import { FIRST, ROTATION_SIDES, type RotationSide } from '../support/rotation/sides.ts'
import { startVaultDouble, type VaultDouble } from '../support/vault/double.ts'
import { administer } from '../support/vault/server.ts'

const stores = { environment: {} }

interface Bench extends AsyncDisposable {
  readonly side: RotationSide
  readonly vault: VaultDouble
  readonly record: Parameters<typeof rotate>[0]
  fields(): Promise<Record<string, string>>
  /** The rotation ends well, and only the password of the store is left and works. */
  comesBack(): Promise<void>
}

async function prepare(start: () => Promise<RotationSide>): Promise<Bench> {
  await using stack = new AsyncDisposableStack()
  const side = stack.use(await start())
  const vault = stack.use(await startVaultDouble())
  await administer(vault, 'POST', 'secret/data/sales', { data: { password: FIRST } })
  const reference = {
    password_from: 'vault:secret/sales#password',
    vault_addr: vault.address,
    vault_token: vault.rootToken,
  }
  const record = { ...side.record, login: 'etl', extra: { ...side.record.extra, ...reference } }
  const fields = async (): Promise<Record<string, string>> => {
    const { data } = await administer(vault, 'GET', 'secret/data/sales')
    return (data as { data: Record<string, string> }).data
  }
  const held = stack.move()
  return {
    side,
    vault,
    record,
    fields,
    async comesBack() {
      await rotate(record, { stores })
      const after = await fields()
      assert.deepEqual(Object.keys(after), ['password'])
      assert.notEqual(after['password'], FIRST)
      assert.equal(await side.accepts('etl', String(after['password'])), true)
      assert.equal(await side.accepts('etl', FIRST), false)
    },
    [Symbol.asyncDispose]: () => held[Symbol.asyncDispose](),
  }
}

async function failureOf(record: Parameters<typeof rotate>[0], options: RotateOptions = {}): Promise<PoolsmithError> {
  const error = await rotate(record, { stores, ...options }).then(
    () => undefined,
    (reason: unknown) => reason,
  )
  assert.ok(error instanceof PoolsmithError, inspect(error))
  return error
}

for (const [name, start] of Object.entries(ROTATION_SIDES)) {
  test(`${name}: rotations at once exclude each other`, { timeout: 120_000 }, async () => {
    await using bench = await prepare(start)
    const { side, record, fields } = bench
    for (let round = 0; round < 3; round++) {
      const ends = await Promise.allSettled(Array.from({ length: 3 }, () => rotate(record, { stores })))
      const codes = ends.map((end) => (end.status === 'fulfilled' ? 'done' : end.reason.code))
      assert.ok(codes.includes('done'), codes.join())
      // A second one may begin when the first has ended.
      assert.deepEqual(
        codes.filter((code) => code !== 'done' && code !== 'ROTATION_RUNNING'),
        [],
        inspect(ends),
      )
      const after = await fields()
      assert.deepEqual(Object.keys(after), ['password'], inspect(ends))
      assert.equal(await side.accepts('etl', String(after['password'])), true)
    }
  })

  test(`${name}: a rotation that another one has overtaken says so, and does not ask for an administrator`, {
    timeout: 120_000,
  }, async () => {
    await using bench = await prepare(start)
    const { side, record, fields } = bench
    const onStep = async (begun: RotationStep): Promise<void> => {
      if (begun === 'login') await rotate(record, { stores })
    }
    const error = await failureOf(record, { onStep })
    assert.deepEqual([error.code, error.details['step']], ['ROTATION_RUNNING', 'login'])
    assert.equal(await side.accepts('etl', String((await fields())['password'])), true)
  })

  test(`${name}: a store that is away at any step stops the rotation there, and it comes back`, {
    timeout: 120_000,
  }, async () => {
    for (const step of ['read', 'pending', 'alter', 'promote'] satisfies RotationStep[]) {
      await using bench = await prepare(start)
      const { side, vault, record } = bench
      const sealed = () => ({ status: 503, body: { errors: ['Vault is sealed'] } })
      const onStep = (begun: RotationStep): void => {
        if (begun === step) vault.fault = sealed
      }
      const error = await failureOf(record, { onStep })
      assert.deepEqual([error.code, error.details['step']], ['STORE_SEALED', step])
      assert.match(error.message, new RegExp(`^The rotation of .* stopped at the step ${step}: `))
      assert.match(error.hint ?? '', /Run the same rotation again\.$/)
      vault.fault = undefined
      assert.equal(await side.accepts('etl', FIRST), step !== 'promote')
      await bench.comesBack()
    }
  })

  test(`${name}: a server that is away at any step stops the rotation there, and it comes back`, {
    timeout: 120_000,
  }, async () => {
    for (const step of ['login', 'pending', 'alter', 'verify'] satisfies RotationStep[]) {
      await using bench = await prepare(start)
      const { side, record } = bench
      const error = await failureOf(record, {
        onStep: async (begun) => {
          if (begun === step) await side.stop()
        },
      })
      // The pending password is written before the server is needed again.
      assert.equal(error.details['step'], step === 'pending' ? 'alter' : step, inspect(error))
      await side.start()
      await bench.comesBack()
    }
  })

  test(`${name}: a server that refuses the new password, or the right to set it, keeps the old one`, {
    timeout: 120_000,
  }, async () => {
    await using bench = await prepare(start)
    const { side, record, fields } = bench
    const weak = await failureOf(record, { generate: () => 'etl' })
    assert.deepEqual([weak.code, weak.details['step']], ['ROTATION_REFUSED', 'alter'])
    assert.match(weak.message, /The server refuses the new password: .* The old one stays\./)
    assert.deepEqual(await fields(), { password: FIRST })

    const admin = { ...side.record, login: 'etl_b', password: FIRST }
    const stranger = await failureOf(record, { admin })
    assert.deepEqual([stranger.code, stranger.details['step']], ['ROTATION_REFUSED', 'alter'])
    assert.match(stranger.message, /does not let the password of etl be set/)
    assert.deepEqual(await fields(), { password: FIRST })
    assert.equal(await side.accepts('etl', FIRST), true)
    await bench.comesBack()
  })

  test(`${name}: a rotation whose pending password another one has set goes on`, { timeout: 60_000 }, async () => {
    await using bench = await prepare(start)
    const { side, record, fields } = bench
    const stopped = new Error('stopped')
    const result = await rotate(record, {
      stores,
      onStep: async (step) => {
        if (step !== 'alter') return
        const onStep = (other: RotationStep): void => {
          if (other === 'promote') throw stopped
        }
        await failureOf(record, { onStep })
      },
    })
    assert.equal(result.user, 'etl')
    const after = await fields()
    assert.deepEqual(Object.keys(after), ['password'])
    assert.equal(await side.accepts('etl', String(after['password'])), true)
  })

  test(`${name}: the pending value of another field of the secret is left alone`, { timeout: 60_000 }, async () => {
    await using bench = await prepare(start)
    const { side, vault, record, fields } = bench
    const other = { key: 'one', key_pending: 'two' }
    await administer(vault, 'POST', 'secret/data/sales', { data: { password: FIRST, ...other } })
    await rotate(record, { stores })
    const { password = '', ...rest } = await fields()
    assert.deepEqual(rest, other)
    assert.equal(await side.accepts('etl', password), true)
    assert.notEqual(password, FIRST)
  })

  test(`${name}: a password of the store that the server does not know is left alone`, {
    timeout: 60_000,
  }, async () => {
    await using bench = await prepare(start)
    const { side, vault, record, fields } = bench
    await administer(vault, 'POST', 'secret/data/sales', { data: { password: 'another' } })
    const error = await failureOf(record)
    assert.deepEqual([error.code, error.details['step']], ['ROTATION_STUCK', 'login'])
    assert.deepEqual(await fields(), { password: 'another' })
    // An administrator sets it all the same.
    const admin = { ...side.record, login: 'boss', password: FIRST }
    await rotate(record, { stores, admin })
    assert.equal(await side.accepts('etl', String((await fields())['password'])), true)
  })

  test(`${name}: nothing that a rotation tells or the server writes holds a password`, {
    timeout: 60_000,
  }, async () => {
    await using bench = await prepare(start)
    const { side, vault, record, fields } = bench
    const told: unknown[] = []
    const queries = tracingChannel('poolsmith:query')
    const listen = (facts: unknown): void => void told.push(facts)
    const listeners = { start: listen, end: listen, asyncStart: listen, asyncEnd: listen, error: listen }
    queries.subscribe(listeners)
    const audit = { record: async (facts: unknown) => listen(facts) }
    try {
      told.push(await rotate(record, { stores, audit }))
      told.push(await failureOf(record, { stores, audit, generate: () => 'etl' }))
      vault.fault = ({ method }) => (method === 'POST' ? { status: 500, body: { errors: ['broken'] } } : undefined)
      told.push(await failureOf(record, { stores, audit }))
      vault.fault = undefined
    } finally {
      queries.unsubscribe(listeners)
    }
    const { password = '' } = await fields()
    assert.deepEqual(findSecrets([told, inspect(told, { depth: 9 })], [FIRST, password, vault.rootToken]), [])
    // The first password was set by the test itself, in plain.
    assert.deepEqual(findSecrets([side.told()], [password]), [])
    const audited = told.filter((one) => (one as { kind?: string }).kind === 'rotation')
    assert.deepEqual(
      audited.map((one) => [(one as { outcome: string }).outcome, (one as { step?: string }).step]),
      [
        ['success', undefined],
        ['failure', 'alter'],
        ['failure', 'pending'],
      ],
    )
  })
}

test('a record whose password cannot be rotated is refused with the reason', async () => {
  const nowhere = { type: 'postgres', host: '127.0.0.1', port: 1, login: 'etl', database: 'x' } as const
  const problems = async (extra: object, options: RotateOptions = {}): Promise<string> => {
    const error = await failureOf({ ...nowhere, extra: { ...extra } }, options)
    assert.ok(error instanceof ConfigError, inspect(error))
    return error.message
  }
  assert.match(await problems({}), /extra\.password_from: missing/)
  assert.match(await problems({ password_from: 'file:/run/secrets/x' }), /names no field/)
  assert.match(await problems({ auth_method: 'iam', region: 'eu-west-1' }), /auth_method: is iam/)
  const file = { password_from: 'file:/run/secrets/x.json#password' }
  assert.match(await problems(file, { users: ['a', 'a'] }), /options\.users: expected two users/)
  assert.match(await problems(file, { users: ['a', 'b'] }), /options\.admin: missing/)
  assert.match(await problems(file, { wait: -1 }), /options\.wait/)
  assert.match(await problems({ ...file, login_from: 'env:USER_NAME' }), /login/)
})

test('a password in an encrypted file is rotated by the command, also with a command that makes it', {
  timeout: 60_000,
}, async () => {
  await using folder = await temporaryFolder()
  await using side = await (ROTATION_SIDES['PostgreSQL 18'] as () => Promise<RotationSide>)()
  const { host, port, database } = side.record
  const secret = `encrypted:sales#password&secrets_file=${encodeURIComponent(join(folder.path, 'secrets'))}`
  const environment = {
    PATH: process.env['PATH'] ?? '',
    POOLSMITH_SECRETS_FILE: join(folder.path, 'secrets'),
    POOLSMITH_SECRETS_KEY: randomBytes(32).toString('base64'),
    POOLSMITH_CONN_SALES: `postgres://etl@${host}:${port}/${database}?password_from=${secret.replace('#', '%23')}`,
  }
  const first = await poolsmith(['secrets', 'set', 'sales#password'], environment, FIRST)
  assert.equal(first.code, 0, first.log)
  const made = await poolsmith(['rotate', 'sales', '--password-command', 'echo Second-password-2'], environment)
  assert.equal(made.code, 0, made.log)
  assert.equal(made.log, 'read\nlogin\npending\nalter\nverify\npromote\n')
  assert.equal(await side.accepts('etl', 'Second-password-2'), true)
  const again = await poolsmith(['rotate', 'sales', '--json'], environment)
  const { ok, user, resumed, connection } = JSON.parse(again.out)
  assert.deepEqual([ok, user, resumed, connection], [true, 'etl', false, 'sales'])
  const { out } = await poolsmith(['secrets', 'get', 'sales#password'], environment)
  assert.equal(await side.accepts('etl', out.trim()), true)
  assert.equal(await side.accepts('etl', 'Second-password-2'), false)
  for (const [command, words] of [
    ['exit 3', /failed \(exit code 3\)/],
    ['true', /printed nothing/],
    ['echo one; echo two', /printed more than one line/],
  ] as const) {
    const bad = await poolsmith(['rotate', 'sales', '--password-command', command], environment)
    assert.equal(bad.code === 4 || bad.code === 75, true, bad.log)
    assert.match(bad.log, words)
  }
  assert.equal(await side.accepts('etl', out.trim()), true)
  const rotation = await poolsmith(['rotation', 'sales', '--json', '--offline'], environment)
  assert.equal(JSON.parse(rotation.out).credentials[0].status, 'ok')
})
