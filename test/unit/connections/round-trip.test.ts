import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { inspect } from 'node:util'
import fc from 'fast-check'
import { describeConnection } from '../../../src/connections/describe.ts'
import { toAirflowUri } from '../../../src/connections/forms/airflow-uri.ts'
import { toAirflowJson } from '../../../src/connections/forms/json-text.ts'
import { type ConnectionObject, parseConnection } from '../../../src/connections/parse.ts'
import { resolveConnection } from '../../../src/stores/resolve.ts'
import { revealed } from './revealed.ts'

/** Any Unicode text but NUL, the signs that URIs reserve well represented. */
const words = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 20 }).filter((text) => text.isWellFormed() && !text.includes('\0')),
  fc.string({ unit: fc.constantFrom(...'%:/?#[]@!$&\'()*+,;=" \\|<>^`{}~\t\n\rAz0é😀\u202e\ufeff'), maxLength: 12 }),
  fc.constantFrom('', ' ', '+', '%', '%41', '%zz', '{', '{}', '://', '@', 'null', '__extra__', '__proto__', 'toString'),
)
const hosts = fc.oneof(
  fc.domain(),
  fc.ipV4(),
  fc.ipV6(),
  fc.string({ unit: fc.constantFrom(...'aBzZ09.-_é%+=&[]'), minLength: 1, maxLength: 12 }),
  words.map((text) => `/${text}`).filter((path) => !/[@,]|:\/\/|\p{Cc}/u.test(path)),
  fc.constantFrom('fe80::1%eth0', 'FE80::1', 'sql\\INSTANCE', 'Tmp', ''),
)
const json = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small' },
    words,
    fc.boolean(),
    fc.constant(null),
    fc.integer(),
    fc.double({ noNaN: true, noDefaultInfinity: true }).map((number) => (Object.is(number, -0) ? 0 : number)),
    fc.array(tie('value'), { maxLength: 3 }),
    fc.dictionary(words, tie('value'), { maxKeys: 3, noNullPrototype: true }),
  ),
})).value
const keys = fc.oneof(words, fc.constantFrom('sslmode', 'sslpassword', 'client_secret', 'proxy', 'pool_size'))
const connections: fc.Arbitrary<ConnectionObject> = fc.record(
  {
    type: fc.constantFrom('postgres', 'postgresql', 'mssql', 'sqlserver'),
    host: hosts,
    port: fc.integer({ min: 1, max: 65_535 }),
    login: words,
    password: words,
    database: words,
    description: words,
    extra: fc.oneof(
      fc.dictionary(keys, words, { maxKeys: 4, noNullPrototype: true }),
      fc.dictionary(keys, json, { maxKeys: 4, noNullPrototype: true }),
    ),
  },
  { requiredKeys: ['type'] },
)

describe('round trips', () => {
  it('object -> JSON -> connection', () => {
    fc.assert(
      fc.property(connections, (input) => {
        const connection = parseConnection(input)
        assert.deepEqual(revealed(parseConnection(toAirflowJson(connection))), revealed(connection))
      }),
    )
  })

  it('object -> URI -> connection, all but the description, for which a URI has no place', () => {
    fc.assert(
      fc.property(connections, ({ description: _, ...input }) => {
        const connection = parseConnection(input)
        assert.deepEqual(revealed(parseConnection(toAirflowUri(connection))), revealed(connection))
      }),
      { numRuns: 300 },
    )
  })

  it('URI -> JSON -> URI', () => {
    fc.assert(
      fc.property(connections, (input) => {
        const uri = toAirflowUri(parseConnection(input))
        assert.equal(toAirflowUri(parseConnection(toAirflowJson(parseConnection(uri)))), uri)
      }),
    )
  })

  it('environment variable and extra as JSON text -> the same connection', async () => {
    await fc.assert(
      fc.asyncProperty(connections, async (input) => {
        const connection = parseConnection(input)
        const { extra, ...rest } = JSON.parse(toAirflowJson(connection)) as Record<string, unknown>
        const asText = JSON.stringify({ ...rest, extra: extra === undefined ? null : JSON.stringify(extra) })
        const found = await resolveConnection('my_db', { environment: { AIRFLOW_CONN_MY_DB: asText } })
        assert.deepEqual(revealed(found), { ...revealed(connection), id: 'my_db' })
      }),
    )
  })

  it('connection -> connection', () => {
    fc.assert(
      fc.property(connections, (input) => {
        const connection = parseConnection(input)
        assert.deepEqual(revealed(parseConnection(connection)), revealed(connection))
      }),
    )
  })
})

describe('nothing shows a secret', () => {
  const secrets = fc
    .string({ unit: fc.constantFrom(...'%:/@+ q"\\é'), minLength: 4, maxLength: 12 })
    .map((text) => `Zx9${text}Zx9`)

  it('by inspect, JSON, as a string or described', () => {
    fc.assert(
      fc.property(connections, secrets, (input, secret) => {
        const connection = parseConnection({
          ...input,
          password: secret,
          extra: {
            ...(input.extra as Record<string, unknown> | undefined),
            sslpassword: secret,
            azure: { clientSecret: secret, tokens: [secret, { any: secret }] },
            proxy: `http://user:${secret}@proxy:3128`,
          },
        })
        for (const shown of [
          inspect(connection, { depth: 9, showHidden: true }),
          JSON.stringify(connection),
          String(connection),
          describeConnection(connection),
        ]) {
          assert.ok(!shown.includes('Zx9'), shown)
          assert.ok(!/[\n\r]/.test(describeConnection(connection)))
        }
        assert.equal(revealed(connection).password, secret)
      }),
    )
  })
})
