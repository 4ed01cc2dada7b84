/** Secrets by the API of Kubernetes, over a double that answers as the API server does. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseFields } from '../../src/connections/fields.ts'
import { type ErrorCode, PoolsmithError } from '../../src/errors.ts'
import { createEngine, Secret } from '../../src/index.ts'
import { storeFields } from '../../src/stores/fields.ts'
import { apiAddress, kubernetesApiReader } from '../../src/stores/kubernetes-api.ts'
import type { StoredSecret } from '../../src/vault/stored-secret.ts'
import { type ApiReply, failure, type KubernetesApi, POD_TOKEN, startKubernetesApi } from '../support/kubernetes-api.ts'
import { findSecrets } from '../support/object-graph.ts'
import { startPostgres } from '../support/postgres.ts'

function engineOf(api: KubernetesApi, reference: string, port = 1) {
  return createEngine(
    {
      type: 'postgres',
      host: '127.0.0.1',
      port,
      login: 'etl',
      database: 'postgres',
      extra: { ...api.extra, password_from: reference },
    },
    { pool_recycle: 0.01, stores: { environment: api.environment } },
  )
}

test('a secret is read by the API, and its rotation and that of the token are followed', async () => {
  await using server = await startPostgres()
  await server.sql("create role etl login password 'first'")
  await using api = await startKubernetesApi('first')
  await using db = await engineOf(api, 'k8s:prod/sales#password', server.port)
  await db.raw('select 1')
  api.setPassword('second')
  api.token = 'the next token'
  await api.setToken('the next token')
  await server.sql("alter role etl password 'second'")
  db.pool.invalidate()
  await db.raw('select 1')
})

const CASES: Readonly<
  Record<string, readonly [reference: string, fault: ApiReply | undefined, code: ErrorCode, message: RegExp]>
> = {
  'a secret that is missing': [
    'k8s:prod/other#x',
    undefined,
    'SECRET_MISSING',
    /secret prod\/other \(HTTP 404\): secrets "other" not found/,
  ],
  'a namespace that is forbidden': [
    'k8s:dev/sales#x',
    undefined,
    'STORE_REFUSED',
    /HTTP 403\): secrets "sales" is forbidden/,
  ],
  'a key that the secret has not': [
    'k8s:prod/sales#pasword',
    undefined,
    'SECRET_FIELD_MISSING',
    /no field pasword.*password, keystore/,
  ],
  'a key that is binary': ['k8s:prod/sales#keystore', undefined, 'SECRET_UNUSABLE', /keystore of .* is binary/],
  'a token that has expired': [
    'k8s:prod/sales#x',
    failure(401, 'Unauthorized', `bad ${POD_TOKEN}`),
    'STORE_REFUSED',
    /HTTP 401\): bad \[secret\]/,
  ],
  HTML: ['k8s:prod/sales#x', { status: 200, body: '<html>' }, 'STORE_ANSWER_UNUSABLE', /is no Secret/],
  'a redirection': [
    'k8s:prod/sales#x',
    { status: 307, body: '', headers: { location: 'https://example.com/' } },
    'STORE_REDIRECTED',
    /HTTP 307/,
  ],
}

for (const [name, [reference, fault, code, message]] of Object.entries(CASES)) {
  test(`${name}: ${code}`, async () => {
    await using api = await startKubernetesApi('first')
    api.fault = fault
    await using db = await engineOf(api, reference)
    const error = await db.raw('select 1').then(
      () => undefined,
      (reason: unknown) => reason,
    )
    assert.ok(error instanceof PoolsmithError)
    assert.equal(error.code, code, error.message)
    assert.match(error.message, message)
    assert.ok(error.hint)
    assert.deepEqual(findSecrets(error, [POD_TOKEN, 'first']), [])
  })
}

test('an API server that asks for fewer requests is asked again', async () => {
  await using server = await startPostgres()
  await server.sql("create role etl login password 'first'")
  await using api = await startKubernetesApi('first')
  api.fault = { ...failure(429, 'TooManyRequests', 'slow down'), headers: { 'retry-after': '1' } }
  await using db = await engineOf(api, 'k8s:prod/sales#password', server.port)
  const asked = new Promise((resolve) => db.pool.on('credential:failed', resolve))
  const statement = db.raw('select 1').then(() => undefined)
  await asked
  api.fault = undefined
  await statement
})

test('outside of a cluster the reference is a problem of the record', async () => {
  const extra = { password_from: 'k8s:prod/sales#password' }
  const record = { type: 'postgres', host: 'db', extra } as const
  await assert.rejects(createEngine(record, { stores: { environment: {} } }), {
    code: 'CONFIG_INVALID',
    message: /password_from: needs KUBERNETES_SERVICE_HOST/,
  })
})

const signal = AbortSignal.timeout(60_000)

function readerOf(api: KubernetesApi) {
  const { values } = parseFields(storeFields, api.extra)
  const address = apiAddress(api.environment)
  assert.ok(address)
  const reader = kubernetesApiReader(address, values, { environment: api.environment })
  const write = (path: string, fields: Record<string, string>, replaces: StoredSecret | undefined) => {
    const secrets = Object.entries(fields).map(([name, value]) => [name, new Secret(value)] as const)
    assert.ok(reader.write)
    return reader.write(path, new Map(secrets), { replaces, signal })
  }
  return { read: (path: string) => reader.read(path, signal), write }
}

test('a secret is created only where there is none, and replaced only in the version that was read', async () => {
  await using api = await startKubernetesApi('first')
  const { read, write } = readerOf(api)
  const made = await write('prod/other', { password: 'one' }, undefined)
  assert.equal(made.read('password', 'it').reveal(), 'one')
  await assert.rejects(write('prod/other', { password: 'two' }, undefined), { code: 'SECRET_CONFLICT' })
  const next = await write('prod/other', { password: 'two' }, made)
  await assert.rejects(write('prod/other', { password: 'three' }, made), { code: 'SECRET_CONFLICT' })
  await write('prod/other', { password: 'three' }, next)
  assert.equal((await read('prod/other')).read('password', 'it').reveal(), 'three')
})

test('a write leaves labels, type, binary keys and the line ends of other keys as they are', async () => {
  await using api = await startKubernetesApi('first\n')
  const { read, write } = readerOf(api)
  const before = api.secrets.get('sales')
  const secret = await read('prod/sales')
  await write('prod/sales', { password: 'first', user: 'etl' }, secret)
  const after = api.secrets.get('sales')
  assert.deepEqual(after?.metadata.labels, { team: 'etl' })
  assert.equal(after?.type, 'Opaque')
  assert.deepEqual(after?.data, { ...before?.data, user: Buffer.from('etl').toString('base64') })
})

test('a write that the API refuses does not show what was to be written', async () => {
  await using api = await startKubernetesApi('first')
  const { read, write } = readerOf(api)
  const secret = await read('prod/sales')
  const faults: Readonly<Partial<Record<ErrorCode, ApiReply>>> = {
    STORE_REFUSED: failure(422, 'Invalid', 'data: Forbidden: field is immutable: the-next-password'),
    STORE_FAILED: failure(500, 'InternalError', 'etcd: the-next-password'),
  }
  for (const [code, fault] of Object.entries(faults)) {
    api.fault = fault
    const error: unknown = await write('prod/other', { password: 'the-next-password' }, undefined).catch((e) => e)
    assert.ok(error instanceof PoolsmithError)
    assert.equal(error.code, code)
    assert.deepEqual(findSecrets(error, ['the-next-password', POD_TOKEN]), [])
  }
  api.fault = undefined
  await assert.rejects(write('prod/sales', { '': 'text' }, secret), { code: 'SECRET_UNUSABLE' })
})
