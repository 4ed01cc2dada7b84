/** Secrets by the API of Kubernetes, over a double that answers as the API server does. */

import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import { type ErrorCode, PoolsmithError } from '../../src/errors.ts'
import { createEngine } from '../../src/index.ts'
import { temporaryFolder } from '../support/folder.ts'
import { findSecrets } from '../support/object-graph.ts'
import { createPki } from '../support/pki.ts'
import { startPostgres } from '../support/postgres.ts'

const TOKEN = 'eyJ.the-token-of-the-pod.1'

interface Reply {
  readonly status: number
  readonly body: unknown
  readonly headers?: Readonly<Record<string, string>>
}

const status = (code: number, reason: string, message: string): Reply => ({
  status: code,
  body: { kind: 'Status', apiVersion: 'v1', status: 'Failure', message, reason, code },
})

/** The API server, with one secret; `fault` answers in its place. */
async function startApi(password: string) {
  await using stack = new AsyncDisposableStack()
  const folder = stack.use(await temporaryFolder())
  const pki = await createPki()
  const { cert, key } = await pki.issue({ commonName: 'kubernetes', ip: ['127.0.0.1'] })
  const state: { token: string; password: string; fault: Reply | undefined } = {
    token: TOKEN,
    password,
    fault: undefined,
  }
  const answer = (url: string, authorization: string | undefined): Reply => {
    if (state.fault !== undefined) return state.fault
    if (authorization !== `Bearer ${state.token}`) return status(401, 'Unauthorized', 'Unauthorized')
    const [, namespace, name] = /^\/api\/v1\/namespaces\/([^/]+)\/secrets\/([^/]+)$/.exec(url) ?? []
    if (namespace !== 'prod') {
      const who = 'User "system:serviceaccount:prod:etl" cannot get resource "secrets"'
      return status(403, 'Forbidden', `secrets "${name}" is forbidden: ${who}`)
    }
    if (name !== 'sales') return status(404, 'NotFound', `secrets "${name}" not found`)
    const data = {
      password: Buffer.from(state.password).toString('base64'),
      keystore: Buffer.from([255, 254]).toString('base64'),
    }
    return {
      status: 200,
      body: { kind: 'Secret', apiVersion: 'v1', metadata: { resourceVersion: '7' }, type: 'Opaque', data },
    }
  }
  const server = createServer({ cert, key }, (request, response) => {
    const { status: code, body, headers } = answer(request.url ?? '', request.headers.authorization)
    response.writeHead(code, { 'content-type': 'application/json', ...headers })
    response.end(typeof body === 'string' ? body : JSON.stringify(body))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  stack.defer(async () => {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  })
  const setToken = (token: string): Promise<void> => writeFile(join(folder.path, 'token'), token, { mode: 0o600 })
  await setToken(TOKEN)
  await writeFile(join(folder.path, 'ca.crt'), pki.ca, { mode: 0o644 })
  const { port } = server.address() as AddressInfo
  const owned = stack.move()
  return Object.assign(state, {
    setToken,
    extra: { k8s_account_folder: folder.path },
    environment: { KUBERNETES_SERVICE_HOST: '127.0.0.1', KUBERNETES_SERVICE_PORT: String(port) },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  })
}

type Api = Awaited<ReturnType<typeof startApi>>

function engineOf(api: Api, reference: string, port = 1) {
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
  await using api = await startApi('first')
  await using db = await engineOf(api, 'k8s:prod/sales#password', server.port)
  await db.raw('select 1')
  api.password = 'second'
  api.token = 'the next token'
  await api.setToken('the next token')
  await server.sql("alter role etl password 'second'")
  db.pool.invalidate()
  await db.raw('select 1')
})

const CASES: Readonly<
  Record<string, readonly [reference: string, fault: Reply | undefined, code: ErrorCode, message: RegExp]>
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
    status(401, 'Unauthorized', `bad ${TOKEN}`),
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
    await using api = await startApi('first')
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
    assert.deepEqual(findSecrets(error, [TOKEN, 'first']), [])
  })
}

test('an API server that asks for fewer requests is asked again', async () => {
  await using server = await startPostgres()
  await server.sql("create role etl login password 'first'")
  await using api = await startApi('first')
  api.fault = { ...status(429, 'TooManyRequests', 'slow down'), headers: { 'retry-after': '1' } }
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
