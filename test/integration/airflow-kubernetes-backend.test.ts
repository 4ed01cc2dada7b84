/** Airflow's backend for Kubernetes, with its labels and arguments, on a double of the API server. */

import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { findConnection } from '../../src/index.ts'
import { Secret } from '../../src/secret.ts'
import { apiAddress, kubernetesLabelReader } from '../../src/stores/kubernetes-api.ts'
import { failureOf, openSettings, textOf } from '../support/airflow-store.ts'
import { type ApiSecret, failure, type KubernetesApi, startKubernetesApi } from '../support/kubernetes-api.ts'

const CLASS = 'airflow.providers.cncf.kubernetes.secrets.kubernetes_secrets_backend.KubernetesSecretsBackend'
const LABEL = 'airflow.apache.org/connection-id'
const TEAM = 'airflow.apache.org/team'

const ask = { signal: AbortSignal.timeout(60_000) }

function put(api: KubernetesApi, name: string, labels: Readonly<Record<string, string>>, text: string, key = 'value') {
  const data = { [key]: Buffer.from(text).toString('base64') }
  api.secrets.set(name, { metadata: { name, labels, resourceVersion: '1' }, data })
}

const open = (api: KubernetesApi, kwargs: Readonly<Record<string, unknown>> = {}) =>
  openSettings({ type: 'k8s', namespace: 'prod', ...api.extra, ...kwargs }, { environment: api.environment })

test('a secret is found by its label, whatever its name is, in the namespace of the pod', async () => {
  await using api = await startKubernetesApi('x')
  put(api, 'any-name', { [LABEL]: 'sales' }, 'postgres://h/sales')
  await writeFile(join(api.extra.k8s_account_folder, 'namespace'), 'prod', { mode: 0o600 })
  const environment = {
    ...api.environment,
    AIRFLOW__SECRETS__BACKEND: CLASS,
    AIRFLOW__SECRETS__BACKEND_KWARGS: JSON.stringify(api.extra),
  }
  assert.equal((await findConnection('sales', { environment, cwd: '/' })).database, 'sales')
  const store = await open(api)
  assert.equal(await store.getConnection?.('never', ask), undefined)
  assert.equal(await store.getConnection?.('no label / value', ask), undefined)
})

test('the secret of a team is found by that team alone', async () => {
  await using api = await startKubernetesApi('x')
  put(api, 'of-team', { [LABEL]: 'sales', [TEAM]: 'data' }, 'postgres://team')
  const store = await open(api)
  assert.equal(await textOf(store.getConnection?.('sales', { ...ask, team: 'data' })), 'postgres://team')
  assert.equal(await store.getConnection?.('sales', ask), undefined)
  put(api, 'of-all', { [LABEL]: 'sales' }, 'postgres://all')
  assert.equal(await textOf(store.getConnection?.('sales', { ...ask, team: 'ops' })), 'postgres://all')
  assert.equal(await textOf(store.getConnection?.('sales', { ...ask, team: 'data' })), 'postgres://team')
})

test('variables and configuration have labels and keys of their own', async () => {
  await using api = await startKubernetesApi('x')
  put(api, 'one', { 'airflow.apache.org/variable-key': 'bucket' }, 'bronze')
  put(api, 'two', { mine: 'sql' }, 'sqlite://', 'text')
  const store = await open(api, { config_label: 'mine', config_data_key: 'text', connections_label: null })
  assert.equal(await textOf(store.getVariable?.('bucket', ask)), 'bronze')
  assert.equal(await textOf(store.getConfig?.('sql', ask)), 'sqlite://')
  api.fault = failure(500, 'InternalError', 'no')
  assert.equal(await store.getConnection?.('sales', ask), undefined)
})

test('a failure of the API, a page in its place and a key that is missing are errors', async () => {
  await using api = await startKubernetesApi('x')
  put(api, 'one', { [LABEL]: 'sales' }, 'postgres://h', 'other')
  const store = await open(api)
  assert.equal((await failureOf(store.getConnection?.('sales', ask))).code, 'SECRET_FIELD_MISSING')
  const cases = [
    [failure(403, 'Forbidden', 'secrets is forbidden'), 'STORE_REFUSED'],
    [failure(429, 'TooManyRequests', 'later'), 'STORE_FAILED'],
    [{ status: 404, body: '<html>' }, 'STORE_ANSWER_UNUSABLE'],
    [{ status: 200, body: '<html>' }, 'STORE_ANSWER_UNUSABLE'],
    [failure(404, 'NotFound', 'the server could not find the requested resource'), 'STORE_FAILED'],
  ] as const
  for (const [fault, code] of cases) {
    api.fault = fault
    const error = await failureOf(store.getConnection?.('sales', ask))
    assert.equal(error.code, code, error.message)
  }
  const refused = await failureOf(
    open({ ...api, environment: { KUBERNETES_SERVICE_HOST: '', KUBERNETES_SERVICE_PORT: '' } }),
  )
  assert.match(refused.message, /KUBERNETES_SERVICE_HOST/)
})

test('a connection is written to the secret with its label, whose other keys and labels stay', async () => {
  await using api = await startKubernetesApi('x')
  const data = {
    value: Buffer.from('postgres://h/one').toString('base64'),
    note: Buffer.from('kept').toString('base64'),
  }
  const labels = { [LABEL]: 'sales', owner: 'etl' }
  api.secrets.set('mine', { metadata: { name: 'mine', labels, resourceVersion: '1' }, type: 'Opaque', data })
  const store = await open(api)
  await store.setConnection?.('sales', new Secret('postgres://h/two'), ask)
  assert.equal(await textOf(store.getConnection?.('sales', ask)), 'postgres://h/two')
  const written = api.secrets.get('mine')
  assert.deepEqual(written?.metadata.labels, labels)
  assert.equal(written?.data.note, data.note)
  assert.equal(api.secrets.size, 2)
})

test('a new connection is a secret with its label and that of its team, and is made once', async () => {
  await using api = await startKubernetesApi('x')
  const store = await open(api)
  await store.setConnection?.('new', new Secret('postgres://h/new'), ask)
  assert.equal(await textOf(store.getConnection?.('new', ask)), 'postgres://h/new')
  await store.setVariable?.('bucket', new Secret('bronze'), { ...ask, team: 'data' })
  assert.equal(await textOf(store.getVariable?.('bucket', { ...ask, team: 'data' })), 'bronze')
  assert.equal(await store.getVariable?.('bucket', ask), undefined)
  const both = await Promise.allSettled(['a', 'b'].map((text) => store.setConnection?.('race', new Secret(text), ask)))
  const made = [...api.secrets.values()].filter(
    ({ metadata }) =>
      (metadata.labels as object | undefined) && Reflect.get(metadata.labels as object, LABEL) === 'race',
  )
  assert.equal(made.length, 1)
  const codes = both.flatMap((one) => (one.status === 'rejected' ? (one.reason as { code: string }).code : []))
  assert.ok(
    codes.every((code) => code === 'SECRET_CONFLICT'),
    String(codes),
  )
})

test('a secret that was changed since it was read is not replaced', async () => {
  await using api = await startKubernetesApi('x')
  put(api, 'one', { [LABEL]: 'sales' }, 'postgres://h/one')
  const { metadata, data } = api.secrets.get('one') as ApiSecret
  const reader = kubernetesLabelReader(
    apiAddress(api.environment) as URL,
    { k8s_timeout: 5, ...api.extra },
    { environment: api.environment },
  )
  const path = `prod/${LABEL}=sales,!${TEAM}`
  const replaces = await reader.read(path, ask.signal)
  api.secrets.set('one', { metadata: { ...metadata, resourceVersion: '2' }, data })
  const fields = new Map([['value', new Secret('postgres://h/two')]])
  await assert.rejects(async () => reader.write?.(path, fields, { replaces, ...ask }), { code: 'SECRET_CONFLICT' })
  api.secrets.delete('one')
  await assert.rejects(async () => reader.write?.(path, fields, { replaces, ...ask }), { code: 'SECRET_CONFLICT' })
  api.fault = failure(403, 'Forbidden', 'secrets is forbidden')
  const refused = await failureOf(reader.write?.(path, fields, { replaces: undefined, ...ask }))
  assert.equal(refused.code, 'STORE_REFUSED')
  assert.match(refused.hint ?? '', /verb create on secrets/)
})
