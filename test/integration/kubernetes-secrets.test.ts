/** Secrets by the API of Kubernetes, over a double that answers as the API server does. */

import assert from 'node:assert/strict'
import { readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { type ErrorCode, PoolsmithError } from '../../src/errors.ts'
import { createEngine } from '../../src/index.ts'
import { type ApiReply, failure, type KubernetesApi, POD_TOKEN, startKubernetesApi } from '../support/kubernetes-api.ts'
import { kubernetesSuite, readerOf } from '../support/kubernetes-suite.ts'
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

kubernetesSuite('The double', async () => {
  const api = await startKubernetesApi('first')
  const next = async (token: string): Promise<void> => {
    api.token = token
    await api.setToken(token)
  }
  return {
    environment: api.environment,
    extra: api.extra,
    apply: async (name, data, labels = {}) => void api.put(name, { metadata: { labels }, type: 'Opaque', data }),
    stored: async (name) => api.secrets.get(name) ?? assert.fail(`there is no ${name}`),
    replaceToken: () => next('the-next-token-of-the-pod'),
    spoilToken: () => api.setToken('garbage'),
    token: () => api.token,
    [Symbol.asyncDispose]: () => api[Symbol.asyncDispose](),
  }
})

const CASES: Readonly<
  Record<string, readonly [reference: string, fault: ApiReply | undefined, code: ErrorCode, message: RegExp]>
> = {
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

test('the authorities of the API that were read last are used while their file is empty, half written or missing', async () => {
  await using api = await startKubernetesApi('first')
  const { read } = readerOf(api)
  const file = join(api.extra.k8s_account_folder, 'ca.crt')
  const whole = await readFile(file, 'utf8')
  await read('prod/sales')
  for (const part of ['', whole.slice(0, whole.length / 2), undefined]) {
    await (part === undefined ? rm(file) : writeFile(file, part))
    await read('prod/sales')
    await assert.rejects(readerOf(api).read('prod/sales'), (error: PoolsmithError) => error.message.includes(file))
  }
})
