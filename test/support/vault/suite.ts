/** The rules of Vault that a program sees, for the double and for OpenBao. */

import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { exportSPKI, generateKeyPair, SignJWT } from 'jose'
import { parseFields } from '../../../src/connections/fields.ts'
import { PoolsmithError } from '../../../src/errors.ts'
import { Secret } from '../../../src/secret.ts'
import type { VaultContext } from '../../../src/vault/context.ts'
import { vaultFields } from '../../../src/vault/fields.ts'
import { KeyValues } from '../../../src/vault/kv.ts'
import type { StoredSecret } from '../../../src/vault/stored-secret.ts'
import { Vault } from '../../../src/vault/vault.ts'
import { temporaryFolder } from '../folder.ts'
import { administer, type VaultServer } from './server.ts'

/** A Vault as a program has it, with options as in a connection. */
export function vaultOf(
  server: VaultServer,
  options: Readonly<Record<string, unknown>>,
  context: Omit<VaultContext, 'environment'> = {},
): Vault & Disposable {
  const { values, problems } = parseFields(vaultFields, { vault_addr: server.address, ...options })
  assert.deepEqual(problems, [])
  const vault = new Vault(values, { environment: {}, ...context })
  return Object.assign(vault, { [Symbol.dispose]: () => vault.close() })
}

const signal = AbortSignal.timeout(120_000)
const PLACE = 'The secret'

const READER = 'path "secret/data/allowed/*" { capabilities = ["read"] }'

/** An AppRole with a policy of its own name. */
export async function appRole(
  server: VaultServer,
  name: string,
  options: Record<string, unknown> = {},
  policy: string = READER,
  inside: Readonly<Record<string, string>> = {},
) {
  await administer(server, 'POST', `sys/policies/acl/${name}`, { policy }, inside)
  await administer(server, 'POST', 'sys/auth/approle', { type: 'approle' }, inside).catch(() => undefined)
  await administer(server, 'POST', `auth/approle/role/${name}`, { token_policies: [name], ...options }, inside)
  const { data } = await administer(server, 'GET', `auth/approle/role/${name}/role-id`, undefined, inside)
  const secretId = async (headers = {}): Promise<{ secret_id: string; token: string }> => {
    const answer = await administer(
      server,
      'POST',
      `auth/approle/role/${name}/secret-id`,
      {},
      { ...inside, ...headers },
    )
    return (answer.data ?? answer.wrap_info) as never
  }
  return { roleId: (data as { role_id: string }).role_id, secretId }
}

/** A new engine of the real server upgrades itself for a moment. */
async function eventually(attempt: () => Promise<unknown>): Promise<void> {
  for (;;) {
    try {
      await attempt()
      return
    } catch (error) {
      if (signal.aborted) throw error
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }
}

const failsWith =
  (code: string, message: RegExp) =>
  (error: unknown): true => {
    assert.ok(error instanceof PoolsmithError)
    assert.equal(error.code, code, error.message)
    assert.match(error.message, message)
    assert.ok(error.hint)
    return true
  }

export function vaultSuite(kind: string, start: () => Promise<VaultServer>): void {
  test(`${kind}: both versions of the key-value engine are told apart and read`, async () => {
    await using server = await start()
    await administer(server, 'POST', 'sys/mounts/first', { type: 'kv', options: { version: '1' } })
    await administer(server, 'POST', 'first/team/sales', { password: 'one', port: 5432 })
    await administer(server, 'POST', 'secret/data/team/sales', { data: { password: 'two', user: 'etl' } })
    using vault = vaultOf(server, { vault_token: server.rootToken })
    const values = new KeyValues(vault, undefined)
    const first = await values.read('first/team/sales', signal)
    const second = await values.read('secret/team/sales', signal)
    assert.equal(first.read('password', PLACE).reveal(), 'one')
    assert.equal(first.read('port', PLACE).reveal(), '5432')
    assert.equal(second.read('password', PLACE).reveal(), 'two')
    assert.equal(second.version, '1')
    assert.throws(
      () => second.read('pasword', PLACE),
      failsWith('SECRET_FIELD_MISSING', /no field pasword.*password, user/),
    )
    assert.throws(() => second.read(undefined, PLACE), failsWith('SECRET_FIELD_MISSING', /several fields/))
  })

  test(`${kind}: a secret that was never written differs from one whose version was deleted or destroyed`, async () => {
    await using server = await start()
    await administer(server, 'POST', 'secret/data/gone', { data: { password: 'one' } })
    await administer(server, 'DELETE', 'secret/data/gone')
    await administer(server, 'POST', 'secret/data/destroyed', { data: { password: 'one' } })
    await administer(server, 'POST', 'secret/destroy/destroyed', { versions: [1] })
    using vault = vaultOf(server, { vault_token: server.rootToken })
    const values = new KeyValues(vault, undefined)
    await assert.rejects(values.read('secret/never', signal), failsWith('SECRET_MISSING', /read secret\/never/))
    await assert.rejects(values.read('secret/gone', signal), failsWith('SECRET_DELETED', /version 1 was deleted at/))
    await assert.rejects(
      values.read('secret/destroyed', signal),
      failsWith('SECRET_DELETED', /version 1 was destroyed/),
    )
  })

  test(`${kind}: engine 2 writes a secret only over the version that was read, and over a deleted one`, async () => {
    await using server = await start()
    using vault = vaultOf(server, { vault_token: server.rootToken })
    const values = new KeyValues(vault, undefined)
    const write = (password: string, replaces: StoredSecret | undefined): Promise<StoredSecret> =>
      values.write('secret/team/sales', new Map([['password', new Secret(password)]]), { replaces, signal })
    const conflict = failsWith('SECRET_CONFLICT', /could not write secret\/team\/sales/)
    const first = await write('one', undefined)
    await assert.rejects(write('two', undefined), conflict)
    const second = await write('two', first)
    assert.deepEqual([first.version, second.version], ['1', '2'])
    await assert.rejects(write('three', first), conflict)
    assert.equal((await values.read('secret/team/sales', signal)).read('password', PLACE).reveal(), 'two')
    await administer(server, 'DELETE', 'secret/data/team/sales')
    assert.equal((await write('three', undefined)).version, '3')
  })

  test(`${kind}: engine 1 compares the secret before it is written`, async () => {
    await using server = await start()
    await administer(server, 'POST', 'sys/mounts/first', { type: 'kv', options: { version: '1' } })
    using vault = vaultOf(server, { vault_token: server.rootToken })
    const values = new KeyValues(vault, undefined)
    const write = (password: string, replaces: StoredSecret | undefined): Promise<StoredSecret> =>
      values.write('first/sales', new Map([['password', new Secret(password)]]), { replaces, signal })
    const first = await write('one', undefined)
    await assert.rejects(write('two', undefined), failsWith('SECRET_CONFLICT', /it exists already/))
    await write('two', first)
    await assert.rejects(write('three', first), failsWith('SECRET_CONFLICT', /not as it was read/))
    assert.equal((await values.read('first/sales', signal)).read('password', PLACE).reveal(), 'two')
  })

  test(`${kind}: a write leaves what no text can carry as it is`, async () => {
    await using server = await start()
    const data = { password: 'one', port: 5432, tls: true, options: { a: [1] } }
    await administer(server, 'POST', 'secret/data/sales', { data })
    using vault = vaultOf(server, { vault_token: server.rootToken })
    const values = new KeyValues(vault, undefined)
    const replaces = await values.read('secret/sales', signal)
    const texts = replaces.texts().set('password', new Secret('two'))
    await values.write('secret/sales', texts, { replaces, signal })
    const { data: answer } = await administer(server, 'GET', 'secret/data/sales')
    assert.deepEqual((answer as { data: unknown }).data, { ...data, password: 'two' })
  })

  test(`${kind}: the version before the present one is given, unless there is none`, async () => {
    await using server = await start()
    await administer(server, 'POST', 'secret/data/sales', { data: { password: 'one' } })
    using vault = vaultOf(server, { vault_token: server.rootToken })
    const values = new KeyValues(vault, undefined)
    const first = await values.read('secret/sales', signal)
    assert.equal(await values.before('secret/sales', first, signal), undefined)
    await administer(server, 'POST', 'secret/data/sales', { data: { password: 'two' } })
    const second = await values.read('secret/sales', signal)
    const before = await values.before('secret/sales', second, signal)
    assert.equal(before?.read('password', PLACE).reveal(), 'one')
  })

  test(`${kind}: a token that is wrong, and a path that the policy does not allow, are refusals`, async () => {
    await using server = await start()
    await administer(server, 'POST', 'secret/data/allowed/sales', { data: { password: 'one' } })
    const { roleId, secretId } = await appRole(server, 'reader')
    using wrong = vaultOf(server, { vault_token: 's.not-a-token' })
    const refused = failsWith('STORE_REFUSED', /HTTP 403/)
    await assert.rejects(new KeyValues(wrong, 2).read('secret/allowed/sales', signal), refused)
    const login = { vault_auth: 'approle', vault_role_id: roleId, vault_secret_id: (await secretId()).secret_id }
    using reader = vaultOf(server, login)
    const values = new KeyValues(reader, undefined)
    assert.equal((await values.read('secret/allowed/sales', signal)).read('password', PLACE).reveal(), 'one')
    await assert.rejects(values.read('secret/other', signal), refused)
  })

  test(`${kind}: secrets and logins of a namespace are its own`, async () => {
    await using server = await start()
    for (const [outer, name] of [
      [{}, 'team'],
      [{ 'x-vault-namespace': 'team' }, 'part'],
    ] as const) {
      await administer(server, 'POST', `sys/namespaces/${name}`, {}, outer)
    }
    await administer(server, 'POST', 'secret/data/allowed/sales', { data: { password: 'outer' } })
    for (const namespace of ['team', 'team/part']) {
      const inside = { 'x-vault-namespace': namespace }
      const mount = { type: 'kv', options: { version: '2' } }
      await administer(server, 'POST', 'sys/mounts/secret', mount, inside)
      await eventually(() =>
        administer(server, 'POST', 'secret/data/allowed/sales', { data: { password: namespace } }, inside),
      )
      const { roleId, secretId } = await appRole(server, 'reader', {}, READER, inside)
      const login = { vault_auth: 'approle', vault_role_id: roleId, vault_secret_id: (await secretId()).secret_id }
      using vault = vaultOf(server, { ...login, vault_namespace: namespace })
      const values = new KeyValues(vault, undefined)
      const secret = await values.read('secret/allowed/sales', signal)
      assert.equal(secret.read('password', PLACE).reveal(), namespace)
      using elsewhere = vaultOf(server, login)
      await assert.rejects(
        new KeyValues(elsewhere, 2).read('secret/allowed/sales', signal),
        failsWith('STORE_REFUSED', /log in by approle/),
      )
    }
  })

  test(`${kind}: a token that is revoked in the middle is replaced by a login`, async () => {
    await using server = await start()
    await administer(server, 'POST', 'secret/data/allowed/sales', { data: { password: 'one' } })
    const { roleId, secretId } = await appRole(server, 'reader')
    const login = { vault_auth: 'approle', vault_role_id: roleId, vault_secret_id: (await secretId()).secret_id }
    using vault = vaultOf(server, login)
    const { body } = await vault.query({ step: 'look up', path: 'auth/token/lookup-self' }, signal)
    const values = new KeyValues(vault, undefined)
    await values.read('secret/allowed/sales', signal)
    const { id: token } = body.data as { id: string }
    await administer(server, 'POST', 'auth/token/revoke', { token })
    assert.equal((await values.read('secret/allowed/sales', signal)).read('password', PLACE).reveal(), 'one')
  })

  test(`${kind}: a secret id that is used up is refused with the words of Vault`, async () => {
    await using server = await start()
    const { roleId, secretId } = await appRole(server, 'once', { secret_id_num_uses: 1 })
    const { secret_id: id } = await secretId()
    const login = { vault_auth: 'approle', vault_role_id: roleId, vault_secret_id: id }
    using first = vaultOf(server, login)
    await first.query({ step: 'look up', path: 'auth/token/lookup-self' }, signal)
    using second = vaultOf(server, login)
    const again = second.query({ step: 'look up', path: 'auth/token/lookup-self' }, signal)
    await assert.rejects(again, (error: PoolsmithError) => {
      failsWith('STORE_REFUSED', /log in by approle \(HTTP 400\): invalid role or secret ID/)(error)
      assert.ok(!error.message.includes(id))
      return true
    })
  })

  test(`${kind}: a wrapped secret id is unwrapped once, and a second unwrapping is reported`, async () => {
    await using server = await start()
    await using folder = await temporaryFolder()
    const { roleId, secretId } = await appRole(server, 'wrapped')
    const { token } = await secretId({ 'x-vault-wrap-ttl': '60s' })
    const file = join(folder.path, 'secret-id')
    await writeFile(file, `${token}\n`, { mode: 0o600 })
    const login = {
      vault_auth: 'approle',
      vault_role_id: roleId,
      vault_secret_id_file: file,
      vault_secret_id_wrapped: true,
    }
    using first = vaultOf(server, login)
    await first.query({ step: 'look up', path: 'auth/token/lookup-self' }, signal)
    using second = vaultOf(server, login)
    const again = second.query({ step: 'look up', path: 'auth/token/lookup-self' }, signal)
    await assert.rejects(again, (error: PoolsmithError) => {
      failsWith('STORE_REFUSED', /unwrap the secret id/)(error)
      assert.match(error.hint ?? '', /another program has used it/)
      return true
    })
  })

  test(`${kind}: a JWT is read from its file at each login, and one for another audience is refused`, async () => {
    await using server = await start()
    await using folder = await temporaryFolder()
    const { publicKey, privateKey } = await generateKeyPair('ES256', { extractable: true })
    await administer(server, 'POST', 'secret/data/allowed/sales', { data: { password: 'one' } })
    await administer(server, 'POST', 'sys/policies/acl/jwt', { policy: READER })
    await administer(server, 'POST', 'sys/auth/jwt', { type: 'jwt' })
    await administer(server, 'POST', 'auth/jwt/config', { jwt_validation_pubkeys: [await exportSPKI(publicKey)] })
    await administer(server, 'POST', 'auth/jwt/role/pod', {
      role_type: 'jwt',
      user_claim: 'sub',
      bound_audiences: ['vault'],
      token_policies: ['jwt'],
    })
    const file = join(folder.path, 'token')
    const write = async (audience: string): Promise<string> => {
      const claims = new SignJWT({}).setProtectedHeader({ alg: 'ES256' }).setSubject('etl').setAudience(audience)
      const jwt = await claims.setIssuedAt().setExpirationTime('1h').sign(privateKey)
      await writeFile(file, jwt, { mode: 0o600 })
      return jwt
    }
    // A pod's token is sent to the engine in the same way, under the mount of its method.
    for (const login of [{ vault_auth: 'jwt' }, { vault_auth: 'kubernetes', vault_auth_mount: 'jwt' }]) {
      const foreign = await write('elsewhere')
      using vault = vaultOf(server, { ...login, vault_role: 'pod', vault_jwt_file: file })
      const values = new KeyValues(vault, 2)
      await assert.rejects(values.read('secret/allowed/sales', signal), (error: PoolsmithError) => {
        failsWith('STORE_REFUSED', /log in by (jwt|kubernetes) \(HTTP 400\): .*aud/)(error)
        assert.ok(!error.message.includes(foreign))
        return true
      })
      await write('vault')
      assert.equal((await values.read('secret/allowed/sales', signal)).read('password', PLACE).reveal(), 'one')
    }
  })

  test(`${kind}: a sealed Vault is down and not empty`, async () => {
    await using server = await start()
    using vault = vaultOf(server, { vault_token: server.rootToken })
    await administer(server, 'POST', 'sys/seal', {})
    await assert.rejects(new KeyValues(vault, 2).read('secret/sales', signal), (error: PoolsmithError) => {
      failsWith('STORE_SEALED', /HTTP 503/)(error)
      assert.equal(error.transient, true)
      return true
    })
  })

  test(`${kind}: a token is renewed before its end, and replaced when it cannot be renewed further`, {
    timeout: 60_000,
  }, async () => {
    await using server = await start()
    await administer(server, 'POST', 'secret/data/allowed/sales', { data: { password: 'one' } })
    const { roleId, secretId } = await appRole(server, 'brief', { token_ttl: 3, token_max_ttl: 5 })
    const login = { vault_auth: 'approle', vault_role_id: roleId, vault_secret_id: (await secretId()).secret_id }
    using vault = vaultOf(server, login)
    const values = new KeyValues(vault, undefined)
    await values.read('secret/allowed/sales', signal)
    const ends = new Set<number | undefined>()
    // The first token can be renewed once.
    while (ends.size < 3) {
      await values.read('secret/allowed/sales', signal)
      ends.add(vault.tokenEndsAt)
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
  })
}
