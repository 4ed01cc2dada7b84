/** The rights that docs/secrets/ calls the least ones are enough on the real stores, and for nothing else. */

import assert from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseAllDocuments } from 'yaml'
import { PoolsmithError } from '../../../src/errors.ts'
import { Secret } from '../../../src/secret.ts'
import { KeyValues } from '../../../src/vault/kv.ts'
import { temporaryFolder } from '../../support/folder.ts'
import { base64, readerOf } from '../../support/kubernetes-suite.ts'
import { startPostgres } from '../../support/postgres.ts'
import { engineOf, startPlace } from '../../support/vault/database-suite.ts'
import { administer } from '../../support/vault/server.ts'
import { vaultOf } from '../../support/vault/suite.ts'
import { startKubernetes } from './kubernetes.ts'
import { startOpenBao } from './openbao.ts'

const signal = AbortSignal.timeout(300_000)

interface Role {
  readonly kind: string
  readonly metadata: { readonly name: string }
  readonly rules: readonly { readonly verbs: readonly string[] }[]
}

/** @throws any other error */
function refusedFor(error: unknown): false {
  if (error instanceof PoolsmithError && error.code === 'STORE_REFUSED' && !signal.aborted) return false
  throw error
}

const stack = new AsyncDisposableStack()
after(() => stack.disposeAsync())

/** The blocks of a page in a language. */
async function blocksOf(page: string, language: string): Promise<readonly string[]> {
  const text = await readFile(join(import.meta.dirname, '../../../docs/secrets', page), 'utf8')
  return [...text.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\`$`, 'gms'))].map(([, block = '']) => block)
}

test('in Kubernetes, a role for one secret by its name; `update` more to write it', async () => {
  const server = stack.use(await startKubernetes())
  await using folder = await temporaryFolder()
  const namespace = '/api/v1/namespaces/prod'
  await server.ask('POST', '/api/v1/namespaces', { metadata: { name: 'prod' } })
  await server.ask('POST', `${namespace}/serviceaccounts`, { metadata: { name: 'etl' } })
  for (const name of ['sales', 'other']) {
    await server.ask('POST', `${namespace}/secrets`, { metadata: { name }, data: { password: base64('one') } })
  }
  const [block = ''] = (await blocksOf('kubernetes.md', 'yaml')).filter((text) => text.includes('kind: Role'))
  const roles = '/apis/rbac.authorization.k8s.io/v1/namespaces/prod'
  const objects = parseAllDocuments(block).map((document) => document.toJS() as Role)
  for (const object of objects) await server.ask('POST', `${roles}/${object.kind.toLowerCase()}s`, object)
  await writeFile(join(folder.path, 'token'), await server.token('prod', 'etl'), { mode: 0o600 })
  await writeFile(join(folder.path, 'ca.crt'), server.ca)
  const { environment } = server
  const extra = { k8s_account_folder: folder.path }
  const { read, write } = readerOf({ environment, extra })
  const secret = await read('prod/sales')
  assert.equal(secret.read('password', 'It').reveal(), 'one')
  await assert.rejects(read('prod/other'), { code: 'STORE_REFUSED' })
  await assert.rejects(write('prod/sales', { password: 'two' }, secret), { code: 'STORE_REFUSED' })
  const [role] = objects
  assert.ok(role)
  const rules = role.rules.map((rule) => ({ ...rule, verbs: [...rule.verbs, 'update'] }))
  await server.ask('PUT', `${roles}/roles/${role.metadata.name}`, { ...role, rules })
  // The API server learns of a role a moment after it was written.
  const isWritten = () => write('prod/sales', { password: 'two' }, secret).then(() => true, refusedFor)
  while (!(await isWritten())) await sleep(50)
  await assert.rejects(write('prod/other', { password: 'two' }, secret), { code: 'STORE_REFUSED' })
})

test('in OpenBao, `read` on a path of either engine; `create` and `update` more to write it', async () => {
  await using server = await startOpenBao()
  const [policy = ''] = (await blocksOf('vault.md', 'hcl')).filter((text) => text.includes('secret/data/sales'))
  await administer(server, 'POST', 'sys/mounts/first', { type: 'kv', options: { version: '1' } })
  for (const name of ['sales', 'other']) {
    await administer(server, 'POST', `secret/data/${name}`, { data: { password: 'two' } })
    await administer(server, 'POST', `first/${name}`, { password: 'first' })
  }
  const valuesWith = async (rules: string): Promise<KeyValues> => {
    await administer(server, 'POST', 'sys/policies/acl/sales', { policy: rules })
    const { auth } = await administer(server, 'POST', 'auth/token/create', { policies: ['sales'] })
    const vault = vaultOf(server, { vault_token: (auth as { client_token: string }).client_token })
    stack.use(vault)
    return new KeyValues(vault, undefined)
  }
  const values = await valuesWith(policy)
  const second = await values.read('secret/sales', signal)
  const first = await values.read('first/sales', signal)
  assert.equal(second.read('password', 'It').reveal(), 'two')
  assert.equal(first.read('password', 'It').reveal(), 'first')
  const refused = { code: 'STORE_REFUSED' }
  for (const path of ['secret/other', 'first/other']) await assert.rejects(values.read(path, signal), refused)
  const next = new Map([['password', new Secret('next')]])
  await assert.rejects(values.write('secret/sales', next, { replaces: second, signal }), refused)
  const writer = await valuesWith(policy.replaceAll('["read"]', '["read", "create", "update"]'))
  await writer.write('secret/sales', next, { replaces: second, signal })
  await writer.write('first/sales', next, { replaces: first, signal })
  assert.equal((await values.read('secret/sales', signal)).read('password', 'It').reveal(), 'next')
})

test('in OpenBao, the users of one role of the database, dynamic and static', { timeout: 120_000 }, async () => {
  await using vault = await startOpenBao()
  await using server = await startPostgres()
  const place = await startPlace(vault, server)
  await administer(vault, 'POST', 'database/roles/etl', {
    db_name: 'sales',
    creation_statements: [`create role "{{name}}" login password '{{password}}' valid until '{{expiration}}'`],
    // So that it is renewed, too.
    default_ttl: '3s',
    max_ttl: '1h',
  })
  await server.sql("create role fixed login password 'x'")
  await administer(vault, 'POST', 'database/static-roles/sales', {
    db_name: 'sales',
    username: 'fixed',
    rotation_period: '1h',
  })
  const [policy = ''] = (await blocksOf('vault.md', 'hcl')).filter((text) => text.includes('database/creds/etl'))
  await administer(vault, 'POST', 'sys/policies/acl/etl', { policy })
  const { auth } = await administer(vault, 'POST', 'auth/token/create', { policies: ['etl'] })
  const extra = { ...place.extra, vault_token: (auth as { client_token: string }).client_token }
  {
    let refreshed = 0
    const on = { 'credential:refreshed': () => void refreshed++ }
    await using db = await engineOf({ ...place, extra }, { vault_database_role: 'etl' }, { on })
    while (refreshed < 2) {
      await db.raw('select 1')
      await sleep(50)
    }
  }
  assert.equal(Number(await server.sql("select count(*) from pg_roles where rolname like 'v-%'")), 0)
  await using db = await engineOf({ ...place, extra }, { vault_static_role: 'sales' })
  assert.equal((await db.raw('select session_user as name')).rows[0].name, 'fixed')
  await using other = await engineOf({ ...place, extra }, { vault_database_role: 'long' })
  await assert.rejects(async () => other.raw('select 1'), { code: 'STORE_REFUSED' })
})
