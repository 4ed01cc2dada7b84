/**
 * Keys, tickets and passwords that were given in place of a path, or of any other option: they are refused or accepted,
 * but they appear in no error, event, warning or output, in whatever form the connection is given.
 */

import assert from 'node:assert/strict'
import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { inspect } from 'node:util'
import type { Connection } from '../../../src/connections/connection.ts'
import { describeConnection } from '../../../src/connections/describe.ts'
import type { ConnectionInput } from '../../../src/connections/parse.ts'
import { createEngine, type EngineOptions } from '../../../src/engine/knex/create-engine.ts'
import { ConfigError } from '../../../src/errors.ts'
import { KerberosTicket, verifyTicket } from '../../../src/kerberos/index.ts'
import { poolsmith } from '../../support/cli-in-process.ts'
import { OPTION_SPELLINGS, type OptionSpelling } from '../../support/option-tables.ts'

const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey
const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
const ed25519 = generateKeyPairSync('ed25519').privateKey
const pem = rsa.export({ type: 'pkcs8', format: 'pem' }).toString()
const encrypted = ec.export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'x' }).toString()
const keytab = Buffer.concat([
  Buffer.from([5, 2, 0, 0, 0, 60]),
  Buffer.from('\0\x02\0\x0cCORP.INVALID\0\x03etl\0\x12\0 '),
  randomBytes(32),
])
const bearer = [{ alg: 'RS256' }, { sub: 'etl', jti: randomBytes(16).toString('hex') }, {}]
  .map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'))
  .join('.')

/** Things that people put where a path belongs. */
const KEY_MATERIAL: Readonly<Record<string, string>> = {
  'a key in PEM': pem,
  'a key in PEM on one line': pem.replaceAll('\n', ' '),
  'a key in PEM with escaped line ends': pem.replaceAll('\n', '\\n'),
  'a key in PEM without its armour': pem.split('\n').slice(1, -2).join('\n'),
  'an encrypted key in PEM': encrypted,
  'a key in base64': rsa.export({ type: 'pkcs8', format: 'der' }).toString('base64'),
  'a short key in base64': ed25519.export({ type: 'pkcs8', format: 'der' }).toString('base64'),
  'a key in DER': ec.export({ type: 'sec1', format: 'der' }).toString('latin1'),
  'PEM in base64': Buffer.from(pem).toString('base64'),
  'a JSON Web Key': JSON.stringify(ec.export({ format: 'jwk' })),
  'a keytab': keytab.toString('latin1'),
  'a keytab in base64': keytab.toString('base64'),
  'a bearer token': bearer,
  'random bytes in base64 that begin like a path': '/3Kqz7Xb0PfWm9+TqR4sLkE2hYdJ8NvGcU5oAiB1ZxM=',
}
/** Material that only its place gives away. */
const PASSWORDS: Readonly<Record<string, string>> = {
  'a password': 'Tr0ub4dor&3-horse',
  'a password of words': 'correct horse battery',
  'a password with a slash': 'kX/93hf==vQ-kd.x2',
  'a password with a dot': 'summer.of.sixtynine',
  'a PIN': '918273645546',
}

/** No eight characters in a row of the secret part may appear. */
function assertHidden(secret: string, told: string, where: string): void {
  const parts = secret.split(/-----[A-Z ]+-----/).flatMap((part) => part.split(/(?:\\n|[\s\p{Cc}])+/u))
  for (const part of parts.filter(({ length }) => length >= 8)) {
    for (let at = 0; at + 8 <= part.length; at += 4) {
      const piece = part.slice(at, at + 8)
      assert.ok(!told.includes(piece), `${where} shows ${JSON.stringify(piece)}: ${told.slice(0, 500)}`)
    }
  }
}

/** All that can be seen of an error. */
function seen(error: unknown): string {
  const parts = [String(error), inspect(error, { depth: null, showHidden: true }), JSON.stringify(error)]
  return [...parts, error instanceof Error && error.cause !== undefined ? seen(error.cause) : ''].join('\n')
}

async function told(input: ConnectionInput, options: EngineOptions = {}): Promise<string> {
  const heard: unknown[] = []
  const warned = (warning: Error): void => void heard.push(seen(warning))
  process.on('warning', warned)
  try {
    const engine = await createEngine(input, {
      ...options,
      stores: { environment: {} },
      on: { 'config:warning': (event) => heard.push(event), 'security:warning': (event) => heard.push(event) },
    })
    heard.push(describeConnection(engine.connection))
    await engine.destroy()
  } catch (error) {
    heard.push(seen(error))
  }
  await new Promise((resolve) => setImmediate(resolve))
  process.off('warning', warned)
  return heard.map((part) => (typeof part === 'string' ? part : inspect(part, { depth: null }))).join('\n')
}

const location = { host: '127.0.0.1', port: 1, login: 'etl' } as const

function record({ type, authMethod }: OptionSpelling, extra: Record<string, string>) {
  return { type, ...location, extra: authMethod === undefined ? extra : { auth_method: authMethod, ...extra } }
}

function uri({ type, authMethod }: OptionSpelling, extra: Record<string, string>): string {
  const query = new URLSearchParams(authMethod === undefined ? extra : { auth_method: authMethod, ...extra })
  return `${type}://etl@127.0.0.1:1/?${query}`
}

for (const option of OPTION_SPELLINGS.filter(({ field }) => field.type.startsWith('path'))) {
  const { key } = option
  test(`${key} (${option.type}) never repeats a value that cannot be a path, in any form`, async () => {
    for (const [what, value] of Object.entries({ ...KEY_MATERIAL, ...PASSWORDS })) {
      const where = `${key} with ${what}`
      const extra = { [key]: value }
      assertHidden(value, await told(record(option, extra)), `${where}, object`)
      assertHidden(value, await told(record(option, {}), { extra }), `${where}, second argument`)
      assertHidden(value, await told(uri(option, extra)), `${where}, URI`)
      const json = JSON.stringify(record(option, extra))
      const listed = await poolsmith(['connections'], { POOLSMITH_CONN_X: json })
      assertHidden(value, listed.out + listed.log, `${where}, connections`)
      for (const args of [
        ['check', 'x'],
        ['check', 'x', '--json'],
        ['check', uri(option, extra)],
      ]) {
        const checked = await poolsmith(args, { POOLSMITH_CONN_X: json })
        assert.equal(checked.code, 3, `${where}: ${checked.out}${checked.log}`)
        assertHidden(value, checked.out + checked.log, `${where}, check`)
      }
    }
  })
}

test('poolsmith/kerberos and poolsmith ticket never repeat a value that cannot be a path', async () => {
  for (const [what, value] of Object.entries({ ...KEY_MATERIAL, ...PASSWORDS })) {
    for (const option of [{ keytab: value }, { cache: value }]) {
      assert.throws(
        () => new KerberosTicket(option),
        (error) => {
          assertHidden(value, seen(error), what)
          return error instanceof ConfigError
        },
      )
    }
    await assert.rejects(verifyTicket({ cache: value }), (error) => {
      assertHidden(value, seen(error), what)
      return error instanceof ConfigError
    })
    for (const args of [['acquire', '--keytab', value], ['status', `--ccache=${value}`, '--json'], ['acquire']]) {
      const { code, out, log } = await poolsmith(['ticket', ...args], { KRB_KEYTAB: value })
      assert.ok(code === 2 || code === 3, `${what}: ${code} ${out}${log}`)
      assertHidden(value, out + log, `ticket ${args[0]} with ${what}`)
    }
  }
})

test('no option repeats key material', async () => {
  for (const option of OPTION_SPELLINGS) {
    for (const [what, value] of Object.entries(KEY_MATERIAL)) {
      const extra = { [option.key]: value }
      assertHidden(value, await told(record(option, extra)), `${option.key} with ${what}`)
      assertHidden(value, await told(record(option, {}), { extra }), `${option.key} with ${what}, second argument`)
    }
  }
})

test("no spelling of Microsoft's drivers repeats key material", async () => {
  const keys = [
    'Server',
    'PortNumber',
    'Encrypt',
    'Trusted_Connection',
    'Authentication',
    'ApplicationIntent',
    'Timeout',
  ]
  for (const [what, value] of Object.entries(KEY_MATERIAL)) {
    for (const key of keys) {
      assertHidden(value, await told({ type: 'mssql', extra: { [key]: value } }), `${key} with ${what}`)
      assertHidden(value, await told({ type: 'mssql' }, { extra: { [key]: value } }), `${key} with ${what}, argument`)
    }
  }
})

test('no part of a record and no unknown key repeats key material', async () => {
  const parts: readonly (keyof Connection)[] = ['type', 'host', 'port', 'id']
  for (const [what, value] of Object.entries(KEY_MATERIAL)) {
    for (const part of parts) {
      const input = { type: 'postgres', ...location, [part]: value } as ConnectionInput
      assertHidden(value, await told(input), `${part} with ${what}`)
    }
    assertHidden(value, await told({ type: 'postgres', extra: { [value]: 'x' } }), `a key that is ${what}`)
    assertHidden(value, await told({ type: 'postgres', [value]: 'x' } as ConnectionInput), `a part that is ${what}`)
  }
})
