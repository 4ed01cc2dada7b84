/** API keys in an encrypted file. */

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { test } from 'node:test'
import { inspect } from 'node:util'
import { ConfigError, type PoolsmithError } from '../../../src/errors.ts'
import { type ApiKeys, type ApiKeysOptions, checkRotation, openApiKeys } from '../../../src/rotation/index.ts'
import { linesOf } from '../../support/audit.ts'
import { poolsmith } from '../../support/cli-in-process.ts'
import { temporaryFolder } from '../../support/folder.ts'
import { findSecrets } from '../../support/object-graph.ts'

const DAY = 86_400_000
const NOW = Date.UTC(2026, 10, 29)

/** A store, and a clock that stands until it is moved. */
async function prepare() {
  const folder = await temporaryFolder()
  const environment = {
    POOLSMITH_SECRETS_FILE: join(folder.path, 'secrets'),
    POOLSMITH_SECRETS_KEY: randomBytes(32).toString('base64'),
  }
  const clock = { now: NOW }
  const open = (options: ApiKeysOptions = {}): Promise<ApiKeys> =>
    openApiKeys('encrypted:api-keys', { environment, now: () => clock.now, ...options })
  return { folder, environment, clock, open, [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose]() }
}

async function codeOf(work: Promise<unknown>): Promise<string> {
  return work.then(
    () => 'it succeeded',
    (error: PoolsmithError) => error.code,
  )
}

test('a request without a key, or with several, is refused like one with a wrong key', async () => {
  await using place = await prepare()
  using keys = await place.open()
  const { key } = await keys.generate('billing')
  for (const given of [undefined, null, [key.reveal()], [], {}, 1]) {
    // As a program without type checks may call it.
    assert.equal(await keys.validate(given as unknown as string), undefined)
  }
  for (const service of [undefined, null, true, ['billing']]) {
    await assert.rejects(keys.generate(service as unknown as string), ConfigError)
  }
  assert.deepEqual(
    (await keys.list()).map((one) => one.service),
    ['billing'],
  )
})

test('a place that is no text is refused as a place', async () => {
  for (const place of [undefined, null, 1, {}, ['vault:secret/api-keys']]) {
    // As a program without type checks may call it.
    await assert.rejects(openApiKeys(place as unknown as string, { environment: {} }), ConfigError)
  }
})

test('a key is one word with a prefix, 256 bits and a checksum, and is validated', async () => {
  await using place = await prepare()
  using keys = await place.open()
  const { key, info } = await keys.generate('billing')
  assert.match(key.reveal(), /^psm_[0-9A-Za-z]{49}$/)
  assert.deepEqual([info.service, info.version, info.state, info.createdAt], ['billing', 1, 'current', NOW])
  assert.equal(info.rotateAfter, NOW + 90 * DAY)
  assert.deepEqual(await keys.validate(key), info)
  assert.deepEqual(await keys.headersFor('billing'), {
    Authorization: `Bearer ${key.reveal()}`,
    'X-API-Key': key.reveal(),
  })
  assert.equal(await codeOf(keys.generate('billing')), 'API_KEY_EXISTS')
  using own = await place.open({ prefix: 'acme' })
  const other = await own.generate('ledger')
  assert.match(other.key.reveal(), /^acme_/)
  // The first process finds the new key, too.
  place.clock.now += 1000
  assert.equal((await keys.validate(other.key))?.service, 'ledger')
})

test('a key that is unknown, wrong, expired or revoked is told apart by nothing', async () => {
  await using place = await prepare()
  using keys = await place.open()
  const { key } = await keys.generate('billing', { expiresAfterDays: 10 })
  const text = key.reveal()
  const last = text.endsWith('0') ? '1' : '0'
  const wrong = ['', 'psm_x', `${text.slice(0, -1)}${last}`, `${text}0`, text.replace('psm', 'psn'), text.toLowerCase()]
  using stranger = await place.open()
  const unknown = (await stranger.generate('other')).key
  await stranger.revoke('other')
  for (const one of [...wrong, unknown]) assert.equal(await keys.validate(one), undefined)
  assert.equal((await keys.validate(key))?.service, 'billing')
  place.clock.now += 10 * DAY
  assert.equal(await keys.validate(key), undefined)
  assert.deepEqual(
    (await keys.list('billing')).map(({ state }) => state),
    ['expired'],
  )
  assert.equal(await codeOf(keys.rotate('billing')), 'API_KEY_MISSING')
  await assert.rejects(keys.rotate('billing'), /^PoolsmithError: billing has no valid API key in the /)
})

test('after a rotation the key before is valid for the grace period', async () => {
  await using place = await prepare()
  using keys = await place.open()
  const first = (await keys.generate('billing')).key
  const second = (await keys.rotate('billing', { graceSeconds: 3600 })).key
  assert.equal((await keys.headersFor('billing'))['X-API-Key'], second.reveal())
  assert.equal((await keys.validate(first))?.state, 'retiring')
  assert.equal((await keys.validate(second))?.state, 'current')
  place.clock.now += 3_600_000
  assert.equal(await keys.validate(first), undefined)
  assert.equal((await keys.validate(second))?.version, 2)
  const third = await keys.rotate('billing', { graceSeconds: 0 })
  assert.equal(await keys.validate(second), undefined)
  assert.equal((await keys.validate(third.key))?.version, 3)
})

test('a revoked key is refused by other processes within the time to live', async () => {
  await using place = await prepare()
  using keys = await place.open({ ttl: 30 })
  using other = await place.open({ ttl: 30 })
  const { key } = await keys.generate('billing')
  assert.ok(await other.validate(key))
  assert.deepEqual(
    (await keys.revoke('billing')).map(({ version, state }) => [version, state]),
    [[1, 'revoked']],
  )
  assert.equal(await keys.validate(key), undefined)
  place.clock.now += 30_000
  assert.equal(await other.validate(key), undefined)
  assert.equal(await codeOf(other.headersFor('billing')), 'API_KEY_REVOKED')
  assert.equal(await codeOf(keys.revoke('billing')), 'API_KEY_MISSING')
  // A new one may follow.
  const next = await keys.generate('billing')
  await assert.rejects(keys.revoke('billing', 9), { message: /^billing has no valid version 9 of its API key in / })
  assert.equal((await keys.validate(next.key))?.version, 2)
  place.clock.now += 30_000
  assert.equal((await other.headersFor('billing'))['X-API-Key'], next.key.reveal())
})

test('one version is revoked alone', async () => {
  await using place = await prepare()
  using keys = await place.open()
  const first = (await keys.generate('billing')).key
  const second = (await keys.rotate('billing')).key
  await keys.revoke('billing', 1)
  assert.equal(await keys.validate(first), undefined)
  assert.equal((await keys.validate(second))?.version, 2)
  assert.equal((await keys.headersFor('billing'))['X-API-Key'], second.reveal())
})

test('with hashes alone the store never holds a key', async () => {
  await using place = await prepare()
  using keys = await place.open({ keep: 'hash' })
  const first = (await keys.generate('billing')).key
  const second = (await keys.rotate('billing')).key
  assert.ok(await keys.validate(first))
  assert.ok(await keys.validate(second))
  assert.equal(await codeOf(keys.headersFor('billing')), 'API_KEY_MISSING')
  const { out } = await poolsmith(['secrets', 'list', '--json'], place.environment)
  assert.deepEqual(
    JSON.parse(out).secrets.map(({ name }: { name: string }) => name),
    ['api-keys'],
  )
  const index = await poolsmith(['secrets', 'get', 'api-keys#billing'], place.environment)
  assert.doesNotMatch(index.out, /psm_/)
})

test('services that change at once all change, and one service is changed by one', async () => {
  await using place = await prepare()
  using keys = await place.open()
  const services = ['a', 'b', 'c', 'd']
  await Promise.all(services.map((service) => keys.generate(service)))
  assert.deepEqual((await keys.list()).map(({ service }) => service).sort(), services)
  const ends = await Promise.allSettled([keys.rotate('a'), keys.rotate('a'), keys.rotate('a')])
  const done = ends.filter((end) => end.status === 'fulfilled')
  assert.ok(done.length >= 1, inspect(ends))
  for (const end of ends) if (end.status === 'rejected') assert.equal(end.reason.code, 'ROTATION_RUNNING')
  const current = (await keys.list('a')).filter(({ state }) => state === 'current')
  assert.equal(current.length, 1)
  const sent = (await keys.headersFor('a'))['X-API-Key'] ?? ''
  assert.equal((await keys.validate(sent))?.state, 'current')
})

test('names and options that cannot be are refused, and a key in the wrong place is not repeated', async () => {
  await using place = await prepare()
  using keys = await place.open()
  for (const service of ['', 'Billing', 'a/b', '../x', 'a'.repeat(64), 'a-']) {
    await assert.rejects(keys.generate(service), ConfigError)
  }
  for (const options of [
    { prefix: 'A' },
    { ttl: -1 },
    { grace: 1e9 },
    { keep: 'all' },
    { store: { vault_adr: 'x' } },
  ]) {
    await assert.rejects(place.open(options as ApiKeysOptions), ConfigError)
  }
  await assert.rejects(keys.generate('x', { rotateAfterDays: -3 }), ConfigError)
  for (const text of ['api-keys', 'vault:secret/x#field', 'psm_secret-key']) {
    const error = await openApiKeys(text, place).catch((reason: unknown) => reason)
    assert.ok(error instanceof ConfigError)
    assert.doesNotMatch(error.message, /secret-key/)
  }
})

test('nothing that is told holds a key, and the age of keys is checked with the others', async () => {
  await using place = await prepare()
  const told: unknown[] = []
  const audit = { record: async (facts: unknown) => void told.push(facts) }
  using keys = await place.open({ audit, by: 'T-17' })
  const { key, info } = await keys.generate('billing')
  await keys.validate(key)
  await keys.validate('psm_nothing')
  await codeOf(keys.generate('billing'))
  await keys.rotate('billing', { rotateAfterDays: 30 })
  told.push(info, keys, await keys.list(), await keys.revoke('billing', 1))
  assert.deepEqual(findSecrets([told, inspect(told, { depth: 9, showHidden: true })], [key.reveal()]), [])
  const lines = told.slice(0, 5) as { action: string; outcome: string; service: string; by: string }[]
  assert.deepEqual(
    lines.map(({ action, outcome, service }) => `${action} ${outcome} ${service}`),
    [
      'generate success billing',
      'validate success billing',
      'validate failure unknown',
      'generate failure billing',
      'rotate success billing',
    ],
  )
  assert.ok(lines.every(({ by }) => by === 'T-17'))
  const at = (days: number) =>
    checkRotation({ connections: [], apiKeys: keys, now: () => NOW + days * DAY }).then(
      ({ credentials }) => credentials,
    )
  const [fresh, ...rest] = await at(1)
  assert.deepEqual([fresh?.status, fresh?.kind, fresh?.connection, rest.length], ['ok', 'api_key', 'billing', 0])
  assert.equal((await at(25))[0]?.status, 'soon')
  assert.equal((await at(30))[0]?.status, 'due')
})

test('the command makes, shows, validates and revokes keys', async () => {
  await using place = await prepare()
  const environment = { ...place.environment, POOLSMITH_API_KEYS: 'encrypted:api-keys' }
  const run = (args: readonly string[], input = '') => poolsmith(['api-keys', ...args], environment, input)
  const log = join(place.folder.path, 'audit.jsonl')
  const quiet = await run(['generate', 'billing', '--audit-file', log, '--by', 'ann'])
  const made = (await linesOf(log)).filter(({ event }) => event === 'api_key')
  assert.deepEqual(
    made.map(({ action, service, by, outcome }) => [action, service, by, outcome]),
    [['generate', 'billing', 'ann', 'success']],
  )
  assert.deepEqual([quiet.code, quiet.out], [0, 'billing: version 1, in the store\n'])
  const shown = await run(['rotate', 'billing', '--show', '--grace', '60'])
  assert.match(shown.out, /^psm_[0-9A-Za-z]{49}\n?$/)
  const key = shown.out.trim()
  assert.equal((await run(['validate'], `${key}\n`)).out, 'billing, version 2\n')
  const wrong = await run(['validate'], 'psm_wrong')
  assert.deepEqual([wrong.code, /API_KEY_INVALID/.test(wrong.log)], [4, true])
  const listed = JSON.parse((await run(['list', '--json'])).out)
  assert.deepEqual(
    listed.keys.map(({ version, state }: { version: number; state: string }) => [version, state]),
    [
      [1, 'retiring'],
      [2, 'current'],
    ],
  )
  assert.equal((await run(['revoke', 'billing'])).out, 'billing: revoked versions 1, 2\n')
  assert.equal((await run(['validate'], key)).code, 4)
  assert.equal((await run(['validate', key])).log.includes(key), false)
  assert.equal((await poolsmith(['api-keys', 'list'], place.environment)).code, 2)
  const due = await poolsmith(['rotation', '--json', '--api-keys', 'encrypted:api-keys'], place.environment)
  assert.equal(due.code, 0, due.out)
})
