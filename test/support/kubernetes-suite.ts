/** The rules of the API of Kubernetes for secrets, for the double and for a real API server. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseFields } from '../../src/connections/fields.ts'
import { PoolsmithError } from '../../src/errors.ts'
import { createEngine, Secret } from '../../src/index.ts'
import { storeFields } from '../../src/stores/fields.ts'
import { apiAddress, kubernetesApiReader } from '../../src/stores/kubernetes-api.ts'
import type { StoredSecret } from '../../src/vault/stored-secret.ts'
import { findSecrets } from './object-graph.ts'
import { openStore } from './open-store.ts'
import { startPostgres } from './postgres.ts'

/** A cluster as a pod of the namespace `prod` sees it, whose service account may read and write secrets there alone. */
export interface Cluster extends AsyncDisposable {
  readonly environment: Readonly<Record<string, string>>
  readonly extra: { readonly k8s_account_folder: string }
  /** Writes a secret in `prod`, with values in Base64, or replaces its labels and data. */
  apply(name: string, data: Readonly<Record<string, string>>, labels?: Readonly<Record<string, string>>): Promise<void>
  /** The secret as the API server has it. */
  stored(name: string): Promise<{
    readonly type?: string
    readonly metadata: Readonly<Record<string, unknown>>
    readonly data: Readonly<Record<string, string>>
  }>
  /** Gives the pod another token, as the kubelet does. */
  replaceToken(): Promise<void>
  /** Gives it a token that the API server refuses. */
  spoilToken(): Promise<void>
  /** The token of the pod. */
  token(): string
}

const signal = AbortSignal.timeout(300_000)

export const base64 = (value: string | Uint8Array): string => Buffer.from(value as string).toString('base64')

/** The store's reader, with a way to write texts. */
export function readerOf({ environment, extra }: Pick<Cluster, 'environment' | 'extra'>) {
  const { values } = parseFields(storeFields, extra)
  const address = apiAddress(environment)
  assert.ok(address)
  const reader = kubernetesApiReader(address, values, { environment })
  const write = (path: string, fields: Record<string, string>, replaces: StoredSecret | undefined) => {
    const secrets = Object.entries(fields).map(([name, value]) => [name, new Secret(value)] as const)
    assert.ok(reader.write)
    return reader.write(path, new Map(secrets), { replaces, signal })
  }
  return { read: (path: string) => reader.read(path, signal), write }
}

export function kubernetesSuite(kind: string, start: () => Promise<Cluster>): void {
  test(`${kind}: a secret is read for a pool, and its rotation and that of the token are followed`, async () => {
    await using server = await startPostgres()
    await server.sql("create role etl login password 'first'")
    await using cluster = await start()
    await cluster.apply('sales', { password: base64('first') })
    const { host, port } = server
    const extra = { ...cluster.extra, password_from: 'k8s:prod/sales#password' }
    await using db = await createEngine(
      { type: 'postgres', host, port, login: 'etl', database: 'postgres', extra },
      { stores: { environment: cluster.environment } },
    )
    await db.raw('select 1')
    await cluster.apply('sales', { password: base64('second') })
    await cluster.replaceToken()
    await server.sql("alter role etl password 'second'")
    db.pool.invalidate()
    await db.raw('select 1')
  })

  test(`${kind}: what cannot be read is told apart, and no error holds the token or the secret`, async () => {
    await using cluster = await start()
    await cluster.apply('sales', { password: base64('a-p4ssword'), keystore: base64(Uint8Array.of(255, 254)) })
    const failure = async (reference: string): Promise<PoolsmithError> => {
      using store = openStore(reference, cluster.extra, cluster.environment)
      const error = await store.value().then(
        () => assert.fail('it was read'),
        (reason: unknown) => reason,
      )
      assert.ok(error instanceof PoolsmithError, String(error))
      assert.ok(error.hint)
      assert.deepEqual(findSecrets(error, [cluster.token(), 'a-p4ssword']), [])
      return error
    }
    const cases = [
      ['k8s:prod/other#x', 'SECRET_MISSING', /secret prod\/other \(HTTP 404\): secrets "other" not found/],
      ['k8s:dev/sales#x', 'STORE_REFUSED', /secret dev\/sales \(HTTP 403\): secrets "sales" is forbidden/],
      ['k8s:prod/sales#pasword', 'SECRET_FIELD_MISSING', /no field pasword.*keystore/],
      ['k8s:prod/sales#keystore', 'SECRET_UNUSABLE', /keystore of .* is binary/],
    ] as const
    for (const [reference, code, message] of cases) {
      const error = await failure(reference)
      assert.equal(error.code, code, error.message)
      assert.match(error.message, message)
    }
    await cluster.spoilToken()
    const refused = await failure('k8s:prod/sales#password')
    assert.equal(refused.code, 'STORE_REFUSED', refused.message)
    assert.match(refused.message, /HTTP 401/)
  })

  test(`${kind}: a secret is created only where there is none, and replaced only in the version that was read`, async () => {
    await using cluster = await start()
    const { read, write } = readerOf(cluster)
    const made = await write('prod/other', { password: 'one' }, undefined)
    assert.equal(made.read('password', 'it').reveal(), 'one')
    await assert.rejects(write('prod/other', { password: 'two' }, undefined), { code: 'SECRET_CONFLICT' })
    const next = await write('prod/other', { password: 'two' }, made)
    const late: unknown = await write('prod/other', { password: 'p4ss-of-the-loser' }, made).catch((e) => e)
    assert.ok(late instanceof PoolsmithError)
    assert.equal(late.code, 'SECRET_CONFLICT')
    assert.deepEqual(findSecrets(late, ['p4ss-of-the-loser', cluster.token()]), [])
    await write('prod/other', { password: 'three' }, next)
    assert.equal((await read('prod/other')).read('password', 'it').reveal(), 'three')
    await assert.rejects(write('dev/other', { password: 'one' }, undefined), { code: 'STORE_REFUSED' })
  })

  test(`${kind}: a write leaves labels, type, binary keys and the line ends of other keys as they are`, async () => {
    await using cluster = await start()
    const data = { password: base64('first\n'), keystore: base64(Uint8Array.of(255, 254)) }
    await cluster.apply('sales', data, { team: 'etl' })
    const { read, write } = readerOf(cluster)
    const secret = await read('prod/sales')
    await write('prod/sales', { password: 'first', user: 'etl' }, secret)
    const after = await cluster.stored('sales')
    assert.deepEqual(after.metadata.labels, { team: 'etl' })
    assert.equal(after.type, 'Opaque')
    assert.deepEqual(after.data, { ...data, user: base64('etl') })
  })
}
