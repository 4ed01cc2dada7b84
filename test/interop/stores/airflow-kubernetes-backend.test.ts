/** Airflow's own backend for Kubernetes beside ours, on a real API server. */

import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { temporaryFolder } from '../../support/folder.ts'
import { base64 } from '../../support/kubernetes-suite.ts'
import {
  type Asking,
  askAirflow,
  askOurs,
  compare,
  compareFailures,
  compareWritten,
  connection,
  type Question,
} from './airflow.ts'
import { layOut, type RealCluster, startKubernetes } from './kubernetes.ts'

const CLASS = 'airflow.providers.cncf.kubernetes.secrets.kubernetes_secrets_backend.KubernetesSecretsBackend'
const LABELS = 'airflow.apache.org'

const stack = new AsyncDisposableStack()
after(() => stack.disposeAsync())
const { path: home } = stack.use(await temporaryFolder())
const server = stack.use(await startKubernetes())
const start = await layOut(server)

const of = (kwargs: Readonly<Record<string, unknown>>, id: string): Question => connection(CLASS, kwargs, id)

function askingIn({ environment, extra }: RealCluster): Asking {
  return {
    home,
    theirs: { ...environment, ACCOUNT_FOLDER: extra.k8s_account_folder },
    ours: { environment, kwargs: extra },
  }
}

interface Labelled {
  readonly label: string
  readonly id: string
  readonly data: Readonly<Record<string, string | Uint8Array>>
  readonly team?: string
}

/** Writes secrets, and waits until the API server has them in its cache, from which both read. */
async function put(cluster: RealCluster, secrets: Readonly<Record<string, Labelled>>): Promise<void> {
  for (const [name, { label, id, data, team }] of Object.entries(secrets)) {
    const encoded = Object.entries(data).map(([key, value]) => [key, base64(value)])
    const labels = { [label]: id, ...(team === undefined ? {} : { [`${LABELS}/team`]: team }) }
    await cluster.apply(name, Object.fromEntries(encoded), labels)
  }
  const isCached = async (): Promise<boolean> => {
    const { items } = await server.ask('GET', '/api/v1/namespaces/prod/secrets?resourceVersion=0')
    const names = (items as { metadata: { name: string } }[]).map(({ metadata }) => metadata.name)
    return names.sort().join() === Object.keys(secrets).sort().join()
  }
  while (!(await isCached())) await sleep(50)
}

test('gives the same connections, variables and configuration for the same arguments', async () => {
  await using cluster = await start()
  const label = `${LABELS}/connection-id`
  const parts = { conn_type: 'postgres', host: 'Db', login: 'etl', password: 'p@ss', schema: 'sales', port: 5433 }
  await put(cluster, {
    'any-name': { label, id: 'uri', data: { value: 'postgres://etl:p%40ss@Db:5433/sales?sslmode=require' } },
    parts: { label, id: 'parts', data: { value: JSON.stringify({ ...parts, extra: { connect_timeout: 3 } }) } },
    'twice-a': { label, id: 'twice', data: { value: 'postgres://h/a' } },
    'twice-b': { label, id: 'twice', data: { value: 'postgres://h/b' } },
    'of-team': { label, id: 'team', data: { value: 'postgres://h/team' }, team: 'ops' },
    'other-label': { label: 'mine', id: 'sales', data: { text: 'postgres://h/mine' } },
    variable: { label: `${LABELS}/variable-key`, id: 'bucket', data: { value: '  bronze ' } },
    config: { label: `${LABELS}/config-key`, id: 'sql', data: { value: 'sqlite://' } },
  })
  await compare(
    {
      'a URI, in the namespace of the pod': of({}, 'uri'),
      'a namespace that is named': of({ namespace: 'prod' }, 'uri'),
      JSON: of({}, 'parts'),
      'the first of two': of({}, 'twice'),
      'the secret of a team': of({}, 'team'),
      'teams that are not told apart': of({ team_label: null }, 'team'),
      'an id that would lead to a team': of({}, '_ops___team'),
      'another label and key': of({ connections_label: 'mine', connections_data_key: 'text' }, 'sales'),
      'no look-ups': of({ connections_label: null }, 'uri'),
      'a connection that never was': of({}, 'never'),
      'a variable': { class: CLASS, kwargs: {}, kind: 'variable', id: 'bucket' },
      'a variable that never was': { class: CLASS, kwargs: {}, kind: 'variable', id: 'never' },
      configuration: { class: CLASS, kwargs: {}, kind: 'config', id: 'sql' },
    },
    askingIn(cluster),
  )
})

test('fails where Airflow fails, and where Airflow only says that nothing is defined', async () => {
  await using cluster = await start()
  const label = `${LABELS}/connection-id`
  await put(cluster, {
    keyless: { label, id: 'keyless', data: { other: 'postgres://h' } },
    binary: { label, id: 'binary', data: { value: Uint8Array.of(255, 254) } },
    bad: { label, id: 'bad', data: { value: '{"conn_type": "postgres", "unknown": 1}' } },
  })
  const asking = askingIn(cluster)
  await compareFailures(
    [
      [of({}, 'keyless'), { value: null }, 'SECRET_FIELD_MISSING'],
      [of({}, 'binary'), { error: 'UnicodeDecodeError' }, 'SECRET_UNUSABLE'],
      [of({}, 'bad'), { error: 'TypeError' }, 'CONFIG_INVALID'],
      [of({ namespace: 'dev' }, 'uri'), { error: 'ForbiddenException' }, 'STORE_REFUSED'],
    ],
    asking,
  )
  // No label can have this value: we do not ask.
  const impossible = of({}, 'no.label.')
  assert.deepEqual(await askAirflow([impossible], asking), [{ error: 'ApiException' }])
  assert.deepEqual(await askOurs(impossible, asking), { value: null })
  await cluster.spoilToken()
  await compareFailures([[of({}, 'uri'), { error: 'UnauthorizedException' }, 'STORE_REFUSED']], asking)
})

test('reads what ours has written', async () => {
  await using cluster = await start()
  await compareWritten(CLASS, {}, askingIn(cluster))
})
